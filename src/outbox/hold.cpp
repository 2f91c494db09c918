// See hold.h. One group a transaction and table, or a minute and table; each is counted, judged on its own, and then with
// what else the table has lost within the window.

#include "outbox/hold.h"

#include <cmath>

#include "account/account.h"
#include "capture/remaining.h"
#include "capture/watch_config.h"
#include "pg/sql.h"
#include "worker/shared_state.h"

namespace imagekit::outbox {

namespace {

constexpr char kKnown[] =
    "SELECT held_because FROM imagekit.removals "
    "WHERE transaction OPERATOR(pg_catalog.=) $1 AND relation OPERATOR(pg_catalog.=) $2";

constexpr char kCount[] =
    "SELECT COALESCE(pg_catalog.sum(files), 0)::pg_catalog.int8 FROM imagekit.outbox "
    "WHERE transaction OPERATOR(pg_catalog.=) $1 AND relation OPERATOR(pg_catalog.=) $2 "
    "AND origin OPERATOR(pg_catalog.<>) 'M'";

constexpr char kRemember[] =
    "INSERT INTO imagekit.removals (transaction, relation, since, files, held_because) VALUES ($1, $2, $3, $4, $5)";

// A row that an operator's open transaction has in its hands is not waited for; the minute gets another.
constexpr char kAddToMinute[] =
    "UPDATE imagekit.removals SET files = files OPERATOR(pg_catalog.+) $3 "
    "WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT r.ctid FROM imagekit.removals r WHERE r.relation OPERATOR(pg_catalog.=) $1"
    "  AND r.since OPERATOR(pg_catalog.=) $2 AND r.transaction IS NULL AND r.held_because IS NULL"
    "  LIMIT 1 FOR UPDATE SKIP LOCKED))";

constexpr char kNewMinute[] = "INSERT INTO imagekit.removals (relation, since, files) VALUES ($1, $2, $3)";

constexpr char kHeld[] =
    "SELECT FROM imagekit.removals WHERE relation OPERATOR(pg_catalog.=) $1 AND held_because IS NOT NULL LIMIT 1";

constexpr char kInWindow[] =
    "SELECT pg_catalog.sum(files)::pg_catalog.int8, pg_catalog.min(held_because) FROM imagekit.removals "
    "WHERE relation OPERATOR(pg_catalog.=) $1 "
    "AND since OPERATOR(pg_catalog.>=) $2 AND since OPERATOR(pg_catalog.<=) $3";

constexpr char kMarkTransaction[] =
    "UPDATE imagekit.removals SET held_because = $3 "
    "WHERE transaction OPERATOR(pg_catalog.=) $1 AND relation OPERATOR(pg_catalog.=) $2";

constexpr char kMarkWindow[] =
    "UPDATE imagekit.removals SET held_because = $4 WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT r.ctid FROM imagekit.removals r WHERE r.relation OPERATOR(pg_catalog.=) $1"
    "  AND r.since OPERATOR(pg_catalog.>=) $2 AND r.since OPERATOR(pg_catalog.<=) $3 AND r.held_because IS NULL"
    "  FOR UPDATE SKIP LOCKED))";

// What an operator is about to take back is passed by, and held by kHoldAgain if he then does not.
constexpr char kHoldWaiting[] =
    "UPDATE imagekit.backlog SET state = 'held', last_error = $4 WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT b.id FROM imagekit.backlog b WHERE b.relation OPERATOR(pg_catalog.=) $1 "
    "  AND b.captured_at OPERATOR(pg_catalog.>=) $2 AND b.captured_at OPERATOR(pg_catalog.<=) $3 "
    "  AND b.state IN ('waiting', 'retrying') AND NOT b.approved FOR UPDATE SKIP LOCKED))";

constexpr char kAnyHeld[] = "SELECT FROM imagekit.removals WHERE held_because IS NOT NULL LIMIT 1";

// Files of a removal that is held, which were in somebody's hands when it was. Only these are locked, which writes a row; of
// the same table much else may be due.
constexpr char kHoldAgain[] =
    "WITH loose AS MATERIALIZED ("
    "  SELECT b.id, b.relation, b.transaction, b.captured_at FROM imagekit.backlog b"
    "  WHERE b.state IN ('waiting', 'retrying') AND NOT b.approved"
    "  AND b.due_at OPERATOR(pg_catalog.<=) pg_catalog.now()"
    "  AND EXISTS (SELECT FROM imagekit.removals r WHERE " IMAGEKIT_HELD_REMOVAL_OF("b") ")"
    "  FOR UPDATE OF b SKIP LOCKED) "
    "UPDATE imagekit.backlog b SET state = 'held', last_error = "
    "  (SELECT pg_catalog.min(r.held_because) FROM imagekit.removals r"
    "   WHERE " IMAGEKIT_HELD_REMOVAL_OF("l") ") "
    "FROM loose l WHERE b.id OPERATOR(pg_catalog.=) l.id";

constexpr char kForgetSettled[] =
    "DELETE FROM imagekit.removals WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT r.ctid FROM imagekit.removals r"
    "  WHERE EXISTS (SELECT FROM imagekit.removals h WHERE h.relation OPERATOR(pg_catalog.=) r.relation"
    "                AND h.held_because IS NOT NULL)"
    "  AND NOT EXISTS (SELECT FROM imagekit.backlog b WHERE b.state OPERATOR(pg_catalog.=) 'held'"
    "                  AND b.relation OPERATOR(pg_catalog.=) r.relation) FOR UPDATE SKIP LOCKED))";

// A transaction's decision holds for as long as the journal has any of it.
constexpr char kPrune[] =
    "DELETE FROM imagekit.removals WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT r.ctid FROM imagekit.removals r WHERE r.since OPERATOR(pg_catalog.<) $1"
    "  AND (r.transaction IS NULL OR NOT EXISTS"
    "    (SELECT FROM imagekit.outbox o WHERE o.transaction OPERATOR(pg_catalog.=) r.transaction))"
    "  FOR UPDATE SKIP LOCKED))";

// 0: off.
struct Limits {
  int64 above;
  double fraction;
  int64 window;  // microseconds
};

struct Group {
  Oid relation;
  uint64 transaction;  // 0: the small ones of a minute
  TimestampTz minute;
  int64 files;
  Limits limits;
  bool known;  // decided when its first tuples came
  char *cause;
};

// Where a table's files belong to several accounts, the careful one speaks for all.
Limits Strictest(const Limits &a, const Limits &b) {
  Limits both;
  both.above = a.above == 0 ? b.above : b.above == 0 ? a.above : Min(a.above, b.above);
  both.fraction = a.fraction == 0 ? b.fraction : b.fraction == 0 ? a.fraction : Min(a.fraction, b.fraction);
  both.window = Max(a.window, b.window);
  return both;
}

Limits LimitsOf(const Removal &removal, List *accounts) {
  Limits limits = {};
  bool any = false;
  ListCell *cell;
  foreach (cell, accounts) {
    auto *account = static_cast<account::Account *>(lfirst(cell));
    if (!list_member_oid(removal.accounts, account->server)) continue;
    Limits own = {account->hold_above, account->hold_fraction, account->hold_window};
    limits = any ? Strictest(limits, own) : own;
    any = true;
  }
  if (!any) limits = {account::kHoldAbove, account::kHoldFraction, account::kHoldWindow};
  capture::Watch watch;
  if (capture::ReadWatch(removal.relation, &watch)) {
    if (watch.hold_above >= 0) limits.above = watch.hold_above;
    if (watch.hold_fraction >= 0) limits.fraction = watch.hold_fraction;
  }
  return limits;
}

TimestampTz MinuteOf(TimestampTz time) { return time - time % USECS_PER_MINUTE; }

pg::Param RelationParam(const Group &group) { return {OIDOID, ObjectIdGetDatum(group.relation)}; }
pg::Param TransactionParam(const Group &group) {
  return {XID8OID, FullTransactionIdGetDatum(FullTransactionIdFromU64(group.transaction))};
}
pg::Param TimeParam(TimestampTz time) { return {TIMESTAMPTZOID, TimestampTzGetDatum(time)}; }
pg::Param TextParam(const char *text) {
  return {TEXTOID, text == nullptr ? Datum{0} : CStringGetTextDatum(text), text == nullptr};
}

char *TableName(Oid relation) {
  const char *name = get_rel_name(relation);
  if (name == nullptr) return psprintf("%u", relation);
  return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), name);
}

