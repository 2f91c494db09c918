// CALL imagekit.audit(): the steps of an audit, in their order.

#include "audit/audit.h"

#include "outbox/counters.h"
#include "pg/attempt.h"
#include "pg/bridge.h"
#include "pg/settings.h"
#include "worker/arming.h"
#include "worker/pause.h"
#include "worker/wake.h"

namespace imagekit::audit {

namespace {

using worker::NowTicks;
using worker::Ticks;

// The tables are read again so often when one of them was locked, or changed its shape meanwhile.
constexpr int kMostReadings = 5;
constexpr int64 kReadAgain = 3000;  // ms

// A listing that is not believed is made once more at once where it has no more pages than this.
constexpr int64 kFewPages = 10;

// One audit of an account at a time, whoever does it. Like the locks of outbox/claim.cpp.
LOCKTAG AuditTag(Oid server) {
  LOCKTAG tag;
  SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, server, 4, 101);
  return tag;
}

void SetState(Audit *audit, const char *state) {
  worker::Step step;
  Begin(&step, audit);
  pg::RunSql("UPDATE imagekit.audit_runs SET state = $2, moved_on_at = clock_timestamp() WHERE id = $1", SPI_OK_UPDATE,
             {{INT8OID, Int64GetDatum(audit->run)}, {TEXTOID, CStringGetTextDatum(state)}});
  worker::End(&step);
}

int64 UnixSecond(TimestampTz time) {
  return time / USECS_PER_SEC + (int64{POSTGRES_EPOCH_JDATE} - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

// Goes on reading where the row of imagekit.audit_runs says: to the end of the library, or of what was there when the audit began.
void ReadPlace(Audit *audit) {
  pg::RunSql(
      "SELECT r.listed, r.files, r.bytes, r.pages, r.listed_from, r.anchors, r.listed_until "
      "FROM imagekit.audit_runs r WHERE r.id = $1",
      SPI_OK_SELECT, {{INT8OID, Int64GetDatum(audit->run)}});
  bool null;
  audit->listed = DatumGetBool(pg::Field(0, 1, &null));
  audit->files = DatumGetInt64(pg::Field(0, 2, &null));
  audit->bytes = DatumGetInt64(pg::Field(0, 3, &null));
  audit->pages = DatumGetInt64(pg::Field(0, 4, &null));
  const int64 from_s = DatumGetInt64(pg::Field(0, 5, &null));
  const Datum anchors = pg::Field(0, 6, &null);
  const int64 until_s = audit->listed ? Listing::kBeginning : UnixSecond(DatumGetTimestampTz(pg::Field(0, 7, &null)));
  Datum *elements;
  bool *nulls;
  int count;
  deconstruct_array(DatumGetArrayTypeP(anchors), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
  auto *place = pg::Own<Listing::Place>(audit->hand.parent);
  pg::CallCxx([&] { place->from_s = from_s; });
  for (int i = 0; i < count; i++) {
    const char *anchor = TextDatumGetCString(elements[i]);
    pg::CallCxx([&] { place->anchors.emplace_back(anchor); });
  }
  audit->listing = pg::Own<Listing>(audit->hand.parent, *place, until_s);
}

// The run to go on with, or a new one.
void OpenRun(Audit *audit, bool anew) {
  worker::Step step;
  Begin(&step, audit);
  (void)worker::Refresh(&audit->hand.sender, audit->hand.parent);
  worker::SenderAccount *entry = UsableAccount(audit);
  if (entry == nullptr) {
    worker::End(&step);
    return;
  }
  audit->identity = entry->identity;
  pg::RunSql("SELECT r.id FROM imagekit.begin_audit($1, $2, $3, $4) r", SPI_OK_SELECT,
             {{OIDOID, ObjectIdGetDatum(audit->server)},
              {INT8OID, Int64GetDatum(static_cast<int64>(audit->identity))},
              {BOOLOID, BoolGetDatum(anew)},
              {BOOLOID, BoolGetDatum(audit->scheduled)}});
  bool null;
  audit->run = DatumGetInt64(pg::Field(0, 1, &null));
  ReadPlace(audit);
  worker::End(&step);
}

// All that was created before the audit began is listed. Why that cannot be, in words; NULL: it is accepted.
char *AcceptListing(Audit *audit) {
  worker::Step step;
  Begin(&step, audit);
  pg::RunSql("SELECT imagekit.accept_listing($1)", SPI_OK_SELECT, {{INT8OID, Int64GetDatum(audit->run)}});
  char *doubt = pg::FieldText(0, 1, audit->hand.parent);
  worker::End(&step);
  return doubt;
}

// Where accept_listing() or read_references() has put it.
void ReadPlaceAgain(Audit *audit) {
  worker::Step step;
  Begin(&step, audit);
  ReadPlace(audit);
  worker::End(&step);
}

void ListAll(Audit *audit) {
  for (bool again = false;; again = true) {
    ListLibrary(audit);
    if (audit->problem != nullptr) return;
    char *doubt = AcceptListing(audit);
    if (doubt == nullptr) return;
    if (again || audit->pages > kFewPages) {
      audit->problem = doubt;
      audit->abandoned = true;
      return;
    }
    ReadPlaceAgain(audit);
  }
}

// A step that reads the watched tables.
struct Reading {
  const char *state;
  const char *words;    // what it does
  const char *trouble;  // when it cannot
  const char *sql;      // a function of 71_audit_steps.sql
};

constexpr Reading kReferences = {"references", "reading the watched tables", "the watched tables cannot be read",
                                 "SELECT imagekit.read_references($1)"};
constexpr Reading kComparison = {"comparing", "comparing", "it cannot be compared",
                                 "SELECT imagekit.complete_audit($1)"};

struct Attempt {
  int64 run;
  const char *sql;
};

void ReadOnce(void *argument) {
  auto *attempt = static_cast<Attempt *>(argument);
  pg::SqlSession sql;
  pg::OpenSql(&sql);
  pg::RunSql(attempt->sql, SPI_OK_SELECT, {{INT8OID, Int64GetDatum(attempt->run)}});
  pg::CloseSql(&sql);
}

void Sleep(int64 ms) {
  const Ticks until = NowTicks() + ms;
  while (NowTicks() < until) {
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                    static_cast<long>(Max(until - NowTicks(), Ticks{0})), pg::WaitEventFor("ImageKitPace"));
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
}

// Worth another try: a lock, a deadlock, a table that was just dropped, rebuilt or changed. A full disk or a limit is not.
bool MayPass(int sqlerrcode) {
  const int category = ERRCODE_TO_CATEGORY(sqlerrcode);
  return category == ERRCODE_TO_CATEGORY(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE) ||
         category == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) || sqlerrcode == ERRCODE_UNDEFINED_TABLE ||
         sqlerrcode == ERRCODE_UNDEFINED_COLUMN || sqlerrcode == ERRCODE_INTERNAL_ERROR;  // "cache lookup failed"
}

// A table that cannot be read at this moment may be in the next.
void ReadTables(Audit *audit, const Reading &reading) {
  SetState(audit, reading.state);
  for (int attempts = 1;; attempts++) {
    pgstat_report_activity(STATE_RUNNING,
                           psprintf("imagekit_cleanup: audit of server \"%s\": %s", audit->name, reading.words));
    Attempt attempt = {audit->run, reading.sql};
    worker::Step step;
    Begin(&step, audit);
    const ErrorData *error = pg::Attempt(ReadOnce, &attempt);
    const char *problem = error == nullptr ? nullptr : psprintf("%s: %s", reading.trouble, error->message);
    const bool again = error != nullptr && MayPass(error->sqlerrcode) && attempts < kMostReadings;
    if (problem != nullptr && !again) audit->problem = MemoryContextStrdup(audit->hand.parent, problem);
    worker::End(&step);
    if (!again) return;
    Sleep(kReadAgain);
  }
}

// What was uploaded a moment before the tables were read, and used by a row then, is to be listed, or it would seem to be missing.
void AwaitSearch(Audit *audit) {
  SetState(audit, "tail");
  pgstat_report_activity(
      STATE_RUNNING, psprintf("imagekit_cleanup: audit of server \"%s\": waiting for ImageKit's search", audit->name));
  Sleep(settings::search_lag);
}

void CloseIncomplete(Audit *audit) {
  if (audit->run == 0) return;
  worker::Step step;
  Begin(&step, audit);
  pg::RunSql("SELECT imagekit.stop_audit($1, $2, $3)", SPI_OK_SELECT,
             {{INT8OID, Int64GetDatum(audit->run)},
              {TEXTOID, CStringGetTextDatum(audit->problem)},
              {BOOLOID, BoolGetDatum(audit->abandoned)}});
  worker::End(&step);
}

void Steps(Audit *audit, bool anew) {
  OpenRun(audit, anew);
  if (audit->problem != nullptr) return;
  if (!audit->listed) {
    SetState(audit, "listing");
    ListAll(audit);
  }
  // From here on it goes through: who goes on with it reads the tables again, and might never come to the end.
  if (audit->problem == nullptr && !OutOfTime(audit)) ReadTables(audit, kReferences);
  if (audit->problem == nullptr) {
    AwaitSearch(audit);
    ReadPlaceAgain(audit);  // to the end of the library
    ListLibrary(audit);
  }
  if (audit->problem == nullptr) ReadTables(audit, kComparison);
  if (audit->problem != nullptr) return CloseIncomplete(audit);
  AskForUsage(audit);
  audit->problem = nullptr;  // of that question: the audit is complete
}

// What a session reads at the end. A process of its own leaves it to the view.
void SayWhatCameOfIt(Audit *audit) {
  MemoryContext before = CurrentMemoryContext;
  if (audit->problem != nullptr) {
    if (audit->scheduled) {
      ereport(LOG, (errmsg("audit of server \"%s\" is not complete: %s", audit->name, audit->problem)));
      return;
    }
    if (audit->gone)
      ereport(WARNING, (errmsg("audit of server \"%s\" is not complete: %s", audit->name, audit->problem),
                        errhint("There is nothing to go on with.")));
    else
      ereport(WARNING,
              (errmsg("audit of server \"%s\" is not complete: %s", audit->name, audit->problem),
               errdetail("Files listed so far: " INT64_FORMAT ". Orphans are still those of the last complete audit.",
                         audit->files),
               audit->run == 0    ? errhint("SELECT * FROM imagekit.status says more.")
               : audit->abandoned ? errhint("CALL imagekit.audit() begins anew.")
                                  : errhint("CALL imagekit.audit() within a day goes on from there.")));
    return;
  }
  worker::Step step;
  Begin(&step, audit);
  pg::RunSql("SELECT imagekit.audit_summary($1)", SPI_OK_SELECT, {{INT8OID, Int64GetDatum(audit->run)}});
  const char *summary = pg::FieldText(0, 1, before);
  worker::End(&step);
  MemoryContextSwitchTo(before);
  ereport(audit->scheduled ? LOG : NOTICE,
          (errmsg("imagekit_cleanup: audit of server \"%s\": %s", audit->name, summary)));
}

void WriteCounts(Audit *audit) {
  worker::Step step;
  Begin(&step, audit);
  outbox::CountRequests(audit->hand.sender);
  outbox::WriteCounters();
  worker::End(&step);
}

// Not inlined, as it is called from a PG_TRY.
pg_noinline void RunSteps(Audit *audit, bool anew) {
  Steps(audit, anew);
  WriteCounts(audit);
  SayWhatCameOfIt(audit);
}

}  // namespace

void Begin(worker::Step *step, Audit *audit) {
  // Whatever the session's default is: it must see what is committed meanwhile, and nobody is there to try again what cannot be
  // serialized.
  if (audit->hand.procedure && !FirstSnapshotSet) XactIsoLevel = XACT_READ_COMMITTED;
  worker::Begin(step, &audit->hand);
}

worker::SenderAccount *UsableAccount(Audit *audit) {
  worker::HaltPaused(&audit->hand.sender);
  worker::SenderAccount *entry = worker::FindAccount(&audit->hand.sender, audit->server);
  const char *problem = entry == nullptr                ? "the server is not there any more"
                        : entry->problem != nullptr     ? entry->problem
                        : entry->pause_cause != nullptr ? entry->pause_cause
                                                        : nullptr;
  if (problem == nullptr && !settings::enabled) problem = "imagekit_cleanup.enabled is off";
  if (problem == nullptr) problem = worker::WhyDisarmed();
  if (problem == nullptr) return entry;
  audit->gone = entry == nullptr;
  audit->abandoned |= audit->gone;
  audit->problem = MemoryContextStrdup(audit->hand.parent, problem);
  return nullptr;
}

void RunAudit(Audit *audit, bool anew) {
  LOCKTAG tag = AuditTag(audit->server);
  audit->answer = pg::Own<Answer>(audit->hand.parent);
  if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL) {
    if (audit->scheduled) return;
    ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("an audit of server \"%s\" is under way", audit->name),
                    errhint("SELECT * FROM imagekit.audits shows how far it is.")));
  }
  worker::StartProgress(&audit->progress);
  PG_TRY();
  { RunSteps(audit, anew); }
  PG_CATCH();
  {
    FreeRequest(audit);
    (void)LockRelease(&tag, ExclusiveLock, true);
    PG_RE_THROW();
  }
  PG_END_TRY();
  FreeRequest(audit);
  (void)LockRelease(&tag, ExclusiveLock, true);
}

