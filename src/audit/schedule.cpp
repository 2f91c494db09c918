// The process that audits by schedule. The drain's worker starts it, when it looks after its database anyway, and leaves it to
// itself: an audit takes long, and the drain has its own work.

#include "audit/schedule.h"

#include "audit/audit.h"
#include "pg/process.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/complaints.h"
#include "worker/worker.h"

namespace imagekit::audit {

namespace {

constexpr char kNext[] = "SELECT min(n.at), min(n.at) <= clock_timestamp() FROM imagekit.next_errands n";

// In the order in which they are due.
constexpr char kDue[] =
    "SELECT n.account, n.errand = 'usage', n.until FROM imagekit.next_errands n "
    "WHERE n.at <= clock_timestamp() ORDER BY n.at, n.account, n.errand";

struct Errand {
  Oid server;
  char *name;  // of the server
  bool usage;  // ask for ImageKit's own count; else an audit
  int64 limit;
  worker::Ticks closes_at;
};

// A slot may be taken for a moment by who has just left.
constexpr worker::Ticks kNoSlotFor = 1000;

// One process for the database, which does one errand after another.
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
  const bool ordered = RegisterDynamicBackgroundWorker(&worker, nullptr);
  // Tried again at the next look.
  if (worker::NoteAuditOrder(MyDatabaseId, ordered) < kNoSlotFor || !worker::MaySayOnce("no slot for an audit")) return;
  ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                    errmsg("imagekit_cleanup cannot start an audit: no background worker slot is free"),
                    errdetail("Audits that are due wait until one is."), errhint("Raise max_worker_processes.")));
}

const account::Account *FindAccount(List *accounts, Oid server) {
  ListCell *cell;
  foreach (cell, accounts) {
    auto *account = static_cast<account::Account *>(lfirst(cell));
    if (account->server == server) return account;
  }
  return nullptr;
}

// What is due now, in TopMemoryContext. Looked up once: what cannot be done is due again at once, and is left to the next process.
List *FindDue() {
  worker::Drain drain = {};
  worker::Step step;
  worker::Begin(&step, &drain);
  List *errands = NIL;
  List *accounts = account::LoadAccounts(CurrentMemoryContext);
  const uint64 count = pg::RunSql(kDue, SPI_OK_SELECT);
  MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
  for (uint64 i = 0; i < count; i++) {
    bool null;
    const account::Account *account = FindAccount(accounts, DatumGetObjectId(pg::Field(i, 1, &null)));
    if (account == nullptr) continue;
    auto *errand = static_cast<Errand *>(palloc(sizeof(Errand)));
    *errand = {account->server, pstrdup(account->name), DatumGetBool(pg::Field(i, 2, &null)), account->audit_time_limit,
               worker::kNever};
    const TimestampTz until = DatumGetTimestampTz(pg::Field(i, 3, &null));
    if (!null) errand->closes_at = worker::InTicks(until);
    errands = lappend(errands, errand);
  }
  MemoryContextSwitchTo(before);
  worker::End(&step);
  return errands;
}

void Run(const Errand &errand) {
  MemoryContext context = AllocSetContextCreate(TopMemoryContext, "imagekit audit", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(context);
  auto *audit = static_cast<Audit *>(palloc0(sizeof(Audit)));
  audit->server = errand.server;
  audit->name = errand.name;
  audit->scheduled = true;
  audit->give_up_at = errand.limit == 0 ? worker::kNever : worker::NowTicks() + errand.limit / 1000;
  audit->closes_at = errand.closes_at;
  audit->hand.parent = context;
  if (errand.usage)
    RunUsage(audit);
  else
    RunAudit(audit, false);
  // Without a run another has the account in hand.
  if (audit->run != 0 || (errand.usage && audit->problem == nullptr)) worker::NoteAudit();
  MemoryContextSwitchTo(before);
  MemoryContextDelete(context);
}

void RunErrands() {
  ListCell *cell;
  foreach (cell, FindDue()) {
    const auto *errand = static_cast<Errand *>(lfirst(cell));
    if (!settings::enabled) return;
    if (worker::NowTicks() < errand->closes_at) Run(*errand);  // those before it may have taken long
  }
}

// After an error.
bool ExtensionIsGone() {
  AbortOutOfAnyTransaction();
  StartTransactionCommand();
  const bool gone = !OidIsValid(get_extension_oid("imagekit_cleanup", true));
  CommitTransactionCommand();
  return gone;
}

// An error ends the process, but its message is all that the log needs: exit status 1 would be a second one. What an audit meets
// whose extension is dropped meanwhile is no news. Not inlined, as it has a PG_TRY.
pg_noinline void Work() {
  PG_TRY();
  { RunErrands(); }
  PG_CATCH();
  {
    HOLD_INTERRUPTS();
    if (!ExtensionIsGone()) EmitErrorReport();
  }
  PG_END_TRY();
}

}  // namespace

worker::Ticks OrderDueAudits() {
  bool null;
  const worker::Ticks may_start_at = worker::AuditMayStartAt(MyDatabaseId);
  if (may_start_at == worker::kNever) return worker::kNever;
  pg::RunSql(kNext, SPI_OK_SELECT);
  const TimestampTz at = DatumGetTimestampTz(pg::Field(0, 1, &null));
  if (null) return worker::kNever;
  if (DatumGetBool(pg::Field(0, 2, &null)) && may_start_at <= worker::NowTicks()) Order();
  return Max(worker::InTicks(at), may_start_at);
}

}  // namespace imagekit::audit

extern "C" {

PGDLLEXPORT void imagekit_audit_main(Datum database);

void imagekit_audit_main(Datum database) {
  namespace worker = imagekit::worker;
  imagekit::pg::TakeSignals();
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
  (void)imagekit::pg::ObeyReload();
  if (!worker::PublishAudit(MyDatabaseId)) proc_exit(0);
  worker::HideShutdownIf(worker::AuditWasSetAside);
  pgstat_report_appname(imagekit::audit::kAuditType);
  worker::PinSettings();
  imagekit::audit::Work();
  proc_exit(0);
}
}