// Once, until it has been seen to: a script of many large transactions must not fill the log.
void Tell(const Group &group) {
  if (pg::RunSql(kHeld, SPI_OK_SELECT, {RelationParam(group)}) > 0) return;
  char *detail = pstrdup(group.cause);
  detail[0] = static_cast<char>(pg_toupper(static_cast<unsigned char>(detail[0])));
  char *table = TableName(group.relation);
  char *literal = quote_literal_cstr(table);
  ereport(WARNING,
          (errmsg("imagekit_cleanup holds back the files that table %s has lost", table), errdetail("%s.", detail),
           errhint("If that was meant, SELECT imagekit.approve(relation => %s); to keep the files, SELECT "
                   "imagekit.discard(relation => %s). See imagekit.pending where state = 'held'.",
                   literal, literal)));
}

// Why so many files are too many, `who` having removed them; NULL when they are not.
char *TooMany(const Group &group, int64 files, const char *who) {
  const Limits &limits = group.limits;
  if (limits.above > 0 && files > limits.above)
    return psprintf("%s removed %lld files, more than hold_above (%lld)", who, static_cast<long long>(files),
                    static_cast<long long>(limits.above));
  if (limits.fraction <= 0 || files < kFromFiles) return nullptr;
  auto enough = static_cast<int64>(std::ceil(static_cast<double>(files) * (1 - limits.fraction) / limits.fraction));
  if (enough <= 0) return nullptr;
  char *problem = nullptr;
  int64 remaining = capture::CountRemaining(group.relation, enough, &problem);
  if (problem != nullptr)
    return psprintf("%s removed %lld files, and what share of the table's that is cannot be told: %s", who,
                    static_cast<long long>(files), problem);
  if (remaining >= enough) return nullptr;
  return psprintf("%s removed %lld files, more than hold_fraction (%g) of the table's; left: %lld", who,
                  static_cast<long long>(files), limits.fraction, static_cast<long long>(remaining));
}

