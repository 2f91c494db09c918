// The launcher's loop. Being connected to no database, it is in nobody's way: any database can be dropped beside it.
//
// A database without worker gets one when a commit has woken it, when what its last worker left behind falls due, and
// once after the server has started or was promoted. A worker that finds no armed extension goes, and is not started
// again until it is woken or a long while has passed.
//
// With nothing to do it sleeps: it looks which databases there are when it is told that they have changed (by the hook of
// database_commands.cpp), and otherwise once an hour, for who writes into pg_database by hand.
//
// On a standby it starts nobody, and keeps the note by which the server may go on after a failover.

#include "worker/launcher.h"

#include "pg/process.h"
#include "pg/settings.h"
#include "worker/shared_state.h"
#include "worker/standby.h"
#include "worker/worker.h"

namespace imagekit::worker {

namespace {

constexpr Ticks kDatabasesAgain = 3600 * 1000;  // ms, when nothing was said of them
constexpr Ticks kNoSlotAgain = 2 * 1000;        // ms, when no worker could be ordered
constexpr Ticks kSayAgain = 3600 * 1000;        // ms, what goes on being so

// True when what is to be said has not been said for long.
bool SayNow(Ticks *said_at) {
  Ticks now = NowTicks();
  if (*said_at != 0 && now - *said_at < kSayAgain) return false;
  *said_at = now;
  return true;
}

// Those that may have a worker. Templates are left out: they only serve to be copied.
Oid *ReadDatabases(int *count) {
  int room = 64;
  *count = 0;
  auto *databases = static_cast<Oid *>(palloc(sizeof(Oid) * room));
  Relation catalog = table_open(DatabaseRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(catalog, 0, nullptr);
  HeapTuple tuple;
  while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection))) {
    auto database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
    if (!database->datallowconn || database->datistemplate) continue;
    if (*count == room) databases = static_cast<Oid *>(repalloc(databases, sizeof(Oid) * (room *= 2)));
    databases[(*count)++] = database->oid;
  }
  table_endscan(scan);
  table_close(catalog, AccessShareLock);
  return databases;
}

// Tells the shared state which databases there are; returns when to do so again.
Ticks ScanDatabases() {
  static Ticks said_at = 0;
  static int first = 0;
  StartTransactionCommand();
  (void)GetTransactionSnapshot();
  int count;
  Oid *databases = ReadDatabases(&count);
  bool all = KeepDatabases(databases, count, &first);
  CommitTransactionCommand();
  if (count > settings::max_databases && SayNow(&said_at))
    ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                      errmsg("imagekit_cleanup has room for %d of %d databases", settings::max_databases, count),
                      errdetail("They are served in turn, which takes longer."),
                      errhint("Raise imagekit_cleanup.max_databases and restart the server.")));
  return NowTicks() + (all ? kDatabasesAgain : settings::poll_interval);
}

// Workers that were ordered and may not have come yet.
struct Order {
  Oid database;
  BackgroundWorkerHandle *handle;
};
constexpr int kMostOrders = 64;  // no fewer than max_workers can be
Order orders[kMostOrders];
int order_count = 0;

// One that ends without having come has failed before it could say so: no connection free, the fork refused, the database
// gone. That is seen at once, as the postmaster tells the launcher of every end.
void ConcludeOrders() {
  for (int i = order_count - 1; i >= 0; i--) {
    pid_t pid;
    bool ended = GetBackgroundWorkerPid(orders[i].handle, &pid) == BGWH_STOPPED;
    if (!ended && !HasCome(orders[i].database)) continue;
    if (ended) OrderEnded(orders[i].database);
    pfree(orders[i].handle);
    orders[i] = orders[--order_count];
  }
}

