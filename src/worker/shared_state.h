// What backends, launcher and workers tell each other in shared memory: which databases have work, and whom to wake.
//
// Exists only when the library is in shared_preload_libraries; every function that a session may call is a harmless
// no-op otherwise. Holds no pointer into a process: latches live in shared memory themselves.
//
// Its times are of a clock that nobody sets. With the wall clock, a service that was to look again in a second would
// sleep for a day when the clock is put back by one.

#ifndef IMAGEKIT_WORKER_SHARED_STATE_H
#define IMAGEKIT_WORKER_SHARED_STATE_H

#include "pg/server.h"

namespace imagekit::worker {

/// Milliseconds of the machine's monotonic clock, the same in every process.
using Ticks = int64;
constexpr Ticks kNever = PG_INT64_MAX;
Ticks NowTicks();
/// On the wall's clock; not before now.
TimestampTz TimeAt(Ticks ticks);
/// How long to leave be what took so long and can wait, so that it takes a twentieth of the time at most.
constexpr Ticks RestAfterLook(Ticks took) { return 20 * took; }
/// The same where somebody may wait for it: not longer than a minute, as it may have been a lock that took the time.
constexpr Ticks ShortRestAfterLook(Ticks took) { return Min(RestAfterLook(took), Ticks{60000}); }

bool SharedStateExists();

// Backends

/// There may be work in `database`: its worker is woken, or the launcher to start one.
void Wake(Oid database);

/// Somebody has set `database` right: its next worker need not wait because others have failed.
void ForgetFailures(Oid database);

/// A transaction that has captured something is prepared. Somebody else will commit it, perhaps one who has never heard
/// of us (a subscription), so the database is polled until no prepared transaction is left.
void NotePrepared(Oid database);

/// One was committed: wakes, if any was noted.
void WakeForPrepared(Oid database);

/// An account was made or altered, and an audit of it may be due; or so it will be when a prepared transaction is committed.
void WakeForAccounts(Oid database);
void NoteAccountsPrepared(Oid database);

/// `database` is to have no worker, nor an audit of ours: what it has is stopped, and none is started before as many calls of EndAside. The
/// caller makes sure of these, whatever becomes of it.
void SetAside(Oid database);
void EndAside(Oid database);

/// Databases were made, dropped or changed: the launcher looks which there are.
void DatabasesChanged();

struct ServiceState {
  int launcher_pid;  // 0: none
  int worker_pid;    // of this database; 0: none
};
ServiceState ReadService(Oid database);

// The launcher

void PublishLauncher();

/// Whether it has to look which databases there are.
bool TakeDatabasesChanged();

/// Makes sure that each of these databases is known, and forgets all others. Where there are more than there is room for, those
/// that wait for nothing make room for the next, beginning with databases[*first], so that in some calls all get their
/// turn. False when some have no place now; *first is then the first of these.
bool KeepDatabases(const Oid *databases, int count, int *first);

/// A database that wants a worker and has none; InvalidOid when there is none, or when `most_workers` are under way. Who has
/// waited longest comes first. *next gets the earliest time at which that changes by itself.
/// Calls for a worker: the database is not returned again before that has come, or one of the next two was called.
Oid NextDatabaseDue(int most_workers, Ticks *next);

/// No worker could be ordered: it is as due as it was.
void NotOrdered(Oid database);

/// The worker that was ordered has ended. If it never came to work, that is a failure.
void OrderEnded(Oid database);

/// Whether the ordered worker has come.
bool HasCome(Oid database);

/// The configuration has changed: what waits for something is due, and failures are forgotten.
void LookAtAll();

// A worker

/// False when the database has a worker already, or is to have none.
bool PublishWorker(Oid database);

/// A process that audits, one a database, beside the worker: false when there is one already, or is to be none. SetAside stops
/// it as well.
bool PublishAudit(Oid database);
/// It came to something: a run that notes by itself when it is due again. After one that did not, the next waits, longer each time.
void NoteAudit();
/// From when on one may be started, as the last was a failure; kNever: one is there, and wakes the worker when it ends.
Ticks AuditMayStartAt(Oid database);
/// One was ordered, or could not be. For how long none could now.
Ticks NoteAuditOrder(Oid database, bool ordered);
/// Why this process is being stopped: true when SetAside did it.
bool AuditWasSetAside();

/// Whether the worker was woken since it last asked. Ask before looking for work: what is committed later wakes again.
bool TakeWake();

/// Whether an account was made or altered, or an audit has ended, since it last asked.
bool TakeAuditsChanged();

/// Another database has work and no worker could be started for it.
bool OthersWait();

/// Why this worker is being stopped: true when SetAside did it.
bool WasSetAside();

/// How many workers in a row have come unasked and found nothing to do.
int QuietLooks();

/// What a worker leaves behind.
struct Parting {
  Ticks look_again_at;  // the launcher shall start another then, without being asked
  bool prepared;        // prepared transactions are left
  bool quiet;           // it has found nothing to do
};

/// Withdraws the worker, unless it was woken meanwhile: then false, and it must look again.
bool Leave(const Parting &parting);

/// Withdraws the worker in the middle of its work: its database queues up behind those that wait.
void MakeWay();

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_SHARED_STATE_H