// A large transaction: counted and decided once, when the first of it comes.
void JudgeTransaction(Group *group) {
  group->known = pg::RunSql(kKnown, SPI_OK_SELECT, {TransactionParam(*group), RelationParam(*group)}) > 0;
  if (group->known) {
    group->cause = pg::FieldText(0, 1, CurrentMemoryContext);
    return;
  }
  if (group->files == kUncounted) {
    pg::RunSql(kCount, SPI_OK_SELECT, {TransactionParam(*group), RelationParam(*group)});
    bool null;
    group->files = DatumGetInt64(pg::Field(0, 1, &null));
  }
  group->cause = TooMany(*group, group->files, "one transaction");
  if (group->cause != nullptr) Tell(*group);
  pg::RunSql(kRemember, SPI_OK_INSERT,
             {TransactionParam(*group),
              RelationParam(*group),
              TimeParam(group->minute),
              {INT8OID, Int64GetDatum(group->files)},
              TextParam(group->cause)});
}

void CountMinute(const Group &group) {
  pg::Param params[] = {RelationParam(group), TimeParam(group.minute), {INT8OID, Int64GetDatum(group.files)}};
  if (pg::RunSql(kAddToMinute, SPI_OK_UPDATE, params) == 0) pg::RunSql(kNewMinute, SPI_OK_INSERT, params);
}

// With all that the table has lost in the window that ends with the group, to the minute.
void JudgeWindow(Group *group, List **trips) {
  if (group->limits.window == 0 || group->cause != nullptr || group->known) return;
  TimestampTz from = MinuteOf(group->minute - group->limits.window);
  pg::RunSql(kInWindow, SPI_OK_SELECT, {RelationParam(*group), TimeParam(from), TimeParam(group->minute)});
  bool null;
  int64 files = DatumGetInt64(pg::Field(0, 1, &null));
  group->cause = pg::FieldText(0, 2, CurrentMemoryContext);
  if (group->cause != nullptr) {
    // Not the minute: a trickle of small transactions would hold each other for ever.
    if (group->transaction != 0)
      pg::RunSql(kMarkTransaction, SPI_OK_UPDATE,
                 {TransactionParam(*group), RelationParam(*group), TextParam(group->cause)});
    return;
  }
  if (group->transaction != 0 && files == group->files) return;  // nothing else is in it
  group->cause = TooMany(*group, files, "several transactions within hold_window");
  if (group->cause == nullptr) return;
  Tell(*group);
  pg::RunSql(kMarkWindow, SPI_OK_UPDATE,
             {RelationParam(*group), TimeParam(from), TimeParam(group->minute), TextParam(group->cause)});
  auto *trip = static_cast<Trip *>(palloc(sizeof(Trip)));
  *trip = {group->relation, from, group->minute + USECS_PER_MINUTE, group->cause};
  *trips = lappend(*trips, trip);
}

