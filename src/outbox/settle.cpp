// What became of the files, in one transaction: history for those that are done, the backlog for those that are not.

#include "core/backoff.h"
#include "outbox/backlog.h"
#include "pg/settings.h"
#include "pg/sql.h"

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

// A file that was not queued was deleted by hand, by $9.
constexpr char kRecord[] =
    "INSERT INTO imagekit.history "
    "  (url, server, file_id, outcome, detail, relation, origin, transaction, role, captured_at) "
    "SELECT u.url, u.server, u.file_id, u.outcome, u.detail, "
    "       CASE WHEN u.relation OPERATOR(pg_catalog.<>) 0 THEN u.relation::pg_catalog.regclass::pg_catalog.text END, "
    "       COALESCE(b.origin, 'H'), COALESCE(b.transaction, pg_catalog.pg_current_xact_id()), "
    "       pg_catalog.pg_get_userbyid(COALESCE(b.role, $9)), u.captured_at "
    "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
    "                pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8)) "
    "     WITH ORDINALITY AS u(id, url, server, file_id, outcome, detail, relation, captured_at, place) "
    "LEFT JOIN imagekit.backlog b ON b.id OPERATOR(pg_catalog.=) u.id ORDER BY u.place";

constexpr char kDone[] = "DELETE FROM imagekit.backlog WHERE id OPERATOR(pg_catalog.=) ANY ($1)";

constexpr char kPutBack[] =
    "UPDATE imagekit.backlog b SET claimed = false, state = u.state, attempts = u.attempts, last_error = u.error, "
    "in_doubt = u.in_doubt, "
    "due_at = CASE WHEN u.wait_ms OPERATOR(pg_catalog.<) 0 THEN b.due_at ELSE pg_catalog.clock_timestamp() "
    "  OPERATOR(pg_catalog.+) (u.wait_ms OPERATOR(pg_catalog.*) '1 millisecond'::pg_catalog.interval) END "
    "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
    "                pg_catalog.unnest($5), pg_catalog.unnest($6)) AS u(id, state, attempts, error, wait_ms, in_doubt) "
    "WHERE b.id OPERATOR(pg_catalog.=) u.id";

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

int64 RetryWait(const QueuedFile &file) {
  uint64 random = pg_prng_uint64(&pg_global_prng_state);
  return BackoffMs(file.attempts, settings::retry_delay, settings::retry_delay_max, random);
}

void Finish(const Batch &batch) {
  Column ids = {INT8OID, nullptr};
  for (int i = 0; i < batch.count; i++)
    if (OutcomeOf(batch.files[i].fate) != nullptr) Add(&ids, Int64GetDatum(batch.files[i].id));
  if (ids.values != nullptr) pg::RunSql(kDone, SPI_OK_DELETE, {AsParam(ids, INT8ARRAYOID)});
}

void PutBack(const Batch &batch) {
  Column ids = {INT8OID, nullptr}, states = {TEXTOID, nullptr}, attempts = {INT4OID, nullptr};
  Column errors = {TEXTOID, nullptr}, waits = {INT8OID, nullptr}, doubts = {BOOLOID, nullptr};
  for (int i = 0; i < batch.count; i++) {
    const QueuedFile &file = batch.files[i];
    if (OutcomeOf(file.fate) != nullptr) continue;
    bool released = file.fate == Fate::kReleased;
    bool parked = file.fate == Fate::kParked;
    Add(&ids, Int64GetDatum(file.id));
    AddText(&states, parked ? "failed" : released && file.attempts <= 1 ? "waiting" : "retrying");
    Add(&attempts, Int32GetDatum(released ? file.attempts - 1 : file.attempts));
    AddText(&errors, file.detail);
    Add(&doubts, BoolGetDatum(file.in_doubt));
    Add(&waits, Int64GetDatum(parked ? -1 : released ? file.release_wait_ms : RetryWait(file)));
  }
  if (ids.values != nullptr)
    pg::RunSql(kPutBack, SPI_OK_UPDATE,
               {AsParam(ids, INT8ARRAYOID), AsParam(states, TEXTARRAYOID), AsParam(attempts, INT4ARRAYOID),
                AsParam(errors, TEXTARRAYOID), AsParam(waits, INT8ARRAYOID), AsParam(doubts, BOOLARRAYOID)});
}

