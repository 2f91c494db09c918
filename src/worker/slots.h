// The slots in shared memory: what shared_state.cpp and audit_slot.cpp share. All of it is read and changed with the lock held.

#ifndef IMAGEKIT_WORKER_SLOTS_H
#define IMAGEKIT_WORKER_SLOTS_H

#include "worker/shared_state.h"

namespace imagekit::worker {

struct DatabaseSlot {
  Oid database;            // InvalidOid: free
  bool known;              // the launcher has seen it in the catalog; before, it starts nobody there
  bool woken;              // work was committed since a worker last looked
  bool ordered;            // the launcher has called for a worker that has not come yet
  bool prepared;           // a prepared transaction may hold work
  bool accounts_prepared;  // and accounts that are made or altered by it
  bool audits_changed;     // accounts were, or an audit has ended, since a worker last asked when audits are due
  bool stopped;            // its worker was told to go, by SetAside
  int aside;               // how many want it without a worker
  int worker_pid;
  Latch *worker_latch;
  int audit_pid;              // a process that audits by schedule, beside the worker
  bool audit_stopped;         // it was told to go, by SetAside
  int audit_failures;         // such processes that came to nothing, since one last did not
  Ticks audit_rests_until;    // none before
  Ticks audit_refused_since;  // no slot was free for one; 0: the last one got one
  Ticks woken_at;
  Ticks look_again_at;
  int failures;     // workers that ended without leaving, since one last left
  int quiet_looks;  // workers that found nothing to do, since somebody woke one
};

struct SharedState {
  LWLock *lock;
  int launcher_pid;
  Latch *launcher_latch;
  bool databases_changed;
  bool others_wait;  // databases are due that no worker can be started for
  int room;
  DatabaseSlot slots[FLEXIBLE_ARRAY_MEMBER];
};

extern SharedState *state;  // NULL where the library is not preloaded

// Work on the slots with the lock held, whatever way the scope is left. An error cannot leave it: nothing here raises.
class Locked {
 public:
  explicit Locked(LWLockMode mode = LW_EXCLUSIVE) { LWLockAcquire(state->lock, mode); }
  ~Locked() { LWLockRelease(state->lock); }
  Locked(const Locked &) = delete;
  Locked &operator=(const Locked &) = delete;
};

inline DatabaseSlot *begin(SharedState &all) { return all.slots; }
inline DatabaseSlot *end(SharedState &all) { return all.slots + all.room; }

/// NULL: the database has none.
DatabaseSlot *FindSlot(Oid database);

/// The database's slot: its own, or a free one, or that of another database which waits, the longest first. NULL when none waits.
DatabaseSlot *FindOrTakeSlot(Oid database, Ticks now);

/// Takes a slot for a database of which the launcher may not know yet.
DatabaseSlot *FindOrAnnounceSlot(Oid database);

void WakeLauncher();
void WakeSlot(DatabaseSlot *slot);
void ForgetAuditFailures(DatabaseSlot *slot);

/// The accounts of a database are others: what failed may have been put right.
void NoteAccountsChanged(DatabaseSlot *slot);

/// How long nobody follows one of ours that has failed.
Ticks RestAfter(int failures);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_SLOTS_H