// The removal's group, made when it is the first.
Group *GroupOf(const Removal &removal, List **groups, List *accounts) {
  Limits limits = LimitsOf(removal, accounts);
  bool large =
      removal.total == kUncounted || removal.total >= kFromFiles || (limits.above > 0 && removal.total > limits.above);
  uint64 transaction = large ? removal.transaction : 0;
  TimestampTz minute = MinuteOf(removal.written_at);
  ListCell *cell;
  foreach (cell, *groups) {
    auto *group = static_cast<Group *>(lfirst(cell));
    if (group->relation != removal.relation || group->transaction != transaction) continue;
    if (!large && group->minute != minute) continue;
    group->limits = Strictest(group->limits, limits);
    if (!large) group->files += removal.files;
    return group;
  }
  auto *group = static_cast<Group *>(palloc0(sizeof(Group)));
  *group = {removal.relation, transaction, minute, large ? removal.total : removal.files, limits, false, nullptr};
  *groups = lappend(*groups, group);
  return group;
}

}  // namespace

void Judge(Removal *removals, int count, List **trips) {
  if (count == 0) return;
  List *accounts = account::LoadAccounts(CurrentMemoryContext);
  List *groups = NIL;
  // NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers is meant.
  auto **group_of = static_cast<Group **>(palloc(sizeof(Group *) * count));
  for (int i = 0; i < count; i++) group_of[i] = GroupOf(removals[i], &groups, accounts);
  ListCell *cell;
  foreach (cell, groups) {
    auto *group = static_cast<Group *>(lfirst(cell));
    if (group->transaction != 0)
      JudgeTransaction(group);
    else
      CountMinute(*group);
  }
  foreach (cell, groups) JudgeWindow(static_cast<Group *>(lfirst(cell)), trips);
  for (int i = 0; i < count; i++) removals[i].cause = group_of[i]->cause;
}

bool HoldAgain() {
  static worker::Ticks again_at = 0;
  if (pg::RunSql(kAnyHeld, SPI_OK_SELECT) == 0) return false;
  const worker::Ticks begun = worker::NowTicks();
  if (begun < again_at) return true;
  pg::RunSql(kHoldAgain, SPI_OK_UPDATE);
  again_at = worker::NowTicks() + worker::RestAfterLook(worker::NowTicks() - begun);
  return true;
}

void HoldWaiting(List *trips) {
  ListCell *cell;
  foreach (cell, trips) {
    auto *trip = static_cast<Trip *>(lfirst(cell));
    pg::RunSql(kHoldWaiting, SPI_OK_UPDATE,
               {{OIDOID, ObjectIdGetDatum(trip->relation)},
                TimeParam(trip->from),
                TimeParam(trip->to),
                TextParam(trip->cause)});
  }
}

void ForgetSettledHolds() { pg::RunSql(kForgetSettled, SPI_OK_DELETE); }

void PruneRemovals() {
  static worker::Ticks again_at = 0;
  const worker::Ticks begun = worker::NowTicks();
  if (begun < again_at) return;
  int64 longest = account::kHoldWindow;
  ListCell *cell;
  foreach (cell, account::LoadAccounts(CurrentMemoryContext))
    longest = Max(longest, static_cast<account::Account *>(lfirst(cell))->hold_window);
  pg::RunSql(kPrune, SPI_OK_DELETE, {TimeParam(GetCurrentTimestamp() - longest - USECS_PER_HOUR)});
  again_at = worker::NowTicks() + worker::RestAfterLook(worker::NowTicks() - begun);
}

}  // namespace imagekit::outbox
