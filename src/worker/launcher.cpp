// The launcher's loop. Being connected to no database, it is in nobody's way: any database can be dropped beside it.
//
// A database without worker gets one when a commit has woken it, when what its last worker left behind falls due, and
// once after the server has started or was promoted. A worker that finds no armed extension goes, and is not started
// again until it is woken or a long while has passed.
//
// On a standby it starts nobody, and keeps the note by which the server may go on after a failover.

#include "worker/launcher.h"

#include "pg/settings.h"
#include "worker/shared_state.h"
#include "worker/standby.h"
#include "worker/worker.h"

namespace imagekit::worker {

namespace {

// Tells the shared state which databases there are. Templates are left out: they only serve to be copied.
void ScanDatabases() {
  StartTransactionCommand();
  (void)GetTransactionSnapshot();
  int room = 64, count = 0;
  auto *databases = static_cast<Oid *>(MemoryContextAlloc(TopTransactionContext, sizeof(Oid) * room));
  Relation catalog = table_open(DatabaseRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(catalog, 0, nullptr);
  HeapTuple tuple;
  while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection))) {
    auto database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
    if (!database->datallowconn || database->datistemplate) continue;
    if (count == room) databases = static_cast<Oid *>(repalloc(databases, sizeof(Oid) * (room *= 2)));
    databases[count++] = database->oid;
  }
  table_endscan(scan);
  table_close(catalog, AccessShareLock);
  KeepDatabases(databases, count);
  CommitTransactionCommand();
}

// True when the postmaster took the order. Slots may be taken by others; that is said once, not once a try.
bool StartWorker(Oid database) {
  static bool complained = false;
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
  bool started = RegisterDynamicBackgroundWorker(&worker, nullptr);
  if (!started && !complained)
    ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                      errmsg("imagekit_cleanup cannot start a worker: no background worker slot is free"),
                      errdetail("Queued deletions wait until one is."), errhint("Raise max_worker_processes.")));
  complained = !started;
  return started;
}

// Starts what is due; returns when to look again.
TimestampTz StartDueWorkers() {
  if (!settings::enabled) return DT_NOEND;  // a reload wakes the launcher
  TimestampTz next;
  for (;;) {
    TimestampTz now = GetCurrentTimestamp();
    Oid database = NextDatabaseDue(now, settings::max_workers, &next);
    if (!OidIsValid(database)) return next;
    if (!StartWorker(database)) NotStarted(database, TimestampTzPlusMilliseconds(now, 10000));
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
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  PublishLauncher();
  uint32 wait_event = imagekit::pg::WaitEventFor("ImageKitLauncher");
  TimestampTz scan_at = DT_NOBEGIN;

  for (;;) {
    CHECK_FOR_INTERRUPTS();
    if (ConfigReloadPending) {
      ConfigReloadPending = false;
      ProcessConfigFile(PGC_SIGHUP);
      LookAtAll();
    }
    TimestampTz now = GetCurrentTimestamp();
    TimestampTz next;
    if (RecoveryInProgress()) {
      NoteStreaming();
      next = TimestampTzPlusMilliseconds(now, kStandbyTick);
    } else {
      if (scan_at <= now) {
        ScanDatabases();
        scan_at = TimestampTzPlusMilliseconds(now, imagekit::settings::poll_interval);
      }
      next = Min(StartDueWorkers(), scan_at);
    }
    long timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);
    pgstat_report_activity(STATE_IDLE, nullptr);
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(timeout, 10L), wait_event);
    ResetLatch(MyLatch);
  }
}
}
