// imagekit.pause() and resume().

#include "account/account.h"
#include "pg/sql.h"
#include "worker/pause.h"
#include "worker/wake.h"

namespace imagekit::worker {

namespace {

constexpr char kForgetDropped[] =
    "DELETE FROM imagekit.pauses p WHERE NOT EXISTS "
    "(SELECT FROM pg_catalog.pg_foreign_server s WHERE s.oid OPERATOR(pg_catalog.=) p.server)";

// $1 account, NULL: all; $2 who; $3 why
constexpr char kPause[] =
    "INSERT INTO imagekit.pauses (server, name, paused_by, reason) "
    "SELECT s.oid, s.srvname, $2, $3 FROM pg_catalog.pg_foreign_server s "
    "JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw "
    "WHERE w.fdwname OPERATOR(pg_catalog.=) 'imagekit' AND ($1 IS NULL OR s.oid OPERATOR(pg_catalog.=) $1) "
    "ORDER BY s.oid ON CONFLICT (server) DO NOTHING";

constexpr char kResume[] = "DELETE FROM imagekit.pauses p WHERE $1 IS NULL OR p.server OPERATOR(pg_catalog.=) $1";

// $1 account
constexpr char kSaid[] =
    "SELECT pg_catalog.format('Paused by %s since %s%s.', p.paused_by, p.since, ': ' OPERATOR(pg_catalog.||) p.reason) "
    "FROM imagekit.pauses p WHERE p.server OPERATOR(pg_catalog.=) $1";

// The account that is named; NULL: all.
pg::Param AccountOf(FunctionCallInfo fcinfo) {
  if (PG_ARGISNULL(0)) return {OIDOID, 0, true};
  return {OIDOID, ObjectIdGetDatum(account::AccountNamed(NameStr(*PG_GETARG_NAME(0))))};
}

void SayPausedBefore(const pg::Param &account, const char *name) {
  const bool seen = pg::RunSql(kSaid, SPI_OK_SELECT, {account}) > 0;
  char *said = seen ? pg::FieldText(0, 1, CurrentMemoryContext) : nullptr;
  ereport(NOTICE, (errmsg("server \"%s\" is paused already", name), said != nullptr ? errdetail("%s", said) : 0,
                   errhint("To give another reason, resume it and pause it again in one transaction.")));
}

}  // namespace

void ForgetPausesOfDropped() { pg::RunSql(kForgetDropped, SPI_OK_DELETE); }

}  // namespace imagekit::worker

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_pause);
IMAGEKIT_SQL_FUNCTION(imagekit_resume);

// pause(server name, reason text) -> bigint
Datum imagekit_pause(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  namespace pg = imagekit::pg;
  (void)pg::HoldExtension();
  const pg::Param account = AccountOf(fcinfo);
  Name by = static_cast<Name>(palloc0(NAMEDATALEN));
  namestrcpy(by, GetUserNameFromId(GetUserId(), false));
  pg::SqlSession session;
  pg::OpenSql(&session);
  ForgetPausesOfDropped();
  const auto paused =
      static_cast<int64>(pg::RunSql(kPause, SPI_OK_INSERT,
                                    {account,
                                     {NAMEOID, NameGetDatum(by)},
                                     {TEXTOID, PG_ARGISNULL(1) ? Datum{0} : PG_GETARG_DATUM(1), PG_ARGISNULL(1)}}));
  if (paused == 0 && !account.null) SayPausedBefore(account, NameStr(*PG_GETARG_NAME(0)));
  pg::CloseSql(&session);
  if (paused == 0 && account.null)
    ereport(NOTICE, (errmsg("there is no account that is not paused already"),
                     errhint("SELECT server, cause FROM imagekit.status shows them.")));
  if (paused > 0) {
    StopAtCommit();
    WakeAtCommit();  // what a worker has in hand goes back
  }
  PG_RETURN_INT64(paused);
}

// resume(server name) -> bigint
Datum imagekit_resume(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  namespace pg = imagekit::pg;
  (void)pg::HoldExtension();
  const pg::Param account = AccountOf(fcinfo);
  pg::SqlSession session;
  pg::OpenSql(&session);
  ForgetPausesOfDropped();
  const auto resumed = static_cast<int64>(pg::RunSql(kResume, SPI_OK_DELETE, {account}));
  pg::CloseSql(&session);
  if (resumed > 0)
    WakeAtCommit();
  else if (account.null)
    ereport(NOTICE, (errmsg("no account is paused")));
  else
    ereport(NOTICE, (errmsg("server \"%s\" is not paused", NameStr(*PG_GETARG_NAME(0)))));
  PG_RETURN_INT64(resumed);
}
}
