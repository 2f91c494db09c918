// cancel(), discard(), retry() and approve(): an operator's word on what is queued.
//
//                 waiting  retrying  held  failed
//   cancel()        ───────────────────►             history: cancelled
//   discard()                         ──────────►    history: discarded
//   retry()                    ◄──────      ◄──      waiting, due now
//   approve()       ◄─────────────────               waiting
//
// They reach the journal as well: it is taken in first. What a drain has claimed is never touched, for nobody can say what
// ImageKit has been told of it; a NOTICE counts it. Nothing here waits for another operator's open transaction.

#include "account/account.h"
#include "outbox/backlog.h"
#include "outbox/hold.h"
#include "outbox/pack.h"
#include "pg/bridge.h"
#include "pg/sql.h"
#include "worker/wake.h"

namespace imagekit::outbox {

namespace {

struct Word {
  const char *function;
  const char *states[3];  // it is for; NULL: no more
  const char *outcome;    // settles them so; NULL: they go on
  bool needs_condition;
};

constexpr Word kCancel = {"cancel", {"waiting", "retrying", "held"}, "cancelled", true};
constexpr Word kDiscard = {"discard", {"failed", "held", nullptr}, "discarded", true};
constexpr Word kRetry = {"retry", {"failed", "retrying", nullptr}, nullptr, false};
constexpr Word kApprove = {"approve", {"held", nullptr, nullptr}, nullptr, true};

// The functions' arguments, in the order in which the statements below number them.
enum Condition { kUrl, kRelation, kTransaction, kFrom, kTo, kServer, kConditions };

// $1 to $6: the conditions. A URL is the same file's when both are read so; one that cannot be read is only itself.
#define GIVEN                    \
  "WITH given AS MATERIALIZED (" \
  "  SELECT imagekit.account_of($1) AS server, imagekit.library_path($1) AS path), "
#define MEANT                                                                  \
  "  AND ($2 IS NULL OR b.relation OPERATOR(pg_catalog.=) $2)"                 \
  "  AND ($3 IS NULL OR b.transaction OPERATOR(pg_catalog.=) $3)"              \
  "  AND ($4 IS NULL OR b.captured_at OPERATOR(pg_catalog.>=) $4)"             \
  "  AND ($5 IS NULL OR b.captured_at OPERATOR(pg_catalog.<=) $5)"             \
  "  AND ($6 IS NULL OR imagekit.account_of(b.url) OPERATOR(pg_catalog.=) $6)" \
  "  AND ($1 IS NULL OR b.url OPERATOR(pg_catalog.=) $1"                       \
  "       OR imagekit.account_of(b.url) OPERATOR(pg_catalog.=) g.server"       \
  "          AND imagekit.library_path(b.url) OPERATOR(pg_catalog.=) g.path)"

// $7: states
constexpr char kPick[] = GIVEN
    "queued AS ("
    "  SELECT b.id, b.url, b.relation, b.transaction, b.captured_at, b.state, false AS claimed FROM imagekit.backlog b"
    "  UNION ALL"
    "  SELECT f.id, f.url, f.relation, f.transaction, f.captured,"
    "         CASE WHEN f.attempts OPERATOR(pg_catalog.>) 1 THEN 'retrying' ELSE 'waiting' END, true"
    "  FROM imagekit.claims c CROSS JOIN LATERAL imagekit.files_of(c) f), "
    "matching AS MATERIALIZED ("
    "  SELECT b.id, b.claimed FROM queued b CROSS JOIN given g"
    "  WHERE b.state OPERATOR(pg_catalog.=) ANY ($7)" MEANT
    "), "
    "free AS ("
    "  SELECT b.id FROM imagekit.backlog b"
    "  WHERE b.id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT m.id FROM matching m WHERE NOT m.claimed))"
    "  AND b.state OPERATOR(pg_catalog.=) ANY ($7) FOR UPDATE SKIP LOCKED) "
    "SELECT (SELECT pg_catalog.count(*) FROM matching), ARRAY(SELECT f.id FROM free f)";

// How many match in states that the word is not for, and which words are.
constexpr char kOthers[] = GIVEN
    "counted AS ("
    "  SELECT b.state, pg_catalog.count(*) AS files FROM imagekit.backlog b CROSS JOIN given g"
    "  WHERE b.state OPERATOR(pg_catalog.<>) ALL (pg_catalog.array_remove($7, NULL))" MEANT
    " GROUP BY b.state), "
    "words(state, place, words, remedy) AS (VALUES "
    "  ('waiting', 1, 'waiting', 'cancel'), ('retrying', 2, 'to be tried again', 'cancel or retry'),"
    "  ('held', 3, 'held', 'approve or discard'), ('failed', 4, 'failed', 'retry or discard')) "
    "SELECT pg_catalog.string_agg(pg_catalog.format('%s %s (%s)', c.files, w.words, w.remedy), ', ' ORDER BY w.place) "
    "FROM counted c JOIN words w ON w.state OPERATOR(pg_catalog.=) c.state";

#undef GIVEN
#undef MEANT

// $1 ids, $2 outcome, $3 who
constexpr char kSettle[] =
    "WITH gone AS (DELETE FROM imagekit.backlog WHERE id OPERATOR(pg_catalog.=) ANY ($1) RETURNING *) "
    "INSERT INTO imagekit.history (url, server, outcome, detail, relation, origin, transaction, role, captured_at) "
    "SELECT b.url, s.srvname, $2, "
    "       pg_catalog.concat('by ', $3, CASE WHEN b.attempts OPERATOR(pg_catalog.>) 0 THEN '; the last attempt: ' "
    "END, "
    "                         CASE WHEN b.attempts OPERATOR(pg_catalog.>) 0 THEN b.last_error END), "
    "       CASE WHEN b.relation OPERATOR(pg_catalog.<>) 0 THEN b.relation::pg_catalog.regclass::pg_catalog.text END, "
    "       b.origin, b.transaction, pg_catalog.pg_get_userbyid(b.role), b.captured_at "
    "FROM gone b LEFT JOIN pg_catalog.pg_foreign_server s "
    "ON s.oid OPERATOR(pg_catalog.=) imagekit.account_of(b.url) ORDER BY b.id";

constexpr char kTryAgain[] =
    "UPDATE imagekit.backlog SET state = 'waiting', attempts = 0, due_at = pg_catalog.now() "
    "WHERE id OPERATOR(pg_catalog.=) ANY ($1)";

constexpr char kLetGo[] =
    "UPDATE imagekit.backlog SET state = 'waiting', last_error = NULL, approved = true WHERE id OPERATOR(pg_catalog.=) "
    "ANY ($1)";

// Of another session that has taken them in, or taken them back, and not said yet whether that holds.
constexpr char kLeftInJournal[] = "SELECT FROM imagekit.outbox WHERE origin OPERATOR(pg_catalog.<>) 'M' LIMIT 1";

// Each URL of the moved rows' tuples that hold one that is meant; the conditions as above.
constexpr char kPickMoves[] =
    "WITH given AS MATERIALIZED ("
    "  SELECT imagekit.account_of($1) AS server, imagekit.library_path($1) AS path), "
    "moves AS ("
    "  SELECT o.ctid AS tuple, o.pack FROM imagekit.outbox o"
    "  WHERE o.origin OPERATOR(pg_catalog.=) 'M'"
    "  AND ($2 IS NULL OR o.relation OPERATOR(pg_catalog.=) $2)"
    "  AND ($3 IS NULL OR o.transaction OPERATOR(pg_catalog.=) $3)"
    "  AND ($4 IS NULL OR o.captured_at OPERATOR(pg_catalog.>=) $4)"
    "  AND ($5 IS NULL OR o.captured_at OPERATOR(pg_catalog.<=) $5) FOR UPDATE SKIP LOCKED) "
    "SELECT m.tuple, u.url, u.file_id,"
    "       ($6 IS NULL OR COALESCE(imagekit.account_of(u.url) OPERATOR(pg_catalog.=) $6, false))"
    "       AND ($1 IS NULL OR u.url OPERATOR(pg_catalog.=) $1"
    "            OR COALESCE(imagekit.account_of(u.url) OPERATOR(pg_catalog.=) g.server"
    "                        AND imagekit.library_path(u.url) OPERATOR(pg_catalog.=) g.path, false)) "
    "FROM moves m CROSS JOIN given g CROSS JOIN LATERAL imagekit.unpack(m.pack) u WHERE u.url IS NOT NULL";

constexpr char kForgetMove[] = "DELETE FROM imagekit.outbox WHERE ctid OPERATOR(pg_catalog.=) $1";
constexpr char kCutMove[] = "UPDATE imagekit.outbox SET pack = $2, files = $3 WHERE ctid OPERATOR(pg_catalog.=) $1";

ItemPointer Tuple(Datum datum) { return reinterpret_cast<ItemPointer>(DatumGetPointer(datum)); }

struct Conditions {
  pg::Param params[kConditions];
  bool any;
};

Conditions ReadConditions(FunctionCallInfo fcinfo, const Word &word) {
  constexpr Oid kTypes[kConditions] = {TEXTOID, OIDOID, XID8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, OIDOID};
  Conditions conditions = {};
  for (int i = 0; i < kConditions; i++) {
    bool null = PG_ARGISNULL(i);
    conditions.params[i] = {kTypes[i], null ? Datum{0} : PG_GETARG_DATUM(i), null};
    conditions.any |= !null;
  }
  if (!conditions.any && word.needs_condition)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("imagekit.%s() is not told which files", word.function),
             errdetail("Without any condition it would mean every file of every account."),
             errhint("Give a url, relation, transaction, captured_from, captured_to or server, like "
                     "imagekit.%s(relation => 'patches'). For all files of an account, give the server.",
                     word.function)));
  pg::Param *server = &conditions.params[kServer];
  if (!server->null) server->value = ObjectIdGetDatum(account::AccountNamed(NameStr(*PG_GETARG_NAME(kServer))));
  return conditions;
}

