// One row of imagekit.counters an account: names and counts, two arrays. Who writes adds what it finds to what it has, in one
// new row. What others are just writing is left alone, and added up the next time; readers add up all rows.
//
// imagekit.counters_by_day has the same a day, for the report.

#include "outbox/counters.h"

#include "core/request_statistics.h"
#include "pg/bridge.h"
#include "pg/sql.h"

namespace imagekit::outbox {

namespace {

using pg::Add;
using pg::AddText;
using pg::AsParam;
using pg::Column;
using worker::Batch;
using worker::Fate;
using worker::QueuedFile;
using worker::Sender;
using worker::SenderAccount;
using worker::Ticks;

constexpr Ticks kWriteEvery = 10000;  // ms

// From the commit to the settlement: 0.1 s to a day.
constexpr int64_t kDelayBoundsUs[] = {100000,   250000,   500000,    1000000,   2500000,    5000000,     10000000,
                                      30000000, 60000000, 300000000, 900000000, 3600000000, 21600000000, 86400000000};

struct AccountCounts {
  Oid server;
  TimestampTz since;
  int64 outcomes[static_cast<int>(Fate::kReleased)];
  RequestStatistics requests;
  Histogram<kDelayBoundsUs> delays;
};

// $1 to $4: account, since, name, count. Accounts that are gone take their counts along.
#define ADD_UP                                                                                                     \
  "INSERT INTO imagekit.counters (server, since, names, counts) "                                                  \
  "SELECT s.server, pg_catalog.min(s.since), pg_catalog.array_agg(s.name), pg_catalog.array_agg(s.count) FROM ("   \
  "  SELECT c.server, c.name, pg_catalog.min(c.since) AS since, pg_catalog.sum(c.count)::pg_catalog.int8 AS count" \
  "  FROM counted c "                                                                                              \
  "  WHERE EXISTS (SELECT FROM pg_catalog.pg_foreign_server f WHERE f.oid OPERATOR(pg_catalog.=) c.server)"        \
  "  GROUP BY c.server, c.name) s GROUP BY s.server"
// The same of the day at hand; all that is older is left as it is.
#define ADD_UP_TODAY                                                                                            \
  "INSERT INTO imagekit.counters_by_day (server, day, names, counts) "                                          \
  "SELECT s.server, (SELECT t.day FROM today t), pg_catalog.array_agg(s.name), pg_catalog.array_agg(s.count) "  \
  "FROM (SELECT c.server, c.name, pg_catalog.sum(c.count)::pg_catalog.int8 AS count FROM counted_today c "      \
  "      WHERE EXISTS (SELECT FROM pg_catalog.pg_foreign_server f WHERE f.oid OPERATOR(pg_catalog.=) c.server)" \
  "      GROUP BY c.server, c.name) s GROUP BY s.server"
#define NEW_COUNTS                                                                                             \
  "today AS MATERIALIZED ("                                                                                    \
  "  SELECT pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())::pg_catalog.date AS day), "               \
  "fresh AS ("                                                                                                 \
  "  SELECT u.server, u.since, u.name, u.count FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), " \
  "  pg_catalog.unnest($3), pg_catalog.unnest($4)) AS u(server, since, name, count))"

constexpr char kWrite[] =
    "WITH " NEW_COUNTS
    ", "
    "before AS ("
    "  DELETE FROM imagekit.counters WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "    SELECT k.ctid FROM imagekit.counters k FOR UPDATE SKIP LOCKED))"
    "  RETURNING server, since, names, counts), "
    "counted AS ("
    "  SELECT b.server, b.since, c.name, c.count FROM before b"
    "  CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(b.names), pg_catalog.unnest(b.counts)) AS c(name, count)"
    "  UNION ALL SELECT n.server, n.since, n.name, n.count FROM fresh n), "
    // Two years are kept, as of audits.
    "of_days AS ("
    "  DELETE FROM imagekit.counters_by_day WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "    SELECT k.ctid FROM imagekit.counters_by_day k"
    "    WHERE k.day OPERATOR(pg_catalog.=) (SELECT t.day FROM today t)"
    "       OR k.day OPERATOR(pg_catalog.<) ((SELECT t.day FROM today t) OPERATOR(pg_catalog.-) 731)"
    "    FOR UPDATE SKIP LOCKED))"
    "  RETURNING server, day, names, counts), "
    "counted_today AS ("
    "  SELECT b.server, c.name, c.count FROM of_days b"
    "  CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(b.names), pg_catalog.unnest(b.counts)) AS c(name, count)"
    "  WHERE b.day OPERATOR(pg_catalog.=) (SELECT t.day FROM today t)"
    "  UNION ALL SELECT n.server, n.name, n.count FROM fresh n), "
    "added_today AS (" ADD_UP_TODAY ") " ADD_UP;

