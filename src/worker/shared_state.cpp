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
#include "worker/slots.h"

namespace imagekit::worker {

namespace {

DatabaseSlot *my_slot = nullptr;  // the worker's own

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

void WithdrawLauncher(int, Datum) {
  Locked locked;
  state->launcher_pid = 0;
  state->launcher_latch = nullptr;
}

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

TimestampTz TimeAt(Ticks ticks) {
  return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), Max(ticks - NowTicks(), Ticks{0}));
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