// Who calls, for the history; both names when a function of another role is what calls.
char *Caller() {
  char *role = GetUserNameFromId(GetUserId(), false);
  if (GetSessionUserId() == GetUserId()) return role;
  return psprintf("%s, in a session of %s", role, GetUserNameFromId(GetSessionUserId(), false));
}

// All that is committed is in the backlog afterwards.
void TakeInAll() {
  constexpr int kTuplesAtOnce = 1000;
  if (TakeBackOrphansOfNobody().files > 0) worker::WakeAtCommit();  // until then no drain sees them
  while (TakeIn(kTuplesAtOnce) > 0) {
    worker::WakeAtCommit();  // a drain may have looked meanwhile, and seen neither journal nor backlog
    CHECK_FOR_INTERRUPTS();
  }
  if (pg::RunSql(kLeftInJournal, SPI_OK_SELECT) > 0)
    ereport(WARNING,
            (errmsg("another session has part of the journal in its hands"),
             errdetail("Its transaction is still open; what it has taken out of the journal is not looked at here."),
             errhint("Call the function again when that transaction has ended.")));
}

// The files of one journal tuple that are not meant, as a pack; count() tells whether there are any. `first` and `end` are
// rows of SPI_tuptable.
PackWriter Remaining(uint64 first, uint64 end) {
  size_t capacity = 1;
  for (uint64 i = first; i < end; i++) {
    const char *url = pg::FieldText(i, 2, CurrentMemoryContext);
    const char *id = pg::FieldText(i, 3, CurrentMemoryContext);
    capacity += strlen(url) + (id == nullptr ? 0 : strlen(id)) + kEntryOverhead;
  }
  PackWriter writer;
  writer.Start(static_cast<char *>(palloc(capacity)), capacity);
  for (uint64 i = first; i < end; i++) {
    bool null;
    if (DatumGetBool(pg::Field(i, 4, &null))) continue;
    const char *url = pg::FieldText(i, 2, CurrentMemoryContext);
    const char *id = pg::FieldText(i, 3, CurrentMemoryContext);
    if (!writer.Add(url, id == nullptr ? "" : id)) elog(ERROR, "a pack does not take what it held");
  }
  return writer;
}

