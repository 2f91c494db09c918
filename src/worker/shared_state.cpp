// The shared memory behind shared_state.h, under one LWLock: a slot for each database.
//
//   due ─NextDatabaseDue─► ordered ─PublishWorker─► has a worker ─Leave─► waits until look_again_at, or until woken
//    ▲                        │                          │
//    └────── NotOrdered ──────┘ OrderEnded               └─ ends without Leave ─► waits, longer each time
//
// A slot that is set aside is never due.

#include "worker/shared_state.h"

#include "pg/settings.h"
#include "worker/shared_memory.h"

namespace imagekit::worker {

namespace {

// A worker that fails is followed by another after this, and twice as long each time, up to the other: what fails in
// earnest, as on a full disk, must not fill the log. A reload of the configuration and enable() end the wait.
constexpr Ticks kFirstRest = 1000;
constexpr Ticks kLongestRest = 300 * 1000;

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

SharedState *state = nullptr;
DatabaseSlot *my_slot = nullptr;  // the worker's own
bool audit_noted = false;         // this process audits, and came to something

Size StateSize() {
  return offsetof(SharedState, slots) + sizeof(DatabaseSlot) * static_cast<Size>(settings::max_databases);
}

void Attach(void *memory, LWLock *lock, bool fresh) {
  state = static_cast<SharedState *>(memory);
  if (!fresh) return;
  state->lock = lock;
  state->room = settings::max_databases;
  state->databases_changed = true;
}

// Work on the slots with the lock held, whatever way the scope is left. An error cannot leave it: nothing here raises.
class Locked {
 public:
  explicit Locked(LWLockMode mode = LW_EXCLUSIVE) { LWLockAcquire(state->lock, mode); }
  ~Locked() { LWLockRelease(state->lock); }
  Locked(const Locked &) = delete;
  Locked &operator=(const Locked &) = delete;
};

DatabaseSlot *begin(SharedState &all) { return all.slots; }
DatabaseSlot *end(SharedState &all) { return all.slots + all.room; }

DatabaseSlot *FindSlot(Oid database) {
  static int last = 0;  // a session asks for its own database again and again
  if (state->slots[last].database == database) return &state->slots[last];
  for (DatabaseSlot &slot : *state)
    if (slot.database == database) {
      last = static_cast<int>(&slot - state->slots);
      return &slot;
    }
  return nullptr;
}

// Holds nothing that a later look at its database would not find out.
bool Replaceable(const DatabaseSlot &slot, Ticks now) {
  return slot.worker_pid == 0 && slot.audit_pid == 0 && !slot.ordered && slot.aside == 0 && !slot.woken &&
         slot.look_again_at > now;
}

// The database's slot: its own, or a free one, or that of another database which waits, the longest first. NULL when none waits.
DatabaseSlot *FindOrTakeSlot(Oid database, Ticks now) {
  DatabaseSlot *slot = FindSlot(database);
  if (slot != nullptr) return slot;
  slot = FindSlot(InvalidOid);
  if (slot == nullptr) {
    for (DatabaseSlot &other : *state)
      if (Replaceable(other, now) && (slot == nullptr || other.look_again_at > slot->look_again_at)) slot = &other;
    if (slot == nullptr) return nullptr;
  }
  *slot = DatabaseSlot{};
  slot->database = database;
  slot->look_again_at = now;  // never looked at: look now
  return slot;
}

// Takes a slot for a database of which the launcher may not know yet.
DatabaseSlot *FindOrAnnounceSlot(Oid database) {
  DatabaseSlot *slot = FindOrTakeSlot(database, NowTicks());
  if (slot == nullptr || !slot->known) state->databases_changed = true;
  return slot;
}

void WakeLauncher() {
  if (state->launcher_latch != nullptr) SetLatch(state->launcher_latch);
}

void WakeSlot(DatabaseSlot *slot) {
  if (!slot->woken) slot->woken_at = NowTicks();
  slot->quiet_looks = 0;
  slot->woken = true;
  if (slot->worker_latch != nullptr)
    SetLatch(slot->worker_latch);
  else
    WakeLauncher();
}

void ForgetAuditFailures(DatabaseSlot *slot) {
  slot->audit_failures = 0;
  slot->audit_rests_until = 0;
}

// What failed may have been put right.
void NoteAccountsChanged(DatabaseSlot *slot) {
  slot->audits_changed = true;
  ForgetAuditFailures(slot);
}

void WithdrawLauncher(int, Datum) {
  Locked locked;
  state->launcher_pid = 0;
  state->launcher_latch = nullptr;
}

Ticks RestAfter(int failures) { return Min(kFirstRest << Min(failures, 10), kLongestRest); }

void Fail(DatabaseSlot *slot) {
  slot->look_again_at = NowTicks() + RestAfter(slot->failures++);
  slot->woken = false;
}

void WithdrawMySlot() {
  my_slot->worker_pid = 0;
  my_slot->worker_latch = nullptr;
  my_slot->stopped = false;
  my_slot = nullptr;
  WakeLauncher();  // it may have to shorten its sleep, or has waited for a place
}

// A worker that ends without leaving was stopped or failed.
void WithdrawWorker(int, Datum) {
  if (my_slot == nullptr) return;
  Locked locked;
  if (my_slot->stopped)
    my_slot->look_again_at = NowTicks();
  else
    Fail(my_slot);
  WithdrawMySlot();
}

void WithdrawAudit(int, Datum database) {
  Locked locked;
  DatabaseSlot *slot = FindSlot(DatumGetObjectId(database));
  if (slot == nullptr || slot->audit_pid != MyProcPid) return;
  slot->audit_pid = 0;
  if (audit_noted || slot->audit_stopped)
    slot->audit_failures = 0;
  else
    slot->audit_rests_until = NowTicks() + RestAfter(slot->audit_failures++);
  slot->audits_changed = true;
  WakeSlot(slot);
}

// When the slot's database wants a worker. One that has failed is not hurried by commits: it would fail at each of them.
Ticks DueAt(const DatabaseSlot &slot) {
  return slot.woken && slot.failures == 0 ? Min(slot.woken_at, slot.look_again_at) : slot.look_again_at;
}

bool MayGetWorker(const DatabaseSlot &slot) {
  return slot.database != InvalidOid && slot.known && slot.worker_pid == 0 && !slot.ordered && slot.aside == 0;
}

// Those that are idle go at once, the others at the end of their turn.
void AskForRoom() {
  if (state->others_wait) return;
  state->others_wait = true;
  for (DatabaseSlot &slot : *state)
    if (slot.worker_latch != nullptr) SetLatch(slot.worker_latch);
}

}  // namespace

const SharedPiece kServicePiece = {"imagekit_cleanup", StateSize, Attach};

Ticks NowTicks() {
  instr_time now;
  INSTR_TIME_SET_CURRENT(now);
  return static_cast<Ticks>(INSTR_TIME_GET_MILLISEC(now));
}

bool SharedStateExists() { return state != nullptr; }

// True when somebody has woken the database's worker, or the launcher for want of one, and it has not yet come to look.
bool IsWoken(Oid database) {
  Locked locked(LW_SHARED);
  const DatabaseSlot *slot = FindSlot(database);
  return slot != nullptr && slot->woken;
}

void Wake(Oid database) {
  // Once is enough: each commit would interrupt whoever is already on its way, or may not come (enabled = off).
  if (state == nullptr || IsWoken(database)) return;
  Locked locked;
  DatabaseSlot *slot = FindOrAnnounceSlot(database);
  if (slot != nullptr)
    WakeSlot(slot);
  else
    WakeLauncher();
}

void ForgetFailures(Oid database) {
  if (state == nullptr) return;
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  if (slot == nullptr) return;
  slot->failures = 0;
  ForgetAuditFailures(slot);
}

void NotePrepared(Oid database) {
  if (state == nullptr) return;
  Locked locked;
  DatabaseSlot *slot = FindOrAnnounceSlot(database);
  if (slot == nullptr) return;
  slot->prepared = true;
  WakeSlot(slot);  // for the worker to see that it must be polled
}

void WakeForPrepared(Oid database) {
  if (state == nullptr) return;
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  if (slot == nullptr || !slot->prepared) return;
  if (slot->accounts_prepared) NoteAccountsChanged(slot);
  WakeSlot(slot);
}

void WakeForAccounts(Oid database) {
  if (state == nullptr) return;
  Locked locked;
  DatabaseSlot *slot = FindOrAnnounceSlot(database);
  if (slot == nullptr) return;
  NoteAccountsChanged(slot);
  WakeSlot(slot);
}

void NoteAccountsPrepared(Oid database) {
  if (state == nullptr) return;
  NotePrepared(database);
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  if (slot != nullptr) slot->accounts_prepared = true;
}

void SetAside(Oid database) {
  if (state == nullptr) return;
  Locked locked;
  DatabaseSlot *slot = FindOrAnnounceSlot(database);
  if (slot == nullptr) return;
  slot->aside++;
  // A process id here cannot have gone to another: to withdraw it, its owner needs the lock that we have.
  if (slot->audit_pid != 0) {
    slot->audit_stopped = true;
    kill(slot->audit_pid, SIGTERM);
  }
  if (slot->worker_pid == 0) return;
  slot->stopped = true;
  kill(slot->worker_pid, SIGTERM);
}

void EndAside(Oid database) {
  if (state == nullptr) return;
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  state->databases_changed = true;
  if (slot != nullptr && slot->aside > 0) {
    slot->aside--;
    slot->known = false;  // it may have been dropped, or be a template now
  }
  WakeLauncher();
}

void DatabasesChanged() {
  if (state == nullptr) return;
  Locked locked;
  state->databases_changed = true;
  WakeLauncher();
}

ServiceState ReadService(Oid database) {
  ServiceState service = {0, 0};
  if (state == nullptr) return service;
  Locked locked(LW_SHARED);
  const DatabaseSlot *slot = FindSlot(database);
  service.launcher_pid = state->launcher_pid;
  service.worker_pid = slot != nullptr ? slot->worker_pid : 0;
  return service;
}

void PublishLauncher() {
  before_shmem_exit(WithdrawLauncher, 0);
  Locked locked;
  state->launcher_pid = MyProcPid;
  state->launcher_latch = MyLatch;
  state->databases_changed = true;
  // A launcher before us may have died between marking a database and starting its worker.
  for (DatabaseSlot &slot : *state) slot.ordered = false;
}

bool TakeDatabasesChanged() {
  Locked locked;
  bool changed = state->databases_changed;
  state->databases_changed = false;
  return changed;
}

bool KeepDatabases(const Oid *databases, int count, int *first) {
  Ticks now = NowTicks();
  int left_out = -1;
  Locked locked;
  for (DatabaseSlot &slot : *state) {
    if (slot.database == InvalidOid) continue;
    slot.known = false;
    for (int i = 0; !slot.known && i < count; i++) slot.known = databases[i] == slot.database;
    if (!slot.known && slot.worker_pid == 0 && slot.audit_pid == 0 && slot.aside == 0) slot = DatabaseSlot{};
  }
  for (int i = 0; i < count; i++) {
    int at = (*first + i) % count;
    DatabaseSlot *slot = FindOrTakeSlot(databases[at], now);
    if (slot != nullptr)
      slot->known = true;
    else if (left_out < 0)
      left_out = at;
  }
  *first = Max(left_out, 0);
  return count <= state->room;
}

Oid NextDatabaseDue(int most_workers, Ticks *next) {
  Ticks now = NowTicks();
  DatabaseSlot *due = nullptr;
  int under_way = 0;
  *next = kNever;
  Locked locked;
  for (DatabaseSlot &slot : *state) {
    under_way += slot.worker_pid != 0 || slot.ordered;
    if (!MayGetWorker(slot)) continue;
    if (DueAt(slot) > now)
      *next = Min(*next, DueAt(slot));
    else if (due == nullptr || DueAt(slot) < DueAt(*due))
      due = &slot;
  }
  if (due == nullptr) {
    state->others_wait = false;
    return InvalidOid;
  }
  if (under_way >= most_workers) {
    AskForRoom();  // one that leaves wakes us
    return InvalidOid;
  }
  due->ordered = true;
  return due->database;
}

void NotOrdered(Oid database) {
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  if (slot != nullptr) slot->ordered = false;
  AskForRoom();
}

void OrderEnded(Oid database) {
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  if (slot == nullptr || !slot->ordered) return;
  slot->ordered = false;
  Fail(slot);
}

bool HasCome(Oid database) {
  Locked locked(LW_SHARED);
  const DatabaseSlot *slot = FindSlot(database);
  return slot == nullptr || !slot->ordered;
}

void LookAtAll() {
  Locked locked;
  for (DatabaseSlot &slot : *state) {
    slot.failures = 0;
    ForgetAuditFailures(&slot);
    if (slot.look_again_at != kNever) slot.look_again_at = NowTicks();
  }
}

bool PublishWorker(Oid database) {
  before_shmem_exit(WithdrawWorker, 0);
  Locked locked;
  DatabaseSlot *slot = FindOrTakeSlot(database, NowTicks());
  if (slot == nullptr || slot->worker_pid != 0) return false;
  slot->ordered = false;
  if (slot->aside > 0) return false;
  slot->worker_pid = MyProcPid;
  slot->worker_latch = MyLatch;
  my_slot = slot;
  return true;
}

bool PublishAudit(Oid database) {
  if (state == nullptr) return false;
  before_shmem_exit(WithdrawAudit, ObjectIdGetDatum(database));
  Locked locked;
  DatabaseSlot *slot = FindOrTakeSlot(database, NowTicks());
  if (slot == nullptr || slot->audit_pid != 0 || slot->aside > 0) return false;
  slot->audit_pid = MyProcPid;
  slot->audit_stopped = false;
  return true;
}

void NoteAudit() { audit_noted = true; }

Ticks AuditMayStartAt(Oid database) {
  if (state == nullptr) return kNever;
  Locked locked(LW_SHARED);
  const DatabaseSlot *slot = FindSlot(database);
  return slot == nullptr || slot->audit_pid != 0 ? kNever : slot->audit_rests_until;
}

Ticks NoteAuditOrder(Oid database, bool ordered) {
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  if (slot == nullptr) return 0;
  if (ordered)
    slot->audit_refused_since = 0;
  else if (slot->audit_refused_since == 0)
    slot->audit_refused_since = NowTicks();
  return ordered ? 0 : NowTicks() - slot->audit_refused_since;
}

bool AuditWasSetAside() {
  Locked locked(LW_SHARED);
  const DatabaseSlot *slot = FindSlot(MyDatabaseId);
  return slot != nullptr && slot->audit_pid == MyProcPid && slot->audit_stopped;
}

bool TakeWake() {
  Locked locked;
  bool woken = my_slot->woken;
  my_slot->woken = false;
  return woken;
}

bool TakeAuditsChanged() {
  Locked locked;
  const bool changed = my_slot->audits_changed;
  my_slot->audits_changed = false;
  return changed;
}

bool OthersWait() {
  Locked locked(LW_SHARED);
  return state->others_wait;
}

bool WasSetAside() { return my_slot != nullptr && my_slot->stopped; }

int QuietLooks() { return my_slot->quiet_looks; }

bool Leave(const Parting &parting) {
  Locked locked;
  // Noted after the worker has looked.
  if (my_slot->woken) return false;
  my_slot->failures = 0;
  my_slot->quiet_looks = parting.quiet ? my_slot->quiet_looks + 1 : 0;
  my_slot->prepared = parting.prepared;
  my_slot->accounts_prepared &= parting.prepared;
  my_slot->look_again_at = parting.look_again_at;
  WithdrawMySlot();
  return true;
}

void MakeWay() {
  Locked locked;
  my_slot->failures = 0;
  my_slot->look_again_at = NowTicks();
  my_slot->woken = false;
  WithdrawMySlot();
}

}  // namespace imagekit::worker
