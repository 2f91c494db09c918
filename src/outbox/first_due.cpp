// When there is something to claim, and from where.

#include "outbox/first_due.h"

#include "pg/sql.h"
#include "worker/shared_state.h"

namespace imagekit::outbox {

namespace {

using worker::SenderAccount;
using worker::Ticks;

// $1 accounts; $2 and $3 their places, NULL without one; $4 whether to look from the beginning when nothing behind the place is
// due, or there is none. Those that are no account any more are in the gaps between the numbers of those that are, and are gone
// through from one to the next by the index: so nothing is walked that is an account's.
constexpr char kFirstDue[] =
    "WITH RECURSIVE known AS (SELECT * FROM ROWS FROM ("
    "  pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) "
    "  AS k(server, due_at, id, again)), "
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
    "  (SELECT NULL AS server, b.due_at, b.id, true AS from_beginning FROM imagekit.backlog b"
    "   WHERE b.state IN ('waiting', 'retrying') AND b.server IS NULL ORDER BY b.server, b.due_at, b.id LIMIT 1)"
    "  UNION ALL"
    "  SELECT u.server, d.due_at, d.id, true FROM unknown u CROSS JOIN LATERAL ("
    "    SELECT b.due_at, b.id FROM imagekit.backlog b"
    "    WHERE b.state IN ('waiting', 'retrying') AND b.server OPERATOR(pg_catalog.=) u.server"
    "    ORDER BY b.due_at, b.id LIMIT 1) d"
    "  WHERE NOT u.server OPERATOR(pg_catalog.=) ANY ($1)"
    "  UNION ALL"
    "  SELECT k.server, d.due_at, d.id, COALESCE(d.from_beginning, k.again) FROM known k LEFT JOIN LATERAL ("
    "    (SELECT b.due_at, b.id, false AS from_beginning FROM imagekit.backlog b"
    "     WHERE k.due_at IS NOT NULL AND b.state IN ('waiting', 'retrying')"
    "     AND b.server OPERATOR(pg_catalog.=) k.server"
    "     AND ROW(b.due_at, b.id) OPERATOR(pg_catalog.>=) ROW(k.due_at, k.id)"
    "     AND b.due_at OPERATOR(pg_catalog.<=) CASE WHEN k.again THEN pg_catalog.now() ELSE 'infinity' END"
    "     ORDER BY b.due_at, b.id LIMIT 1)"
    "    UNION ALL"
    "    (SELECT b.due_at, b.id, true FROM imagekit.backlog b"
    "     WHERE k.again AND b.state IN ('waiting', 'retrying')"
    "     AND b.server OPERATOR(pg_catalog.=) k.server ORDER BY b.due_at, b.id LIMIT 1)"
    "    LIMIT 1) d ON true) "
    "SELECT server, due_at, id, due_at OPERATOR(pg_catalog.<=) pg_catalog.now(), from_beginning FROM first";

constexpr Ticks kLeast = 5000;  // ms: so long a place lasts when there is always something behind it
constexpr Ticks kCheap = 10;    // ms: a look from the beginning that takes less may be made each time

// At the account's first file, after a look from the beginning. Not later than now: what comes in from here on is mostly behind.
void BeginAt(SenderAccount *entry, TimestampTz due_at, int64 id, Ticks took) {
  const TimestampTz now = GetCurrentTransactionStartTimestamp();
  const bool due = due_at <= now;
  entry->place.due_at = due ? due_at : now;
  entry->place.id = due ? id : PG_INT64_MIN;
  const Ticks ended = worker::NowTicks();
  entry->place.unsure = false;
  entry->place.again_at = took < kCheap ? ended : ended + worker::ShortRestAfterLook(took);
  entry->place.until = Max(ended + kLeast, entry->place.again_at);
}

}  // namespace

FirstDues ReadFirstDue(worker::Sender *sender, Look look) {
  const Ticks begun = worker::NowTicks();
  pg::Column servers = {OIDOID, nullptr}, due = {TIMESTAMPTZOID, nullptr}, ids = {INT8OID, nullptr};
  pg::Column again = {BOOLOID, nullptr};
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (look == Look::kThoroughly || entry->place.until <= begun) entry->place.until = 0;
    const bool has_place = entry->place.until != 0;
    entry->place.unsure |= look != Look::kFurther;  // others may have committed since
    const bool from_beginning = !has_place || (entry->place.unsure && entry->place.again_at <= begun);
    pg::Add(&servers, ObjectIdGetDatum(entry->account->server));
    pg::Add(&due, TimestampTzGetDatum(entry->place.due_at), !has_place);
    pg::Add(&ids, Int64GetDatum(entry->place.id), !has_place);
    pg::Add(&again, BoolGetDatum(from_beginning));
  }
  const pg::Param params[] = {pg::AsParam(servers, OIDARRAYOID), pg::AsParam(due, TIMESTAMPTZARRAYOID),
                              pg::AsParam(ids, INT8ARRAYOID), pg::AsParam(again, BOOLARRAYOID)};
  const uint64 rows = pg::RunSql(kFirstDue, SPI_OK_SELECT, params, 4);
  const Ticks took = worker::NowTicks() - begun;
  FirstDues dues = {};
  dues.of = static_cast<FirstDue *>(palloc(sizeof(FirstDue) * (rows + 1)));
  for (uint64 i = 0; i < rows; i++) {
    bool null, none;
    const Datum server = pg::Field(i, 1, &null);
    FirstDue first = {null ? InvalidOid : DatumGetObjectId(server), false, DT_NOEND};
    const Datum at = pg::Field(i, 2, &none);
    if (!none) first.at = DatumGetTimestampTz(at);
    const int64 id = DatumGetInt64(pg::Field(i, 3, &null));
    first.now = !none && DatumGetBool(pg::Field(i, 4, &null));
    const bool from_beginning = DatumGetBool(pg::Field(i, 5, &null));
    SenderAccount *entry = worker::FindAccount(sender, first.server);
    if (entry != nullptr && from_beginning) BeginAt(entry, first.at, id, took);
    if (entry != nullptr && entry->place.unsure) first.at = Min(first.at, worker::TimeAt(entry->place.again_at));
    if (first.at != DT_NOEND) dues.of[dues.count++] = first;
  }
  return dues;
}

void MovePlace(SenderAccount *entry, TimestampTz due_at, int64 id) {
  entry->place.due_at = due_at;
  entry->place.id = id;
  entry->place.unsure = true;  // what was locked has been passed over
}

void IncludeFrom(SenderAccount *entry, TimestampTz due_at) {
  if (entry->place.until == 0 || entry->place.due_at <= due_at) return;
  entry->place.due_at = due_at;
  entry->place.id = PG_INT64_MIN;
}

Ticks LooksAgainAt(const worker::Sender &sender) {
  Ticks at = 0;
  ListCell *cell;
  foreach (cell, sender.accounts) {
    const auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->place.until != 0 && entry->place.unsure) at = Max(at, entry->place.again_at);
  }
  return at;
}

void ForgetPlaces(worker::Sender *sender) {
  ListCell *cell;
  foreach (cell, sender->accounts) static_cast<SenderAccount *>(lfirst(cell))->place.until = 0;
}

}  // namespace imagekit::outbox
