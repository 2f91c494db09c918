// The shared memory behind shared_state.h, under one LWLock.

#include "worker/shared_state.h"

namespace imagekit::worker {

namespace {

// More databases than this with the extension armed are looked at by poll only; the launcher says so once.
constexpr int kMostDatabases = 256;

// A worker that has not come after this has failed before it could say so (no connection free, the fork refused).
constexpr int kStartTimeout = 15000;  // ms

struct DatabaseSlot {
  Oid database;             // InvalidOid: free
  bool woken;               // work was committed since a worker last looked
  TimestampTz starting_at;  // when the launcher ordered a worker that has not come yet; 0: none ordered
  int worker_pid;
  Latch *worker_latch;
  TimestampTz look_again_at;
  int failures;  // workers that ended without Leave(), since one last left
};

struct SharedState {
  LWLock *lock;
  int launcher_pid;
  Latch *launcher_latch;
  DatabaseSlot slots[kMostDatabases];
};

SharedState *state = nullptr;
DatabaseSlot *my_slot = nullptr;  // the worker's own
shmem_request_hook_type next_request_hook = nullptr;
shmem_startup_hook_type next_startup_hook = nullptr;

void OnRequest() {
  if (next_request_hook != nullptr) next_request_hook();
  RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
  RequestNamedLWLockTranche("imagekit_cleanup", 1);
}

void OnStartup() {
  if (next_startup_hook != nullptr) next_startup_hook();
  bool found;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  state = static_cast<SharedState *>(ShmemInitStruct("imagekit_cleanup", sizeof(SharedState), &found));
  if (!found) {
    memset(static_cast<void *>(state), 0, sizeof(SharedState));
    state->lock = &GetNamedLWLockTranche("imagekit_cleanup")->lock;
  }
  LWLockRelease(AddinShmemInitLock);
}

DatabaseSlot *FindSlot(Oid database) {
  for (DatabaseSlot &slot : state->slots)
    if (slot.database == database) return &slot;
  return nullptr;
}

DatabaseSlot *FindOrTakeSlot(Oid database) {
  DatabaseSlot *slot = FindSlot(database);
  if (slot == nullptr && (slot = FindSlot(InvalidOid)) != nullptr) {
    *slot = DatabaseSlot{};
    slot->database = database;
    slot->look_again_at = DT_NOBEGIN;  // never looked at: look now
  }
  return slot;
}

void WakeLauncher() {
  if (state->launcher_latch != nullptr) SetLatch(state->launcher_latch);
}

void WithdrawLauncher(int, Datum) {
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  state->launcher_pid = 0;
  state->launcher_latch = nullptr;
  LWLockRelease(state->lock);
}

void WithdrawMySlot(TimestampTz look_again_at) {
  my_slot->worker_pid = 0;
  my_slot->worker_latch = nullptr;
  my_slot->look_again_at = look_again_at;
  my_slot = nullptr;
}

// A worker that ends without Leave() was stopped or failed: another follows, after one second, then two, four, ... up to
// a minute, or a worker that fails at its first step would fill the log.
void WithdrawWorker(int, Datum) {
  if (my_slot == nullptr) return;
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  int wait = Min(1000 << Min(my_slot->failures, 6), 60000);
  my_slot->failures++;
  my_slot->woken = false;
  WithdrawMySlot(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait));
  WakeLauncher();
  LWLockRelease(state->lock);
}

}  // namespace

void RequestSharedState() {
  next_request_hook = shmem_request_hook;
  shmem_request_hook = OnRequest;
  next_startup_hook = shmem_startup_hook;
  shmem_startup_hook = OnStartup;
}

bool SharedStateExists() { return state != nullptr; }

// True when somebody has woken the database's worker, or the launcher for want of one, and it has not yet come to look.
bool IsWoken(Oid database) {
  LWLockAcquire(state->lock, LW_SHARED);
  const DatabaseSlot *slot = FindSlot(database);
  bool woken = slot != nullptr && slot->woken;
  LWLockRelease(state->lock);
  return woken;
}