// With a snapshot that lasts, a row that somebody has replaced since would be an error: only its own is added then.
constexpr char kWriteBeside[] = "WITH " NEW_COUNTS
                                ", counted AS (SELECT n.* FROM fresh n), counted_today AS (SELECT n.* FROM fresh n), "
                                "added_today AS (" ADD_UP_TODAY ") " ADD_UP;

#undef ADD_UP
#undef ADD_UP_TODAY
#undef NEW_COUNTS

// As it is configured now. $1: table, $2: account
constexpr char kGrace[] =
    "SELECT COALESCE((SELECT w.grace FROM imagekit.watch_config w WHERE w.relation OPERATOR(pg_catalog.=) $1), "
    "imagekit.grace_of($2))";

// Asked once for all files of a table until the next write, as nearly all were captured with the grace of now.
struct KnownGrace {
  Oid server, relation;
  Interval grace;
};

// In TopMemoryContext
List *counts = NIL;  // AccountCounts *
List *graces = NIL;  // KnownGrace *
Ticks written_at = 0;

AccountCounts *CountsOf(Oid server) {
  ListCell *cell;
  foreach (cell, counts) {
    auto *known = static_cast<AccountCounts *>(lfirst(cell));
    if (known->server == server) return known;
  }
  MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
  auto *fresh = static_cast<AccountCounts *>(palloc0(sizeof(AccountCounts)));
  fresh->server = server;
  fresh->since = GetCurrentTimestamp();
  counts = lappend(counts, fresh);
  MemoryContextSwitchTo(before);
  return fresh;
}

KnownGrace *GraceOf(Oid server, Oid relation) {
  ListCell *cell;
  foreach (cell, graces) {
    auto *known = static_cast<KnownGrace *>(lfirst(cell));
    if (known->server == server && known->relation == relation) return known;
  }
  pg::RunSql(kGrace, SPI_OK_SELECT, {{OIDOID, ObjectIdGetDatum(relation)}, {OIDOID, ObjectIdGetDatum(server)}});
  bool null;
  const Interval grace = *DatumGetIntervalP(pg::Field(0, 1, &null));
  MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
  auto *fresh = static_cast<KnownGrace *>(palloc(sizeof(KnownGrace)));
  *fresh = {server, relation, grace};
  graces = lappend(graces, fresh);
  MemoryContextSwitchTo(before);
  return fresh;
}

TimestampTz AfterGrace(TimestampTz from, const QueuedFile &file) {
  KnownGrace *known = GraceOf(file.account->server, file.relation);
  return DatumGetTimestampTz(
      DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(from), IntervalPGetDatum(&known->grace)));
}

// Since when the file could have been deleted. The queue keeps the time at which a file is due next, which is that one until it
// has been tried or put off.
TimestampTz DeletableSince(const QueuedFile &file) {
  if (file.origin == 'E' || file.approved) return file.due_at;
  if (file.id == 0) return AfterGrace(file.due_at, file);  // straight from the journal: when that was written
  const bool untouched = file.attempts <= 1 && file.last_error == nullptr;
  return untouched ? file.due_at : AfterGrace(file.captured_at, file);
}

const char *NameOf(Fate fate) {
  if (fate == Fate::kRetry) return "retried";
  if (fate == Fate::kParked) return "parked";
  return worker::OutcomeOf(fate);
}

