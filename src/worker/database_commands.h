// Commands that need a database for themselves: its worker gets out of their way.

#ifndef IMAGEKIT_WORKER_DATABASE_COMMANDS_H
#define IMAGEKIT_WORKER_DATABASE_COMMANDS_H

namespace imagekit::worker {

/// The hook. Once, from _PG_init under shared_preload_libraries.
void WatchDatabaseCommands();

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_DATABASE_COMMANDS_H
