// Waking the worker: at commit, by its latch, and nothing while there is nothing to do.

#ifndef IMAGEKIT_WORKER_WAKE_H
#define IMAGEKIT_WORKER_WAKE_H

namespace imagekit::worker {

/// The current transaction leaves work behind: if and when it commits, this database's worker is woken (or started).
void WakeAtCommit();

/// Registers the transaction callback. Once per backend, from _PG_init.
void InitializeWake();

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_WAKE_H
