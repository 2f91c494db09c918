// The process that audits by schedule. The drain's worker starts it, when it looks after its database anyway, and leaves it to
// itself: an audit takes long, and the drain has its own work.

#include "audit/schedule.h"

#include "audit/audit.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/worker.h"

namespace imagekit::audit {

namespace {

// In the order in which they are due.
constexpr char kNext[] =
    "SELECT n.account, n.at, n.at <= clock_timestamp() FROM imagekit.next_audits n ORDER BY n.at, n.account LIMIT 1";

// One process for the database, which does one audit after another.
void Order() {
  BackgroundWorker worker = {};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION | pg::kWorkerInterruptible;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
  strlcpy(worker.bgw_library_name, "imagekit_cleanup", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, "imagekit_audit_main", sizeof worker.bgw_function_name);
  strlcpy(worker.bgw_type, kAuditType, sizeof worker.bgw_type);
  snprintf(worker.bgw_name, sizeof worker.bgw_name, "%s for database %u", kAuditType, MyDatabaseId);
  // Without a free slot: at the next look.
  (void)RegisterDynamicBackgroundWorker(&worker, nullptr);
}

Oid NextDue(MemoryContext context, char **name, int64 *limit) {
  worker::Drain drain = {};
  worker::Step step;
  worker::Begin(&step, &drain);
  Oid server = InvalidOid;
  if (pg::RunSql(kNext, SPI_OK_SELECT) > 0) {
    bool null;
    if (DatumGetBool(pg::Field(0, 3, &null))) server = DatumGetObjectId(pg::Field(0, 1, &null));
  }
  ListCell *cell;
  foreach (cell, account::LoadAccounts(CurrentMemoryContext)) {
    auto *account = static_cast<account::Account *>(lfirst(cell));
    if (account->server != server) continue;
    *name = MemoryContextStrdup(context, account->name);
    *limit = account->audit_time_limit;
  }
  worker::End(&step);
  return server;
}

void AuditAll() {
  // Each at most once: one that cannot be done is due again at once.
  List *done = NIL;
  for (;;) {
    MemoryContext context = AllocSetContextCreate(TopMemoryContext, "imagekit audit", ALLOCSET_DEFAULT_SIZES);
    char *name = nullptr;
    int64 limit = 0;
    const Oid server = settings::enabled ? NextDue(context, &name, &limit) : InvalidOid;
    if (!OidIsValid(server) || name == nullptr || list_member_oid(done, server)) return;
    MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
    done = lappend_oid(done, server);
    MemoryContextSwitchTo(context);
    auto *audit = static_cast<Audit *>(palloc0(sizeof(Audit)));
    audit->server = server;
    audit->name = name;
    audit->scheduled = true;
    audit->give_up_at = limit == 0 ? worker::kNever : worker::NowTicks() + limit / 1000;
    audit->hand.parent = context;
    RunAudit(audit, false);
    MemoryContextSwitchTo(before);
    MemoryContextDelete(context);
  }
}

}  // namespace

TimestampTz OrderDueAudits() {
  if (pg::RunSql(kNext, SPI_OK_SELECT) == 0) return DT_NOEND;
  bool null;
  const TimestampTz at = DatumGetTimestampTz(pg::Field(0, 2, &null));
  if (DatumGetBool(pg::Field(0, 3, &null)) && !worker::AuditRuns(MyDatabaseId)) Order();
  return at;
}

}  // namespace imagekit::audit

extern "C" {

PGDLLEXPORT void imagekit_audit_main(Datum database);

void imagekit_audit_main(Datum database) {
  namespace worker = imagekit::worker;
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  imagekit::pg::IgnoreSignal(SIGINT);  // pg_terminate_backend() ends it; it goes on at the next time
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
  if (!worker::PublishAudit(MyDatabaseId)) proc_exit(0);
  pgstat_report_appname(imagekit::audit::kAuditType);
  worker::PinSettings();

  // An error ends the process, but its message is all that the log needs: exit status 1 would be a second one.
  PG_TRY();
  { imagekit::audit::AuditAll(); }
  PG_CATCH();
  {
    HOLD_INTERRUPTS();
    EmitErrorReport();
  }
  PG_END_TRY();
  proc_exit(0);
}
}
