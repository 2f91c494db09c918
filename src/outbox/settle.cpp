// What became of the files, in one transaction: history for those that are done, the backlog for those that are not.

#include "core/backoff.h"
#include "outbox/backlog.h"
#include "outbox/claims.h"
#include "outbox/counters.h"
#include "outbox/purges.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/complaints.h"

namespace imagekit::outbox {

namespace {

using pg::Add;
using pg::AddText;
using pg::AsParam;
using pg::Column;
using worker::Batch;
using worker::Fate;
using worker::OutcomeOf;
using worker::QueuedFile;
using worker::Sender;
using worker::SenderAccount;

constexpr char kRecord[] =
    "INSERT INTO imagekit.history "
    "  (url, server, file_id, outcome, detail, relation, origin, transaction, role, captured_at) "
    "SELECT u.url, u.server, u.file_id, u.outcome, u.detail, "
    "       CASE WHEN u.relation OPERATOR(pg_catalog.<>) 0 THEN u.relation::pg_catalog.regclass::pg_catalog.text END, "
    "       u.origin, u.transaction, pg_catalog.pg_get_userbyid(u.role), u.captured_at "
    "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
    "                pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), "
    "                pg_catalog.unnest($9), pg_catalog.unnest($10)) "
    "     WITH ORDINALITY AS u(url, server, file_id, outcome, detail, relation, captured_at, origin, transaction, role,"
    "                          place) ORDER BY u.place";

// A file keeps its number, or gets one. A wait below zero leaves it due as it was.
constexpr char kPutBack[] =
    "INSERT INTO imagekit.backlog (id, url, file_id, server, transaction, relation, role, origin, captured_at, due_at,"
    "                              state, attempts, last_error, in_doubt, approved) OVERRIDING SYSTEM VALUE "
    "SELECT COALESCE(u.id, pg_catalog.nextval('imagekit.backlog_id_seq')), u.url, u.file_id, u.server, u.transaction,"
    "       u.relation, u.role, u.origin, u.captured_at,"
    "       CASE WHEN u.wait_ms OPERATOR(pg_catalog.<) 0 THEN u.due_at ELSE pg_catalog.clock_timestamp() "
    "         OPERATOR(pg_catalog.+) (u.wait_ms OPERATOR(pg_catalog.*) '1 millisecond'::pg_catalog.interval) END,"
    "       u.state, u.attempts, u.error, u.in_doubt, u.approved "
    "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
    "                pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), "
    "                pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11), pg_catalog.unnest($12), "
    "                pg_catalog.unnest($13), pg_catalog.unnest($14), pg_catalog.unnest($15), pg_catalog.unnest($16)) "
    "     AS u(id, url, file_id, server, transaction, relation, role, origin, captured_at, due_at, attempts,"
    "          in_doubt, approved, error, state, wait_ms)";

constexpr char kPause[] =
    "INSERT INTO imagekit.account_state AS s (server, paused_until, failures, cause, configuration) "
    "VALUES ($1, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) ($2 OPERATOR(pg_catalog.*) "
    "'1 millisecond'::pg_catalog.interval), 1, $3, $4) "
    "ON CONFLICT (server) DO UPDATE SET paused_until = excluded.paused_until, configuration = excluded.configuration, "
    "failures = s.failures OPERATOR(pg_catalog.+) 1, cause = excluded.cause, "
    "since = CASE WHEN s.cause OPERATOR(pg_catalog.=) excluded.cause THEN s.since ELSE excluded.since END";

constexpr char kReadPause[] =
    "SELECT failures, cause FROM imagekit.account_state WHERE server OPERATOR(pg_catalog.=) $1";

// What stopped it may be mended. $2: its configuration as it is.
constexpr char kTryAtOnce[] =
    "UPDATE imagekit.account_state SET paused_until = pg_catalog.clock_timestamp(), failures = 1, configuration = $2 "
    "WHERE server OPERATOR(pg_catalog.=) $1 AND configuration OPERATOR(pg_catalog.<>) $2 "
    "AND failures OPERATOR(pg_catalog.>) 0";

constexpr char kResume[] = "DELETE FROM imagekit.account_state WHERE server OPERATOR(pg_catalog.=) $1";

// $1: days
constexpr char kPrune[] =
    "DELETE FROM imagekit.history WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT h.ctid FROM imagekit.history h WHERE h.settled_at OPERATOR(pg_catalog.<) "
    "  (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(0, 0, 0, $1)) "
    "  ORDER BY h.settled_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

int64 RetryWait(const QueuedFile &file) {
  uint64 random = pg_prng_uint64(&pg_global_prng_state);
  return BackoffMs(file.attempts, settings::retry_delay, settings::retry_delay_max, random);
}

bool IsDone(const QueuedFile &file) { return file.settling && OutcomeOf(file.fate) != nullptr; }

void PutBack(const Batch &batch) {
  FileColumns columns;
  Column states = {TEXTOID, nullptr}, waits = {INT8OID, nullptr};
  for (int i = 0; i < batch.count; i++) {
    if (!batch.files[i].settling || IsDone(batch.files[i])) continue;
    QueuedFile file = batch.files[i];
    const bool released = file.fate == Fate::kReleased;
    const bool parked = file.fate == Fate::kParked;
    AddText(&states, parked ? "failed" : released && file.attempts <= 1 ? "waiting" : "retrying");
    Add(&waits, Int64GetDatum(parked ? -1 : released ? file.release_wait_ms : RetryWait(file)));
    if (released) file.attempts--;
    if (file.detail != nullptr) file.last_error = file.detail;
    AddTo(&columns, file);
  }
  if (states.values == nullptr) return;
  pg::Param params[kFileColumns + 2];
  AsParams(columns, params);
  params[kFileColumns] = AsParam(states, TEXTARRAYOID);
  params[kFileColumns + 1] = AsParam(waits, INT8ARRAYOID);
  pg::RunSql(kPutBack, SPI_OK_INSERT, params);
}

// What tells one cause from another: not the text of a page that is another each time, nor times or numbers in ImageKit's words.
char *TellingPart(const char *cause) {
  for (const char *before : {"not an answer of ImageKit: ", "requests failed, with: HTTP "}) {
    const char *found = strstr(cause, before);
    if (found == nullptr) continue;
    const char *end = found + strlen(before);
    return pnstrdup(cause, static_cast<size_t>(end - cause) + strspn(end, "0123456789"));
  }
  char *part = pstrdup(cause);
  constexpr char kStatus[] = "HTTP ";
  const char *status = strstr(part, kStatus);
  for (char *c = part; *c != '\0'; c++) {
    const bool of_status = status != nullptr && c >= status && c < status + strlen(kStatus) + 3;
    if (!of_status && *c >= '0' && *c <= '9') *c = '0';
  }
  return part;
}

// Says a cause once, not at every try.
void Pause(const SenderAccount &entry, const char *cause, bool retry_later) {
  bool known = false;
  int failures = 0;
  if (pg::RunSql(kReadPause, SPI_OK_SELECT, {{OIDOID, ObjectIdGetDatum(entry.account->server)}}) > 0) {
    bool null;
    failures = DatumGetInt32(pg::Field(0, 1, &null));
    char *before = pg::FieldText(0, 2, CurrentMemoryContext);
    known = strcmp(TellingPart(before), TellingPart(cause)) == 0;
    if (known) cause = before;
    if (known && !retry_later) return;  // it stands there, and would be written at each claim
  }
  constexpr int64 kLongest = 15 * 60 * 1000;
  int64 wait = !retry_later ? 0
                            : RestMs(failures + 1, settings::retry_delay, Min(settings::retry_delay_max, kLongest),
                                     pg_prng_uint64(&pg_global_prng_state));
  pg::RunSql(kPause, SPI_OK_INSERT,
             {{OIDOID, ObjectIdGetDatum(entry.account->server)},
              {INT8OID, Int64GetDatum(wait)},
              {TEXTOID, CStringGetTextDatum(cause)},
              {INT8OID, Int64GetDatum(static_cast<int64>(entry.configuration))}});
  if (!known && worker::MaySayStopped(entry.account->server, TellingPart(cause)))
    ereport(WARNING,
            (errmsg("imagekit_cleanup stops sending for server \"%s\"", entry.account->name), errdetail("%s", cause),
             errhint("Queued deletions wait. See imagekit.status; sending resumes by itself once this is mended.")));
}

void SettleAccounts(Sender *sender) {
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->problem != nullptr) continue;
    if (entry->pause_cause != nullptr) {
      if (!entry->pause_written) Pause(*entry, entry->pause_cause, true);
      entry->pause_written = true;
    } else if (entry->answered &&
               pg::RunSql(kResume, SPI_OK_DELETE, {{OIDOID, ObjectIdGetDatum(entry->account->server)}}) > 0) {
      if (worker::MaySayResumed(entry->account->server))
        ereport(LOG, (errmsg("imagekit_cleanup sends for server \"%s\" again", entry->account->name)));
    }
    entry->answered = false;
  }
}

}  // namespace