void RunUsage(Audit *audit) {
  audit->answer = pg::Own<Answer>(audit->hand.parent);
  PG_TRY();
  {
    AskForUsage(audit);
    WriteCounts(audit);
  }
  PG_CATCH();
  {
    FreeRequest(audit);
    PG_RE_THROW();
  }
  PG_END_TRY();
  FreeRequest(audit);
}

}  // namespace imagekit::audit

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_audit);
IMAGEKIT_SQL_FUNCTION(imagekit_account_identity);
IMAGEKIT_SQL_FUNCTION(imagekit_account_named);
IMAGEKIT_SQL_FUNCTION(imagekit_other_databases);
IMAGEKIT_SQL_FUNCTION(imagekit_wake);

// account_identity(server oid) -> bigint
Datum imagekit_account_identity(PG_FUNCTION_ARGS) {
  uint64 identity;
  if (!imagekit::worker::ReadIdentity(PG_GETARG_OID(0), &identity)) PG_RETURN_NULL();
  PG_RETURN_INT64(static_cast<int64>(identity));
}

// other_databases(server oid) -> oid[]
Datum imagekit_other_databases(PG_FUNCTION_ARGS) {
  List *databases = imagekit::worker::DatabasesThatSendFor(PG_GETARG_OID(0));
  auto *others = static_cast<Datum *>(palloc(sizeof(Datum) * (list_length(databases) + 1)));
  int count = 0;
  ListCell *cell;
  foreach (cell, databases)
    if (lfirst_oid(cell) != MyDatabaseId) others[count++] = ObjectIdGetDatum(lfirst_oid(cell));
  PG_RETURN_ARRAYTYPE_P(construct_array(others, count, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

// account_named(server name) -> oid
Datum imagekit_account_named(PG_FUNCTION_ARGS) {
  namespace account = imagekit::account;
  PG_RETURN_OID(PG_ARGISNULL(0) ? account::OnlyAccount() : account::AccountNamed(NameStr(*PG_GETARG_NAME(0))));
}

// wake()
Datum imagekit_wake(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  imagekit::worker::WakeAtCommit();
  PG_RETURN_VOID();
}

// audit(server name, anew boolean)
Datum imagekit_audit(PG_FUNCTION_ARGS) {
  using namespace imagekit;
  namespace worker = imagekit::worker;
  if (fcinfo->context == nullptr || !IsA(fcinfo->context, CallContext) ||
      reinterpret_cast<CallContext *>(fcinfo->context)->atomic)
    ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
                    errmsg("imagekit.audit() cannot run inside a transaction block"),
                    errdetail("It commits between its steps, so that nothing is held while ImageKit is asked."),
                    errhint("CALL it on its own, outside BEGIN ... COMMIT and outside functions.")));
  const bool anew = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
  worker::RequireMayDelete("imagekit.audit()");
  auto *audit = static_cast<audit::Audit *>(MemoryContextAllocZero(PortalContext, sizeof(audit::Audit)));
  audit->server = PG_ARGISNULL(0) ? account::OnlyAccount() : account::AccountNamed(NameStr(*PG_GETARG_NAME(0)));
  audit->name = MemoryContextStrdup(PortalContext, GetForeignServer(audit->server)->servername);
  audit->give_up_at = audit->closes_at = worker::kNever;
  audit->hand.procedure = true;
  audit->hand.parent = AllocSetContextCreate(PortalContext, "imagekit audit", ALLOCSET_DEFAULT_SIZES);
  if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
  SPI_commit();  // the transaction of the CALL may be of another isolation
  audit::RunAudit(audit, anew);
  SPI_finish();
  PG_RETURN_VOID();
}
}
