// The launcher: one process for the server, connected to no database, that starts a worker where there is work.

#ifndef IMAGEKIT_WORKER_LAUNCHER_H
#define IMAGEKIT_WORKER_LAUNCHER_H

namespace imagekit::worker {

/// Registers it with the postmaster. Once, from _PG_init under shared_preload_libraries.
void RegisterLauncher();

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_LAUNCHER_H
