// imagekit.enable(), disable() and service().

#include "worker/arming.h"

#include "account/account.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/instance.h"
#include "worker/pause.h"
#include "worker/shared_state.h"
#include "worker/wake.h"

namespace imagekit::worker {

namespace {

constexpr char kArm[] =
    "INSERT INTO imagekit.arming (system_identifier, database, instance, timeline, armed_by) VALUES ($1, $2, $3, $4, "
    "$5) "
    "ON CONFLICT (only_one) DO UPDATE SET system_identifier = excluded.system_identifier, database = "
    "excluded.database, instance = excluded.instance, timeline = excluded.timeline, revoked = NULL, "
    "armed_at = excluded.armed_at, armed_by = excluded.armed_by";

// pg_upgrade gives servers new oids, and everybody who has upgraded comes here.
constexpr char kSortBacklog[] =
    "WITH states AS (DELETE FROM imagekit.account_state a WHERE NOT EXISTS "
    "  (SELECT FROM pg_catalog.pg_foreign_server s WHERE s.oid OPERATOR(pg_catalog.=) a.server)) "
    "UPDATE imagekit.backlog SET server = imagekit.account_of(url) WHERE server IS DISTINCT FROM "
    "imagekit.account_of(url)";

// A pause is for an account, whatever its number.
constexpr char kSortPauses[] =
    "UPDATE imagekit.pauses p SET server = s.oid FROM pg_catalog.pg_foreign_server s "
    "JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw "
    "WHERE w.fdwname OPERATOR(pg_catalog.=) 'imagekit' AND s.srvname OPERATOR(pg_catalog.=) p.name "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server o WHERE o.oid OPERATOR(pg_catalog.=) p.server) "
    "AND NOT EXISTS (SELECT FROM imagekit.pauses q WHERE q.server OPERATOR(pg_catalog.=) s.oid)";

constexpr char kDisarm[] = "DELETE FROM imagekit.arming";

// What still keeps an armed database from sending, said when it is armed rather than discovered later.
void WarnOfObstacles() {
  if (!SharedStateExists())
    ereport(
        WARNING,
        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
         errmsg("no background worker: imagekit_cleanup is not in shared_preload_libraries"),
         errdetail("Deletions are queued and nothing is lost, but nobody sends them by itself."),
         errhint("Add it to shared_preload_libraries and restart the server, or CALL imagekit.drain() regularly.")));
  if (!settings::enabled)
    ereport(WARNING,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("imagekit_cleanup.enabled is off"),
             errdetail("Deletions are queued and not sent."), errhint("Set it to on in postgresql.conf, and reload.")));
  List *accounts = account::LoadAccounts(CurrentMemoryContext);
  if (accounts == NIL)
    ereport(WARNING, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("no account is configured"),
                      errdetail("No URL is recognised as ImageKit's, so nothing is queued."),
                      errhint("CREATE SERVER name FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '...').")));
  account::WipeKeys(accounts, account::LoadKeys(accounts, CurrentMemoryContext));
  ListCell *cell;
  foreach (cell, accounts) {
    auto *account = static_cast<account::Account *>(lfirst(cell));
    if (account->problem != nullptr)
      ereport(WARNING, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("server \"%s\" cannot be sent to", account->name), errdetail("%s", account->problem),
                        errhint("Its deletions wait until that is mended; see imagekit.status.")));
  }
}

}  // namespace

}  // namespace imagekit::worker

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_enable);
IMAGEKIT_SQL_FUNCTION(imagekit_disable);
IMAGEKIT_SQL_FUNCTION(imagekit_service);

// enable() -> text
Datum imagekit_enable(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  namespace pg = imagekit::pg;
  (void)fcinfo;
  PreventCommandDuringRecovery("imagekit.enable()");
  const char *problem;
  const char *mark = InstanceMark(&problem);
  if (mark == nullptr)
    ereport(ERROR,
            (errcode(ERRCODE_SYSTEM_ERROR), errmsg("database cannot be armed"), errdetail("%s.", problem),
             errhint("A copy of this database could not be told from it. Let the server read its data directory.")));
  Name role = static_cast<Name>(palloc0(NAMEDATALEN));
  namestrcpy(role, GetUserNameFromId(GetUserId(), false));
  pg::SqlSession session;
  pg::OpenSql(&session);
  pg::RunSql(kArm, SPI_OK_INSERT,
             {{INT8OID, Int64GetDatum(static_cast<int64>(GetSystemIdentifier()))},
              {OIDOID, ObjectIdGetDatum(MyDatabaseId)},
              {TEXTOID, CStringGetTextDatum(mark)},
              {INT8OID, Int64GetDatum(GetWALInsertionTimeLine())},
              {NAMEOID, NameGetDatum(role)}});
  pg::RunSql(kSortBacklog, SPI_OK_UPDATE);
  pg::RunSql(kSortPauses, SPI_OK_UPDATE);
  ForgetPausesOfDropped();
  pg::CloseSql(&session);
  ForgetFailures(MyDatabaseId);
  WakeAtCommit();
  WarnOfObstacles();
  PG_RETURN_TEXT_P(cstring_to_text(psprintf("database \"%s\" is armed", get_database_name(MyDatabaseId))));
}

// disable() -> text
Datum imagekit_disable(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  namespace pg = imagekit::pg;
  (void)fcinfo;
  pg::SqlSession session;
  pg::OpenSql(&session);
  pg::RunSql(kDisarm, SPI_OK_DELETE);
  pg::CloseSql(&session);
  StopAtCommit();
  WakeAtCommit();
  PG_RETURN_TEXT_P(cstring_to_text(
      psprintf("database \"%s\" is disarmed; deletions are queued and not sent", get_database_name(MyDatabaseId))));
}

// service() -> record, see its columns in the install script
Datum imagekit_service(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  TupleDesc columns;
  if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  const char *why_disarmed = WhyDisarmed();
  ServiceState service = ReadService(MyDatabaseId);
  Datum values[6] = {
      BoolGetDatum(SharedStateExists()),     BoolGetDatum(imagekit::settings::enabled),
      BoolGetDatum(why_disarmed == nullptr), why_disarmed == nullptr ? Datum{0} : CStringGetTextDatum(why_disarmed),
      Int32GetDatum(service.launcher_pid),   Int32GetDatum(service.worker_pid)};
  bool nulls[6] = {false, false, false, why_disarmed == nullptr, service.launcher_pid == 0, service.worker_pid == 0};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}
}
