// What backends, launcher and workers tell each other in shared memory: which databases have work, and whom to wake.
//
// Exists only when the library is in shared_preload_libraries; every function is a harmless no-op otherwise. Holds no
// pointer into a process: latches live in shared memory themselves.

#ifndef IMAGEKIT_WORKER_SHARED_STATE_H
#define IMAGEKIT_WORKER_SHARED_STATE_H

#include "pg/server.h"

namespace imagekit::worker {

/// Hooks for the postmaster. Once, from _PG_init under shared_preload_libraries.
void RequestSharedState();

bool SharedStateExists();

// Backends

/// There may be work in `database`: its worker is woken, or the launcher to start one.
void Wake(Oid database);

struct ServiceState {
  int launcher_pid;  // 0: none
  int worker_pid;    // of this database; 0: none
};
ServiceState ReadService(Oid database);

// The launcher

void PublishLauncher();

/// Makes sure each of these databases is known, and forgets all others.
void KeepDatabases(const Oid *databases, int count);

/// A database that wants a worker and has none; InvalidOid when there is none, or when `most_workers` are under way.
/// `now` is compared with what the last worker left; *next gets the earliest time at which that changes by itself. A
/// database is due once only until its worker has come, or NotStarted says that it will not.
Oid NextDatabaseDue(TimestampTz now, int most_workers, TimestampTz *next);
void NotStarted(Oid database, TimestampTz look_again_at);

/// The configuration has changed: every database without a worker is due.
void LookAtAll();

// A worker

/// False when the database has a worker already.
bool PublishWorker(Oid database);

/// Whether the worker was woken since it last asked. Ask before looking for work: what is committed later wakes again.
bool TakeWake();

/// Withdraws the worker, unless it was woken meanwhile: then false, and it must look again. `look_again_at` is when
/// the launcher shall start another without being asked.
bool Leave(TimestampTz look_again_at);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_SHARED_STATE_H