// The rows to be written, a column each.
struct CountRows {
  Column servers = {OIDOID, nullptr}, since = {TIMESTAMPTZOID, nullptr}, names = {TEXTOID, nullptr};
  Column numbers = {INT8OID, nullptr};
};

void AddRow(CountRows *rows, const AccountCounts &account, const char *name, int64 number) {
  Add(&rows->servers, ObjectIdGetDatum(account.server));
  Add(&rows->since, TimestampTzGetDatum(account.since));
  AddText(&rows->names, name);
  Add(&rows->numbers, Int64GetDatum(number));
}

// With every bucket, empty ones too, so that what is read is a whole histogram.
template <const auto &kBoundsUs>
void AddTimes(CountRows *rows, const AccountCounts &account, const char *what, const Histogram<kBoundsUs> &times) {
  int64 all = 0;
  for (int64 count : times.counts) all += count;
  if (all == 0) return;
  for (size_t i = 0; i < times.kBuckets; i++) {
    const char *bound = i + 1 == times.kBuckets ? "inf" : psprintf("%lld", static_cast<long long>(kBoundsUs[i]));
    AddRow(rows, account, psprintf("time %s %s", what, bound), times.counts[i]);
  }
  AddRow(rows, account, psprintf("time %s sum", what), times.sum_us);
}

void AddAccount(CountRows *rows, const AccountCounts &account) {
  for (size_t i = 0; i < lengthof(account.outcomes); i++)
    if (account.outcomes[i] > 0)
      AddRow(rows, account, psprintf("files %s", NameOf(static_cast<Fate>(i))), account.outcomes[i]);
  for (int kind = 0; kind < kRequestKinds; kind++) {
    for (int status = 0; status < kStatusClasses; status++) {
      const int64 number = account.requests.requests[kind][status];
      if (number > 0)
        AddRow(rows, account,
               psprintf("requests %s %s", RequestKindName(static_cast<RequestKind>(kind)),
                        StatusClassName(static_cast<StatusClass>(status))),
               number);
    }
  }
  AddTimes(rows, account, "request", account.requests.times);
  AddTimes(rows, account, "delete", account.delays);
}

}  // namespace

void CountFiles(const Batch &batch) {
  const TimestampTz now = GetCurrentTimestamp();
  AccountCounts *account = nullptr;
  for (int i = 0; i < batch.count; i++) {
    const QueuedFile &file = batch.files[i];
    if (!file.settling || file.account == nullptr || NameOf(file.fate) == nullptr) continue;
    if (account == nullptr || account->server != file.account->server) account = CountsOf(file.account->server);
    account->outcomes[static_cast<int>(file.fate)]++;
    if (file.fate == Fate::kDeleted && !file.by_hand) account->delays.Add(now - DeletableSince(file));
  }
}

void CountRequests(const Sender &sender) {
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->number < 0) continue;
    const RequestStatistics taken = pg::CallCxx([&] { return sender.client->TakeStatistics(entry->number); });
    int64 any = 0;
    for (int64 count : taken.times.counts) any += count;
    if (any > 0) CountsOf(entry->account->server)->requests.Add(taken);
  }
}

Ticks CountersDueAt() {
  if (counts == NIL) return worker::kNever;
  if (written_at == 0) written_at = worker::NowTicks();  // a process that leaves soon writes once
  return written_at + kWriteEvery;
}

void WriteCounters() {
  CountRows rows;
  ListCell *cell;
  foreach (cell, counts) AddAccount(&rows, *static_cast<AccountCounts *>(lfirst(cell)));
  written_at = worker::NowTicks();
  if (rows.names.values == nullptr) return;
  const bool lasting = IsolationUsesXactSnapshot();
  pg::RunSql(lasting ? kWriteBeside : kWrite, SPI_OK_INSERT,
             {AsParam(rows.servers, OIDARRAYOID), AsParam(rows.since, TIMESTAMPTZARRAYOID),
              AsParam(rows.names, TEXTARRAYOID), AsParam(rows.numbers, INT8ARRAYOID)});
  list_free_deep(counts);
  list_free_deep(graces);
  counts = graces = NIL;
}

}  // namespace imagekit::outbox