void Record(const Batch &batch) {
  Column urls = {TEXTOID, nullptr}, servers = {NAMEOID, nullptr}, file_ids = {TEXTOID, nullptr};
  Column outcomes = {TEXTOID, nullptr}, details = {TEXTOID, nullptr}, relations = {OIDOID, nullptr};
  Column times = {TIMESTAMPTZOID, nullptr}, origins = {CHAROID, nullptr}, transactions = {XID8OID, nullptr};
  Column roles = {OIDOID, nullptr};
  for (int i = 0; i < batch.count; i++) {
    const QueuedFile &file = batch.files[i];
    if (!IsDone(file)) continue;
    AddText(&urls, file.url);
    const char *server = file.account == nullptr ? nullptr : file.account->name;
    Add(&servers, server == nullptr ? 0 : DirectFunctionCall1(namein, CStringGetDatum(server)), server == nullptr);
    AddText(&file_ids, file.file_id);
    AddText(&outcomes, OutcomeOf(file.fate));
    AddText(&details, file.detail);
    Add(&relations, ObjectIdGetDatum(file.relation));
    Add(&times, TimestampTzGetDatum(file.captured_at));
    Add(&origins, CharGetDatum(file.origin));
    Add(&transactions, FullTransactionIdGetDatum(file.transaction));
    Add(&roles, ObjectIdGetDatum(file.role));
  }
  if (urls.values == nullptr) return;
  pg::RunSql(kRecord, SPI_OK_INSERT,
             {AsParam(urls, TEXTARRAYOID), AsParam(servers, NAMEARRAYOID), AsParam(file_ids, TEXTARRAYOID),
              AsParam(outcomes, TEXTARRAYOID), AsParam(details, TEXTARRAYOID), AsParam(relations, OIDARRAYOID),
              AsParam(times, TIMESTAMPTZARRAYOID), AsParam(origins, CHARARRAYOID), AsParam(transactions, XID8ARRAYOID),
              AsParam(roles, OIDARRAYOID)});
}

