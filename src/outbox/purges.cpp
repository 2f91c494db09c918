#include "outbox/purges.h"

#include "core/purge_url.h"
#include "pg/bridge.h"
#include "pg/settings.h"
#include "pg/sql.h"

namespace imagekit::outbox {

namespace {

using worker::Batch;
using worker::QueuedFile;
using worker::Sender;
using worker::SenderAccount;

constexpr char kQueue[] =
    "INSERT INTO imagekit.purges (server, url) "
    "SELECT DISTINCT u.server, u.url FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS u(server, url)";

// Waits double from a minute to a day. $1 accounts, $2 what each may still send this month, $3 limit of all
constexpr char kClaim[] =
    "WITH open AS ("
    "  SELECT a.server, a.most FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS a(server, most)), "
    "due AS MATERIALIZED ("
    "  SELECT p.id, p.server FROM open o CROSS JOIN LATERAL ("
    "    SELECT q.id, q.server FROM imagekit.purges q WHERE q.server OPERATOR(pg_catalog.=) o.server"
    "    AND q.due_at OPERATOR(pg_catalog.<=) pg_catalog.now()"
    "    ORDER BY q.due_at, q.id LIMIT o.most FOR UPDATE SKIP LOCKED) p LIMIT $3), "
    "counted AS ("
    "  INSERT INTO imagekit.purge_months AS m (server, month, purges)"
    "  SELECT d.server, pg_catalog.date_trunc('month', pg_catalog.now())::pg_catalog.date, pg_catalog.count(*) FROM "
    "due d"
    "  GROUP BY d.server"
    "  ON CONFLICT (server, month) DO UPDATE SET purges = m.purges OPERATOR(pg_catalog.+) excluded.purges) "
    "UPDATE imagekit.purges p SET attempts = p.attempts OPERATOR(pg_catalog.+) 1, due_at = pg_catalog.now() "
    "  OPERATOR(pg_catalog.+) LEAST('1 day'::pg_catalog.interval, '1 minute'::pg_catalog.interval "
    "OPERATOR(pg_catalog.*) "
    "  pg_catalog.power(2, LEAST(p.attempts, 12))) "
    "FROM due d WHERE p.id OPERATOR(pg_catalog.=) d.id RETURNING p.id, p.server, p.url, p.attempts";

// $1 accounts: what each has used this month, and whether ImageKit has said that it is enough.
constexpr char kUsed[] =
    "SELECT m.server, m.purges, m.spent FROM imagekit.purge_months m WHERE m.server OPERATOR(pg_catalog.=) ANY ($1) "
    "AND m.month OPERATOR(pg_catalog.=) pg_catalog.date_trunc('month', pg_catalog.now())::pg_catalog.date";

constexpr char kDone[] = "DELETE FROM imagekit.purges WHERE id OPERATOR(pg_catalog.=) ANY ($1)";

constexpr char kFailed[] =
    "UPDATE imagekit.purges p SET last_error = u.error "
    "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS u(id, error) WHERE p.id OPERATOR(pg_catalog.=) "
    "u.id";

// Taken back before it was sent. $1 purges
constexpr char kUncount[] =
    "WITH back AS ("
    "  UPDATE imagekit.purges p SET attempts = p.attempts OPERATOR(pg_catalog.-) 1, due_at = pg_catalog.now() "
    "  WHERE p.id OPERATOR(pg_catalog.=) ANY ($1) RETURNING p.server) "
    "UPDATE imagekit.purge_months m SET purges = m.purges OPERATOR(pg_catalog.-) b.purges "
    "FROM (SELECT server, pg_catalog.count(*) AS purges FROM back GROUP BY server) b "
    "WHERE m.server OPERATOR(pg_catalog.=) b.server "
    "AND m.month OPERATOR(pg_catalog.=) pg_catalog.date_trunc('month', pg_catalog.now())::pg_catalog.date";

constexpr char kSpent[] =
    "UPDATE imagekit.purge_months SET spent = true WHERE server OPERATOR(pg_catalog.=) $1 "
    "AND month OPERATOR(pg_catalog.=) pg_catalog.date_trunc('month', pg_catalog.now())::pg_catalog.date";

constexpr char kNext[] =
    "SELECT pg_catalog.min(due_at) FROM imagekit.purges WHERE server OPERATOR(pg_catalog.=) ANY ($1)";

// What each account may still send, in the order of `servers`.
struct Budgets {
  pg::Column servers = {OIDOID, nullptr}, left = {INT8OID, nullptr};
};

int64 LeftOf(const SenderAccount &entry, uint64 used_rows) {
  constexpr int64 kNoLimit = PG_INT32_MAX;
  int64 left = entry.account->purges_per_month > 0 ? entry.account->purges_per_month : kNoLimit;
  for (uint64 i = 0; i < used_rows; i++) {
    bool null;
    if (DatumGetObjectId(pg::Field(i, 1, &null)) != entry.account->server) continue;
    if (DatumGetBool(pg::Field(i, 3, &null))) return 0;
    if (left < kNoLimit) left = Max(left - DatumGetInt64(pg::Field(i, 2, &null)), int64{0});
  }
  return left;
}

bool MaySend(const SenderAccount &entry) {
  return entry.account->purge_cache && !entry.account->dry_run && entry.number >= 0 && entry.pause_cause == nullptr;
}

Budgets ReadBudgets(const Sender &sender) {
  Budgets budgets;
  pg::Column servers = {OIDOID, nullptr};
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (MaySend(*entry)) pg::Add(&servers, ObjectIdGetDatum(entry->account->server));
  }
  if (servers.values == nullptr) return budgets;
  const uint64 rows = pg::RunSql(kUsed, SPI_OK_SELECT, {pg::AsParam(servers, OIDARRAYOID)});
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (!MaySend(*entry)) continue;
    const int64 left = LeftOf(*entry, rows);
    if (left <= 0) continue;
    pg::Add(&budgets.servers, ObjectIdGetDatum(entry->account->server));
    pg::Add(&budgets.left, Int64GetDatum(left));
  }
  return budgets;
}

}  // namespace