// Slots may be taken by others; that is said once, not once a try. Nor at the first: a worker of ours that has left may have
// its slot for a moment still.
void SayWhenNoSlotIsFree(bool is_free) {
  static Ticks none_since = 0, said_at = 0;
  if (is_free) {
    none_since = 0;
    return;
  }
  if (none_since == 0) none_since = NowTicks();
  if (NowTicks() - none_since < kNoSlotAgain / 2 || !SayNow(&said_at)) return;
  ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                    errmsg("imagekit_cleanup cannot start a worker: no background worker slot is free"),
                    errdetail("Queued deletions wait until one is."), errhint("Raise max_worker_processes.")));
}

// True when the postmaster took the order.
bool OrderWorker(Oid database) {
  if (order_count == kMostOrders) return false;
  BackgroundWorker worker = {};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION | pg::kWorkerInterruptible;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  worker.bgw_main_arg = ObjectIdGetDatum(database);
  worker.bgw_notify_pid = MyProcPid;
  strlcpy(worker.bgw_library_name, "imagekit_cleanup", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, "imagekit_worker_main", sizeof worker.bgw_function_name);
  strlcpy(worker.bgw_type, kWorkerType, sizeof worker.bgw_type);
  snprintf(worker.bgw_name, sizeof worker.bgw_name, "%s for database %u", kWorkerType, database);
  MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
  Order *order = &orders[order_count];
  bool ordered = RegisterDynamicBackgroundWorker(&worker, &order->handle);
  MemoryContextSwitchTo(before);
  if (ordered) {
    order->database = database;
    order_count++;
  }
  SayWhenNoSlotIsFree(ordered);
  return ordered;
}

// Starts what is due; returns when to look again.
Ticks StartDueWorkers() {
  ConcludeOrders();
  if (!settings::enabled) return kNever;  // a reload wakes the launcher
  Ticks next;
  for (;;) {
    Oid database = NextDatabaseDue(settings::max_workers, &next);
    if (!OidIsValid(database)) return next;
    if (OrderWorker(database)) continue;
    NotOrdered(database);
    return NowTicks() + kNoSlotAgain;  // or when a worker of ours ends
  }
}

// Nothing wakes the launcher when recovery ends, nor when streaming begins.
constexpr int kStandbyTick = 1000;  // ms

}  // namespace

void RegisterLauncher() {
  BackgroundWorker launcher = {};
  launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  launcher.bgw_start_time = BgWorkerStart_ConsistentState;
  launcher.bgw_restart_time = 5;
  strlcpy(launcher.bgw_library_name, "imagekit_cleanup", sizeof launcher.bgw_library_name);
  strlcpy(launcher.bgw_function_name, "imagekit_launcher_main", sizeof launcher.bgw_function_name);
  strlcpy(launcher.bgw_type, "imagekit_cleanup launcher", sizeof launcher.bgw_type);
  strlcpy(launcher.bgw_name, "imagekit_cleanup launcher", sizeof launcher.bgw_name);
  RegisterBackgroundWorker(&launcher);
}

}  // namespace imagekit::worker

extern "C" {

PGDLLEXPORT void imagekit_launcher_main(Datum);

void imagekit_launcher_main(Datum) {
  using namespace imagekit::worker;
  imagekit::pg::TakeSignals();
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  PublishLauncher();
  pgstat_report_appname("imagekit_cleanup launcher");
  uint32 wait_event = imagekit::pg::WaitEventFor("ImageKitLauncher");
  Ticks scan_at = 0;

  for (;;) {
    CHECK_FOR_INTERRUPTS();
    if (imagekit::pg::ObeyReload()) {
      LookAtAll();
    }
    Ticks next;
    if (RecoveryInProgress()) {
      NoteStreaming();
      next = NowTicks() + kStandbyTick;
    } else {
      if (TakeDatabasesChanged() || scan_at <= NowTicks()) scan_at = ScanDatabases();
      next = Min(StartDueWorkers(), scan_at);
    }
    pgstat_report_stat(true);
    pgstat_report_activity(STATE_IDLE, nullptr);
    long timeout = static_cast<long>(Max(next - NowTicks(), Ticks{10}));
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
    ResetLatch(MyLatch);
  }
}
}
