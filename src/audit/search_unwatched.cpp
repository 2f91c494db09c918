// CALL imagekit.search_unwatched(): every table in full, each in a transaction of its own, so that the longest one holds up
// vacuum no longer than its own reading takes.

#include "audit/unwatched.h"
#include "pg/settings.h"
#include "pg/sql.h"

namespace imagekit::audit {

namespace {

// Smaller ones first: what stands in the way of a deletion is often found there, and soon.
constexpr char kTables[] =
    "SELECT t.relation FROM imagekit.tables_to_search(false) AS t(relation) "
    "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relation ORDER BY c.relpages, c.oid";
constexpr char kForget[] = "SELECT imagekit.forget_dropped()";
constexpr char kSearch[] = "SELECT imagekit.scan_unwatched($1::pg_catalog.regclass)";

// All of a transaction, in the procedure's.
void InTransaction(const char *sql, Oid relation) {
  EnsurePortalSnapshotExists();
  (void)pg::HoldExtension();  // OpenSql() says when it is gone
  pg::SqlSession session;
  pg::OpenSql(&session);
  if (OidIsValid(relation))
    (void)pg::RunSql(sql, SPI_OK_SELECT, {{OIDOID, ObjectIdGetDatum(relation)}});
  else
    (void)pg::RunSql(sql, SPI_OK_SELECT, nullptr, 0);
  pg::CloseSql(&session);
  SPI_commit();
}

// What is to be searched, and for what.
List *Prepare() {
  EnsurePortalSnapshotExists();
  pg::SqlSession session;
  pg::OpenSql(&session);
  KeepOrphans(PortalContext);
  uint64 count = pg::RunSql(kTables, SPI_OK_SELECT);
  MemoryContext before = MemoryContextSwitchTo(PortalContext);
  List *tables = NIL;
  for (uint64 i = 0; i < count; i++) {
    bool null;
    tables = lappend_oid(tables, DatumGetObjectId(pg::Field(i, 1, &null)));
  }
  MemoryContextSwitchTo(before);
  pg::CloseSql(&session);
  SPI_commit();
  return tables;
}

}  // namespace

}  // namespace imagekit::audit

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_search_unwatched);

// search_unwatched()
Datum imagekit_search_unwatched(PG_FUNCTION_ARGS) {
  using namespace imagekit::audit;
  if (fcinfo->context == nullptr || !IsA(fcinfo->context, CallContext) ||
      reinterpret_cast<CallContext *>(fcinfo->context)->atomic)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
             errmsg("imagekit.search_unwatched() cannot run inside a transaction block"),
             errdetail("It commits after each table, so that vacuum is not held up for as long as all of them take."),
             errhint("CALL it on its own, outside BEGIN ... COMMIT and outside functions.")));
  if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
  InTransaction(kForget, InvalidOid);
  List *tables = Prepare();
  for (int i = 0; i < list_length(tables); i++) {
    CHECK_FOR_INTERRUPTS();
    InTransaction(kSearch, list_nth_oid(tables, i));
    TellProgress(nullptr, i + 1, list_length(tables));
  }
  SPI_finish();
  PG_RETURN_VOID();
}
}