void QueuePurges(const Batch &batch) {
  pg::Column servers = {OIDOID, nullptr}, urls = {TEXTOID, nullptr};
  for (int i = 0; i < batch.count; i++) {
    const QueuedFile &file = batch.files[i];
    if (!file.settling || file.fate != worker::Fate::kDeleted || !file.account->purge_cache) continue;
    const size_t room = strlen(file.url) + 2;
    auto *url = static_cast<char *>(palloc(room));
    pg::CallCxx([&] { strlcpy(url, PurgeUrl(file.url).c_str(), room); });
    pg::Add(&servers, ObjectIdGetDatum(file.account->server));
    pg::AddText(&urls, url);
  }
  if (urls.values != nullptr)
    pg::RunSql(kQueue, SPI_OK_INSERT, {pg::AsParam(servers, OIDARRAYOID), pg::AsParam(urls, TEXTARRAYOID)});
}

List *ClaimPurges(const Sender &sender, int limit, MemoryContext context) {
  const Budgets budgets = ReadBudgets(sender);
  if (budgets.servers.values == nullptr) return NIL;
  const uint64 count = pg::RunSql(kClaim, SPI_OK_UPDATE_RETURNING,
                                  {pg::AsParam(budgets.servers, OIDARRAYOID),
                                   pg::AsParam(budgets.left, INT8ARRAYOID),
                                   {INT4OID, Int32GetDatum(limit)}});
  List *purges = NIL;
  MemoryContext before = MemoryContextSwitchTo(context);
  for (uint64 i = 0; i < count; i++) {
    bool null;
    auto *purge = static_cast<PurgeToSend *>(palloc0(sizeof(PurgeToSend)));
    purge->id = DatumGetInt64(pg::Field(i, 1, &null));
    purge->account = worker::FindAccount(&sender, DatumGetObjectId(pg::Field(i, 2, &null)))->number;
    purge->url = pg::FieldText(i, 3, context);
    purge->attempts = DatumGetInt32(pg::Field(i, 4, &null));
    purges = lappend(purges, purge);
  }
  MemoryContextSwitchTo(before);
  return purges;
}

void SettlePurges(List *results) {
  pg::Column done = {INT8OID, nullptr}, failed = {INT8OID, nullptr}, errors = {TEXTOID, nullptr};
  pg::Column unsent = {INT8OID, nullptr};
  ListCell *cell;
  foreach (cell, results) {
    auto *result = static_cast<PurgeResult *>(lfirst(cell));
    if (OidIsValid(result->spent)) pg::RunSql(kSpent, SPI_OK_UPDATE, {{OIDOID, ObjectIdGetDatum(result->spent)}});
    if (result->unsent) {
      pg::Add(&unsent, Int64GetDatum(result->id));
    } else if (result->done) {
      pg::Add(&done, Int64GetDatum(result->id));
    } else {
      pg::Add(&failed, Int64GetDatum(result->id));
      pg::AddText(&errors, result->error);
    }
  }
  if (done.values != nullptr) pg::RunSql(kDone, SPI_OK_DELETE, {pg::AsParam(done, INT8ARRAYOID)});
  if (unsent.values != nullptr) pg::RunSql(kUncount, SPI_OK_UPDATE, {pg::AsParam(unsent, INT8ARRAYOID)});
  if (failed.values != nullptr)
    pg::RunSql(kFailed, SPI_OK_UPDATE, {pg::AsParam(failed, INT8ARRAYOID), pg::AsParam(errors, TEXTARRAYOID)});
}

TimestampTz NextPurge(const Sender &sender) {
  const Budgets budgets = ReadBudgets(sender);
  if (budgets.servers.values == nullptr) return DT_NOEND;
  pg::RunSql(kNext, SPI_OK_SELECT, {pg::AsParam(budgets.servers, OIDARRAYOID)});
  bool null;
  Datum due = pg::Field(0, 1, &null);
  return null ? DT_NOEND : DatumGetTimestampTz(due);
}

}  // namespace imagekit::outbox
