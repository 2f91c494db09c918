// max_deletes_per_hour: counted in the history, so that neither a restart nor another session begins anew.
//
// A delete whose answer was lost may have been done: until a look-up tells, what is not in doubt itself makes way for it. Then
// its file is not there, and counts in the history, or it is, and is deleted like any other.

#include "outbox/backlog.h"
#include "pg/sql.h"
#include "worker/steps.h"

namespace imagekit::outbox {

namespace {

using worker::Sender;
using worker::SenderAccount;

// The latest deletions of the past hour, at most as many as are allowed, and the earliest of these; the clock is read once, so that the
// index can be used. $3: kGoneByUs
constexpr char kDeleted[] =
    "SELECT pg_catalog.count(*), pg_catalog.min(h.settled_at) FROM ("
    "  SELECT settled_at FROM imagekit.history WHERE (outcome OPERATOR(pg_catalog.=) 'deleted'"
    "    OR outcome OPERATOR(pg_catalog.=) 'not_found' AND detail OPERATOR(pg_catalog.=) $3)"
    "  AND server OPERATOR(pg_catalog.=) $1"
    "  AND settled_at OPERATOR(pg_catalog.>) (SELECT pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) "
    "'1 hour'::pg_catalog.interval)"
    "  ORDER BY settled_at DESC LIMIT $2) h";

constexpr char kInDoubt[] =
    "SELECT pg_catalog.count(*) FROM imagekit.backlog WHERE server OPERATOR(pg_catalog.=) $1 AND in_doubt"
    " AND state IN ('waiting', 'retrying')";

// No failure: the account is well, and is not to be tried with one file when it goes on. What ImageKit has against it
// stands first.
constexpr char kWait[] =
    "INSERT INTO imagekit.account_state AS s (server, paused_until, failures, cause) "
    "VALUES ($1, $2 OPERATOR(pg_catalog.+) '1 hour'::pg_catalog.interval, 0, $3) "
    "ON CONFLICT (server) DO UPDATE SET paused_until = excluded.paused_until, cause = excluded.cause "
    "WHERE s.failures OPERATOR(pg_catalog.=) 0"
    " AND ROW(s.paused_until, s.cause) IS DISTINCT FROM ROW(excluded.paused_until, excluded.cause)";

constexpr char kGoOn[] =
    "DELETE FROM imagekit.account_state "
    "WHERE server OPERATOR(pg_catalog.=) $1 AND failures OPERATOR(pg_catalog.=) 0";

constexpr char kWaiting[] =
    "SELECT FROM imagekit.account_state "
    "WHERE server OPERATOR(pg_catalog.=) $1 AND failures OPERATOR(pg_catalog.=) 0";

pg::Param ServerParam(const SenderAccount &entry) { return {OIDOID, ObjectIdGetDatum(entry.account->server)}; }

// What was deleted, or may be just now, and stands in no history yet.
int64 UnderWay(const worker::Batch &batch, const SenderAccount *entry) {
  int64 files = 0;
  for (int i = 0; i < batch.count; i++) {
    const worker::QueuedFile &file = batch.files[i];
    if (file.account != entry->account || file.stage == worker::Stage::kFree) continue;
    files += file.fate == worker::Fate::kDeleted || worker::IsAt(file, worker::Stage::kSent) ||
             (file.fate == worker::Fate::kNotFound && file.in_doubt);
  }
  return files;
}

// What may have been deleted before, in the queue or in hand, and has not been found since.
int64 InDoubt(const worker::Batch &batch, const SenderAccount *entry) {
  using worker::Fate;
  using worker::Stage;
  pg::RunSql(kInDoubt, SPI_OK_SELECT, {ServerParam(*entry)});
  bool null;
  int64 files = DatumGetInt64(pg::Field(0, 1, &null));
  for (int i = 0; i < batch.count; i++) {
    const worker::QueuedFile &file = batch.files[i];
    if (!file.in_doubt || file.account != entry->account || file.stage == Stage::kFree) continue;
    const bool there = file.stage == Stage::kFound || file.stage == Stage::kProving || file.stage == Stage::kSent;
    files += file.fate == Fate::kOpen ? !there : worker::OutcomeOf(file.fate) == nullptr;
  }
  return files;
}

void Limit(SenderAccount *entry, const worker::Batch &batch) {
  int64 most = entry->account->max_deletes_per_hour;
  entry->deletes_in_doubt = 0;
  entry->limited = most > 0 && !entry->account->dry_run;
  if (!entry->limited) {
    pg::RunSql(kGoOn, SPI_OK_DELETE, {ServerParam(*entry)});
    return;
  }
  Datum name = DirectFunctionCall1(namein, CStringGetDatum(entry->account->name));
  pg::RunSql(kDeleted, SPI_OK_SELECT,
             {{NAMEOID, name}, {INT8OID, Int64GetDatum(most)}, {TEXTOID, CStringGetTextDatum(worker::kGoneByUs)}});
  bool null;
  entry->deletes_left = most - DatumGetInt64(pg::Field(0, 1, &null)) - UnderWay(batch, entry);
  Datum earliest = pg::Field(0, 2, &null);
  if (entry->deletes_left > 0) {
    pg::RunSql(kGoOn, SPI_OK_DELETE, {ServerParam(*entry)});
    entry->deletes_in_doubt = InDoubt(batch, entry);
    return;
  }
  bool known = pg::RunSql(kWaiting, SPI_OK_SELECT, {ServerParam(*entry)}) > 0;
  char *cause = psprintf("max_deletes_per_hour (%lld) is reached", static_cast<long long>(most));
  pg::RunSql(kWait, SPI_OK_INSERT,
             {ServerParam(*entry), {TIMESTAMPTZOID, earliest}, {TEXTOID, CStringGetTextDatum(cause)}});
  if (!known)
    ereport(LOG, (errmsg("imagekit_cleanup waits with the deletions of server \"%s\"", entry->account->name),
                  errdetail("%s.", cause)));
}

}  // namespace

void LimitDeletes(Sender *sender, const worker::Batch &batch) {
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->problem == nullptr) Limit(entry, batch);
  }
}

}  // namespace imagekit::outbox