void NoteProblems(const Sender &sender) {
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->problem != nullptr) Pause(*entry, entry->problem, false);
  }
}

void TryChangedAccounts(const Sender &sender) {
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    pg::RunSql(kTryAtOnce, SPI_OK_UPDATE,
               {{OIDOID, ObjectIdGetDatum(entry->account->server)},
                {INT8OID, Int64GetDatum(static_cast<int64>(entry->configuration))}});
  }
}

void Settle(const Batch &batch, List *claims, Sender *sender) {
  Record(batch);
  PutBack(batch);
  QueuePurges(batch);
  FinishClaims(batch, claims);
  SettleAccounts(sender);
  WriteMissingRuns(*sender);
  CountFiles(batch);
  if (CountersDueAt() > worker::NowTicks()) return;
  CountRequests(*sender);
  WriteCounters();
}

// The history grows at one end of its index and is cut at the other.
bool PruneHistory() {
  constexpr int kAtOnce = 5000;
  if (settings::history_retention <= 0) return false;
  const uint64 gone =
      pg::RunSql(kPrune, SPI_OK_DELETE,
                 {{INT4OID, Int32GetDatum(settings::history_retention)}, {INT4OID, Int32GetDatum(kAtOnce)}});
  return gone == kAtOnce;
}

}  // namespace imagekit::outbox
