// When there is something to claim, and from where.

#include "outbox/first_due.h"

#include "pg/sql.h"

namespace imagekit::outbox {

namespace {

using worker::SenderAccount;
using worker::Ticks;

// $1 accounts, $2 and $3 their places, NULL without one. Those that are no account any more are in the gaps between the numbers of
// those that are, and are gone through from one to the next by the index: so nothing is walked that is an account's.
constexpr char kFirstDue[] =
    "WITH RECURSIVE known AS (SELECT * FROM ROWS FROM ("
    "  pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k(server, due_at, id)), "
    "gaps AS ("
    "  SELECT g.server AS after, pg_catalog.lead(g.server) OVER (ORDER BY g.server) AS before"
    "  FROM (SELECT server FROM known UNION ALL VALUES (0::pg_catalog.oid), (4294967295::pg_catalog.oid)) g), "
    "unknown AS ("
    "  SELECT g.after AS server, g.before FROM gaps g"
    "  UNION ALL"
    "  SELECT n.server, u.before FROM unknown u CROSS JOIN LATERAL ("
    "    SELECT b.server FROM imagekit.backlog b"
    "    WHERE b.state IN ('waiting', 'retrying') AND b.server OPERATOR(pg_catalog.>) u.server"
    "    AND b.server OPERATOR(pg_catalog.<) u.before ORDER BY b.server LIMIT 1) n), "
    "first AS ("
    "  (SELECT NULL AS server, b.due_at FROM imagekit.backlog b"
    "   WHERE b.state IN ('waiting', 'retrying') AND b.server IS NULL ORDER BY b.server, b.due_at, b.id LIMIT 1)"
    "  UNION ALL"
    "  SELECT u.server, d.due_at FROM unknown u CROSS JOIN LATERAL ("
    "    SELECT b.due_at FROM imagekit.backlog b"
    "    WHERE b.state IN ('waiting', 'retrying') AND b.server OPERATOR(pg_catalog.=) u.server"
    "    ORDER BY b.due_at, b.id LIMIT 1) d"
    "  WHERE NOT u.server OPERATOR(pg_catalog.=) ANY ($1)"
    "  UNION ALL"
    "  SELECT k.server, d.due_at FROM known k CROSS JOIN LATERAL ("
    "    (SELECT b.due_at FROM imagekit.backlog b"
    "     WHERE k.due_at IS NOT NULL AND b.state IN ('waiting', 'retrying')"
    "     AND b.server OPERATOR(pg_catalog.=) k.server"
    "     AND ROW(b.due_at, b.id) OPERATOR(pg_catalog.>) ROW(k.due_at, k.id)"
    "     AND b.due_at OPERATOR(pg_catalog.<=) pg_catalog.now() ORDER BY b.due_at, b.id LIMIT 1)"
    "    UNION ALL"
    "    (SELECT b.due_at FROM imagekit.backlog b"
    "     WHERE b.state IN ('waiting', 'retrying') AND b.server OPERATOR(pg_catalog.=) k.server"
    "     ORDER BY b.due_at, b.id LIMIT 1)"
    "    LIMIT 1) d) "
    "SELECT server, due_at, due_at OPERATOR(pg_catalog.<=) pg_catalog.now() FROM first";

}  // namespace

FirstDues ReadFirstDue(const worker::Sender &sender) {
  pg::Column servers = {OIDOID, nullptr}, due = {TIMESTAMPTZOID, nullptr}, ids = {INT8OID, nullptr};
  ListCell *cell;
  foreach (cell, sender.accounts) {
    const auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    const bool begun = entry->place.until != 0;
    pg::Add(&servers, ObjectIdGetDatum(entry->account->server));
    pg::Add(&due, TimestampTzGetDatum(entry->place.due_at), !begun);
    pg::Add(&ids, Int64GetDatum(entry->place.id), !begun);
  }
  const pg::Param params[] = {pg::AsParam(servers, OIDARRAYOID), pg::AsParam(due, TIMESTAMPTZARRAYOID),
                              pg::AsParam(ids, INT8ARRAYOID)};
  FirstDues dues;
  dues.count = static_cast<int>(pg::RunSql(kFirstDue, SPI_OK_SELECT, params, 3));
  dues.of = static_cast<FirstDue *>(palloc(sizeof(FirstDue) * (dues.count + 1)));
  for (int i = 0; i < dues.count; i++) {
    bool null;
    const Oid server = DatumGetObjectId(pg::Field(i, 1, &null));
    dues.of[i].server = null ? InvalidOid : server;
    dues.of[i].at = DatumGetTimestampTz(pg::Field(i, 2, &null));
    dues.of[i].now = DatumGetBool(pg::Field(i, 3, &null));
  }
  return dues;
}

void BeginAt(SenderAccount *entry, TimestampTz due_at, int64 id, Ticks walked) {
  constexpr Ticks kLeast = 5000;  // ms
  constexpr int kShare = 20;      // a twentieth of the time at most goes into claims from the beginning
  entry->place.due_at = due_at;
  entry->place.id = id;
  if (entry->place.until == 0) entry->place.until = worker::NowTicks() + Max(kLeast, walked * kShare);
}

void BeginAtBeginning(SenderAccount *entry) { entry->place.until = 0; }

void ForgetOldPlaces(worker::Sender *sender) {
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->place.until <= worker::NowTicks()) BeginAtBeginning(entry);
  }
}

}  // namespace imagekit::outbox