// Says a cause once, not at every try.
void Pause(const SenderAccount &entry, const char *cause, bool retry_later) {
  bool known = false;
  int failures = 0;
  if (pg::RunSql(kReadPause, SPI_OK_SELECT, {{OIDOID, ObjectIdGetDatum(entry.account->server)}}) > 0) {
    bool null;
    failures = DatumGetInt32(pg::Field(0, 1, &null));
    known = strcmp(pg::FieldText(0, 2, CurrentMemoryContext), cause) == 0;
  }
  constexpr int64 kLongest = 15 * 60 * 1000;
  int64 wait = !retry_later ? 0
                            : BackoffMs(failures + 1, settings::retry_delay, Min(settings::retry_delay_max, kLongest),
                                        pg_prng_uint64(&pg_global_prng_state));
  pg::RunSql(kPause, SPI_OK_INSERT,
             {{OIDOID, ObjectIdGetDatum(entry.account->server)},
              {INT8OID, Int64GetDatum(wait)},
              {TEXTOID, CStringGetTextDatum(cause)},
              {INT8OID, Int64GetDatum(static_cast<int64>(entry.configuration))}});
  if (!known)
    ereport(WARNING,
            (errmsg("imagekit_cleanup stops sending for server \"%s\"", entry.account->name), errdetail("%s", cause),
             errhint("Queued deletions wait. See imagekit.status; sending resumes by itself once this is mended.")));
}

void SettleAccounts(const Sender &sender) {
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->problem != nullptr) {
      Pause(*entry, entry->problem, false);
    } else if (entry->pause_cause != nullptr) {
      Pause(*entry, entry->pause_cause, true);
    } else if (entry->answered &&
               pg::RunSql(kResume, SPI_OK_DELETE, {{OIDOID, ObjectIdGetDatum(entry->account->server)}}) > 0) {
      ereport(LOG, (errmsg("imagekit_cleanup sends for server \"%s\" again", entry->account->name)));
    }
  }
}

}  // namespace

void Record(const Batch &batch, Oid by) {
  Column ids = {INT8OID, nullptr}, urls = {TEXTOID, nullptr}, servers = {NAMEOID, nullptr}, file_ids = {TEXTOID, nullptr};
  Column outcomes = {TEXTOID, nullptr}, details = {TEXTOID, nullptr}, relations = {OIDOID, nullptr};
  Column times = {TIMESTAMPTZOID, nullptr};
  for (int i = 0; i < batch.count; i++) {
    const QueuedFile &file = batch.files[i];
    if (OutcomeOf(file.fate) == nullptr) continue;
    Add(&ids, Int64GetDatum(file.id));
    AddText(&urls, file.url);
    const char *server = file.account == nullptr ? nullptr : file.account->name;
    Add(&servers, server == nullptr ? 0 : DirectFunctionCall1(namein, CStringGetDatum(server)), server == nullptr);
    AddText(&file_ids, file.file_id);
    AddText(&outcomes, OutcomeOf(file.fate));
    AddText(&details, file.detail);
    Add(&relations, ObjectIdGetDatum(file.relation));
    Add(&times, TimestampTzGetDatum(file.captured_at));
  }
  if (urls.values == nullptr) return;
  pg::RunSql(kRecord, SPI_OK_INSERT,
             {AsParam(ids, INT8ARRAYOID), AsParam(urls, TEXTARRAYOID), AsParam(servers, NAMEARRAYOID),
              AsParam(file_ids, TEXTARRAYOID), AsParam(outcomes, TEXTARRAYOID), AsParam(details, TEXTARRAYOID),
              AsParam(relations, OIDARRAYOID), AsParam(times, TIMESTAMPTZARRAYOID), {OIDOID, ObjectIdGetDatum(by)}});
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

void Settle(const Batch &batch, const Sender &sender) {
  Record(batch, InvalidOid);
  Finish(batch);
  PutBack(batch);
  SettleAccounts(sender);
  WriteMissingRuns(sender);
}

}  // namespace imagekit::outbox