// Rows that moved: no removals yet, and not to become any. They are no files of the queue, so nothing is settled.
void ForgetMoves(const Conditions &conditions) {
  uint64 count = pg::RunSql(kPickMoves, SPI_OK_SELECT, conditions.params, kConditions);
  SPITupleTable *picked = SPI_tuptable;
  int64 forgotten = 0;
  for (uint64 first = 0, end; first < count; first = end) {
    SPI_tuptable = picked;  // each statement below leaves its own
    bool null;
    Datum tuple = pg::Field(first, 1, &null);
    int64 meant = 0;
    for (end = first; end < count; end++) {
      Datum next = pg::Field(end, 1, &null);
      if (!ItemPointerEquals(Tuple(next), Tuple(tuple))) break;
      if (DatumGetBool(pg::Field(end, 4, &null))) meant++;
    }
    if (meant == 0) continue;
    forgotten += meant;
    PackWriter rest = Remaining(first, end);
    if (rest.count() == 0)
      pg::RunSql(kForgetMove, SPI_OK_DELETE, {{TIDOID, tuple}});
    else
      pg::RunSql(kCutMove, SPI_OK_UPDATE,
                 {{TIDOID, tuple},
                  {BYTEAOID, PointerGetDatum(cstring_to_text_with_len(rest.data(), static_cast<int>(rest.size())))},
                  {INT4OID, Int32GetDatum(static_cast<int32>(rest.count()))}});
  }
  if (forgotten > 0)
    ereport(NOTICE, (errmsg_plural("%lld file of rows that moved to another partition will not be reviewed",
                                   "%lld files of rows that moved to another partition will not be reviewed",
                                   static_cast<unsigned long>(forgotten), static_cast<long long>(forgotten)),
                     errdetail("Whether the move dropped them had not been looked at; they are not counted.")));
}

