// From the journal into the backlog: a tuple of many URLs becomes a row for each, waiting or held.

#include "outbox/backlog.h"
#include "outbox/hold.h"
#include "pg/sql.h"

namespace imagekit::outbox {

namespace {

constexpr char kLook[] =
    "SELECT o.ctid, o.relation, o.transaction, o.files, o.total, o.written_at, "
    "       ARRAY(SELECT DISTINCT a.server FROM imagekit.unpack(o.pack) u"
    "             CROSS JOIN LATERAL imagekit.account_of(u.url) AS a(server) WHERE a.server IS NOT NULL) "
    "FROM imagekit.outbox o WHERE o.origin OPERATOR(pg_catalog.<>) 'M' LIMIT $1 FOR UPDATE SKIP LOCKED";

// $1 tuples, $2 for each the reason why its files are held, or NULL
constexpr char kTakeIn[] =
    "WITH taken AS ("
    "  DELETE FROM imagekit.outbox WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)"
    "  RETURNING ctid, captured_at, written_at, grace, transaction, relation, role, origin, pack) "
    "INSERT INTO imagekit.backlog (url, file_id, server, transaction, relation, role, origin, captured_at, due_at,"
    "                              state, last_error) "
    "SELECT u.url, u.file_id, a.server, t.transaction, t.relation, t.role, t.origin, t.captured_at,"
    "       t.written_at OPERATOR(pg_catalog.+) COALESCE(t.grace, imagekit.grace_of(a.server)),"
    "       CASE WHEN h.cause IS NULL THEN 'waiting' ELSE 'held' END, h.cause "
    "FROM taken t "
    "JOIN ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS h(tuple, cause) "
    "ON h.tuple OPERATOR(pg_catalog.=) t.ctid "
    "CROSS JOIN LATERAL imagekit.unpack(t.pack) u "
    "CROSS JOIN LATERAL imagekit.account_of(u.url) AS a(server)";

List *OidList(Datum array) {
  Datum *elements;
  int count;
  deconstruct_array(DatumGetArrayTypeP(array), OIDOID, sizeof(Oid), true, TYPALIGN_INT, &elements, nullptr, &count);
  List *oids = NIL;
  for (int i = 0; i < count; i++) oids = lappend_oid(oids, DatumGetObjectId(elements[i]));
  return oids;
}

Removal ReadRemoval(uint64 row) {
  bool null;
  Removal removal = {};
  removal.relation = DatumGetObjectId(pg::Field(row, 2, &null));
  removal.transaction = U64FromFullTransactionId(DatumGetFullTransactionId(pg::Field(row, 3, &null)));
  removal.files = DatumGetInt32(pg::Field(row, 4, &null));
  Datum total = pg::Field(row, 5, &null);
  removal.total = null ? kUncounted : DatumGetInt32(total);
  removal.written_at = DatumGetTimestampTz(pg::Field(row, 6, &null));
  removal.accounts = OidList(pg::Field(row, 7, &null));
  return removal;
}

}  // namespace

uint64 TakeIn(int tuples) {
  uint64 count = pg::RunSql(kLook, SPI_OK_SELECT, {{INT4OID, Int32GetDatum(tuples)}});
  if (count == 0) return 0;
  auto *removals = static_cast<Removal *>(palloc(sizeof(Removal) * count));
  pg::Column places = {TIDOID, nullptr}, causes = {TEXTOID, nullptr};
  for (uint64 i = 0; i < count; i++) {
    bool null;
    pg::Add(&places, pg::Field(i, 1, &null));
    removals[i] = ReadRemoval(i);
  }
  List *trips = NIL;
  Judge(removals, static_cast<int>(count), &trips);
  for (uint64 i = 0; i < count; i++) pg::AddText(&causes, removals[i].cause);
  pg::RunSql(kTakeIn, SPI_OK_INSERT, {pg::AsParam(places, TIDARRAYOID), pg::AsParam(causes, TEXTARRAYOID)});
  HoldWaiting(trips);
  if (count < static_cast<uint64>(tuples)) PruneRemovals();
  return count;
}

}  // namespace imagekit::outbox