void Wake(Oid database) {
  // Once is enough: each commit would interrupt whoever is already on its way, or may not come (enabled = off).
  if (state == nullptr || IsWoken(database)) return;
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  DatabaseSlot *slot = FindOrTakeSlot(database);
  if (slot != nullptr) {
    slot->woken = true;
    if (slot->worker_latch != nullptr)
      SetLatch(slot->worker_latch);
    else
      WakeLauncher();
  }
  LWLockRelease(state->lock);
}

ServiceState ReadService(Oid database) {
  ServiceState service = {0, 0};
  if (state == nullptr) return service;
  LWLockAcquire(state->lock, LW_SHARED);
  const DatabaseSlot *slot = FindSlot(database);
  service.launcher_pid = state->launcher_pid;
  service.worker_pid = slot != nullptr ? slot->worker_pid : 0;
  LWLockRelease(state->lock);
  return service;
}

void PublishLauncher() {
  before_shmem_exit(WithdrawLauncher, 0);
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  state->launcher_pid = MyProcPid;
  state->launcher_latch = MyLatch;
  // A launcher before us may have died between marking a database and starting its worker.
  for (DatabaseSlot &slot : state->slots) slot.starting_at = 0;
  LWLockRelease(state->lock);
}

void KeepDatabases(const Oid *databases, int count) {
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  for (DatabaseSlot &slot : state->slots) {
    bool kept = slot.database == InvalidOid || slot.worker_pid != 0;
    for (int i = 0; !kept && i < count; i++) kept = databases[i] == slot.database;
    if (!kept) slot = DatabaseSlot{};
  }
  for (int i = 0; i < count; i++) (void)FindOrTakeSlot(databases[i]);
  LWLockRelease(state->lock);
}

Oid NextDatabaseDue(TimestampTz now, int most_workers, TimestampTz *next) {
  Oid due = InvalidOid;
  int under_way = 0;
  *next = DT_NOEND;
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  for (const DatabaseSlot &slot : state->slots)
    under_way += slot.worker_pid != 0 ||
                 (slot.starting_at != 0 && now < TimestampTzPlusMilliseconds(slot.starting_at, kStartTimeout));
  for (DatabaseSlot &slot : state->slots) {
    if (slot.database == InvalidOid || slot.worker_pid != 0) continue;
    TimestampTz due_at = slot.starting_at != 0 ? TimestampTzPlusMilliseconds(slot.starting_at, kStartTimeout)
                         : slot.woken          ? now
                                               : slot.look_again_at;
    if (due_at <= now && under_way >= most_workers) continue;  // one that leaves wakes us
    if (due_at <= now) {
      slot.starting_at = now;
      due = slot.database;
      break;
    }
    *next = Min(*next, due_at);
  }
  LWLockRelease(state->lock);
  return due;
}

void NotStarted(Oid database, TimestampTz look_again_at) {
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  DatabaseSlot *slot = FindSlot(database);
  if (slot != nullptr && slot->worker_pid == 0) {
    slot->starting_at = 0;
    slot->woken = false;
    slot->look_again_at = look_again_at;
  }
  LWLockRelease(state->lock);
}

void LookAtAll() {
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  for (DatabaseSlot &slot : state->slots) slot.look_again_at = DT_NOBEGIN;
  LWLockRelease(state->lock);
}

bool PublishWorker(Oid database) {
  before_shmem_exit(WithdrawWorker, 0);
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  DatabaseSlot *slot = FindOrTakeSlot(database);
  bool free = slot != nullptr && slot->worker_pid == 0;
  if (free) {
    slot->starting_at = 0;
    slot->worker_pid = MyProcPid;
    slot->worker_latch = MyLatch;
    my_slot = slot;
  }
  LWLockRelease(state->lock);
  return free;
}

bool TakeWake() {
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  bool woken = my_slot->woken;
  my_slot->woken = false;
  LWLockRelease(state->lock);
  return woken;
}

bool Leave(TimestampTz look_again_at) {
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  bool leave = !my_slot->woken;
  if (leave) {
    my_slot->failures = 0;
    WithdrawMySlot(look_again_at);
    WakeLauncher();  // it may have to shorten its sleep
  }
  LWLockRelease(state->lock);
  return leave;
}

}  // namespace imagekit::worker