// Does the word for the files that were picked. Returns how many they are.
int64 Obey(const Word &word, Datum ids, const char *caller) {
  int64 count = ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(ids)), ARR_DIMS(DatumGetArrayTypeP(ids)));
  if (count == 0) return 0;
  pg::Param id_param = {INT8ARRAYOID, ids};
  if (word.outcome != nullptr) {
    pg::RunSql(kSettle, SPI_OK_INSERT,
               {id_param, {TEXTOID, CStringGetTextDatum(word.outcome)}, {TEXTOID, CStringGetTextDatum(caller)}});
  } else {
    pg::RunSql(&word == &kRetry ? kTryAgain : kLetGo, SPI_OK_UPDATE, {id_param});
    worker::WakeAtCommit();
  }
  ForgetSettledHolds();
  return count;
}

// None was reached: is it the wrong word?
void SayOthers(const Word &word, const pg::Param *params) {
  pg::RunSql(kOthers, SPI_OK_SELECT, params, kConditions + 1);
  const char *others = pg::FieldText(0, 1, CurrentMemoryContext);
  if (others == nullptr) return;
  ereport(NOTICE, (errmsg("imagekit.%s() is not for the files that match", word.function),
                   errdetail("They are, with the functions for them in brackets: %s.", others)));
}

Datum Say(FunctionCallInfo fcinfo, const Word &word) {
  Conditions conditions = ReadConditions(fcinfo, word);
  (void)pg::HoldExtension();
  char *caller = Caller();
  pg::SqlSession session;
  pg::OpenSql(&session);
  LockQueue();
  TakeInAll();
  if (&word == &kCancel) ForgetMoves(conditions);

  pg::Param params[kConditions + 1];
  for (int i = 0; i < kConditions; i++) params[i] = conditions.params[i];
  params[kConditions] = {TEXTARRAYOID, pg::TextArray(word.states, 3)};
  pg::RunSql(kPick, SPI_OK_SELECT, params);
  bool null;
  int64 matching = DatumGetInt64(pg::Field(0, 1, &null));
  int64 done = Obey(word, pg::Field(0, 2, &null), caller);
  if (matching == 0 && conditions.any) SayOthers(word, params);
  UnlockQueue();
  pg::CloseSql(&session);
  if (done < matching)
    ereport(NOTICE,
            (errmsg_plural("%lld file is being worked on and was left alone",
                           "%lld files are being worked on and were left alone",
                           static_cast<unsigned long>(matching - done), static_cast<long long>(matching - done)),
             errdetail("A drain is at them, or another session's open transaction."),
             errhint("See imagekit.pending and imagekit.history for what becomes of them; what is still pending "
                     "then can be reached by the same call.")));
  PG_RETURN_INT64(done);
}

}  // namespace

}  // namespace imagekit::outbox

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_cancel);
IMAGEKIT_SQL_FUNCTION(imagekit_discard);
IMAGEKIT_SQL_FUNCTION(imagekit_retry);
IMAGEKIT_SQL_FUNCTION(imagekit_approve);

// Each: (url text, relation regclass, transaction xid8, captured_from timestamptz, captured_to timestamptz, server name)
// -> bigint

Datum imagekit_cancel(PG_FUNCTION_ARGS) { return imagekit::outbox::Say(fcinfo, imagekit::outbox::kCancel); }

Datum imagekit_discard(PG_FUNCTION_ARGS) { return imagekit::outbox::Say(fcinfo, imagekit::outbox::kDiscard); }

Datum imagekit_retry(PG_FUNCTION_ARGS) { return imagekit::outbox::Say(fcinfo, imagekit::outbox::kRetry); }

Datum imagekit_approve(PG_FUNCTION_ARGS) { return imagekit::outbox::Say(fcinfo, imagekit::outbox::kApprove); }
}
