// From the backlog into a drain's hands, and who may have it there.

#include "outbox/backlog.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/steps.h"

namespace imagekit::outbox {

namespace {

using worker::Batch;
using worker::QueuedFile;
using worker::Sender;
using worker::SenderAccount;

// Advisory locks outside the two forms that users' functions can name (their last field is 1 or 2).
LOCKTAG Tag(uint32 number) {
  LOCKTAG tag;
  SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0x696B, number, 100);
  return tag;
}

LOCKTAG DrainLockTag() { return Tag(1); }
LOCKTAG QueueLockTag() { return Tag(2); }

// The first orphaned attempt is repeated at once: its worker was most likely stopped by somebody. After that it may be
// the file itself that kills workers. $1: the longest wait, in milliseconds.
constexpr char kTakeBackOrphans[] =
    "UPDATE imagekit.backlog SET claimed = false, state = 'retrying', in_doubt = true, "
    "due_at = pg_catalog.now() OPERATOR(pg_catalog.+) LEAST('1 millisecond'::pg_catalog.interval "
    "OPERATOR(pg_catalog.*) $1, '1 second'::pg_catalog.interval OPERATOR(pg_catalog.*) "
    "(pg_catalog.power(2, LEAST(attempts, 12) OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog.-) 1)), "
    "last_error = 'the process that was working on it ended before it had an answer' "
    "WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT b.id FROM imagekit.backlog b WHERE b.claimed FOR UPDATE SKIP LOCKED))";

// $1 limit, $2 accounts that can be sent to, $3 all accounts
constexpr char kClaim[] =
    "UPDATE imagekit.backlog SET claimed = true, attempts = attempts OPERATOR(pg_catalog.+) 1 "
    "WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT b.id FROM imagekit.backlog b"
    "  WHERE b.state IN ('waiting', 'retrying') AND NOT b.claimed"
    "  AND b.due_at OPERATOR(pg_catalog.<=) pg_catalog.now()"
    "  AND (b.server OPERATOR(pg_catalog.=) ANY ($2) OR b.server IS NULL"
    "       OR b.server OPERATOR(pg_catalog.<>) ALL ($3))"
    "  ORDER BY b.due_at, b.id LIMIT $1 FOR UPDATE SKIP LOCKED)) "
    "RETURNING id, url, file_id, relation, captured_at, attempts, in_doubt, last_error";

constexpr char kNextDue[] =
    "SELECT LEAST("
    "  (SELECT pg_catalog.now() FROM imagekit.outbox o WHERE o.origin OPERATOR(pg_catalog.<>) 'M' LIMIT 1),"
    "  (SELECT GREATEST(pg_catalog.now(), $4) FROM imagekit.outbox o WHERE o.origin OPERATOR(pg_catalog.=) 'M' LIMIT "
    "1),"
    "  (SELECT b.due_at FROM imagekit.backlog b"
    "   WHERE b.state IN ('waiting', 'retrying') AND NOT b.claimed"
    "   AND (b.server OPERATOR(pg_catalog.=) ANY ($1) OR b.server IS NULL"
    "        OR b.server OPERATOR(pg_catalog.<>) ALL ($2))"
    "   ORDER BY b.due_at, b.id LIMIT 1),"
    "  (SELECT pg_catalog.min(GREATEST(s.paused_until, w.due_at)) FROM imagekit.account_state s"
    "   CROSS JOIN LATERAL (SELECT pg_catalog.min(b.due_at) FROM imagekit.backlog b"
    "                       WHERE b.server OPERATOR(pg_catalog.=) s.server"
    "                       AND b.state IN ('waiting', 'retrying') AND NOT b.claimed) AS w(due_at)"
    "   WHERE s.server OPERATOR(pg_catalog.=) ANY ($3) AND w.due_at IS NOT NULL"
    "   AND s.paused_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()))";

constexpr char kPaused[] =
    "SELECT server FROM imagekit.account_state WHERE paused_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()";

constexpr char kProbing[] =
    "SELECT FROM imagekit.account_state WHERE server OPERATOR(pg_catalog.=) ANY ($1) "
    "AND paused_until OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp() LIMIT 1";

Datum OidArray(List *oids) {
  int count = list_length(oids);
  auto *values = static_cast<Datum *>(palloc(sizeof(Datum) * (count + 1)));
  for (int i = 0; i < count; i++) values[i] = ObjectIdGetDatum(list_nth_oid(oids, i));
  return PointerGetDatum(construct_array(values, count, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

List *PausedServers() {
  uint64 count = pg::RunSql(kPaused, SPI_OK_SELECT);
  List *paused = NIL;
  for (uint64 i = 0; i < count; i++) {
    bool null;
    paused = lappend_oid(paused, DatumGetObjectId(pg::Field(i, 1, &null)));
  }
  return paused;
}

// The accounts, by whether they can be sent to at this moment.
struct Servers {
  List *all;
  List *configured;  // without a problem of configuration
  List *usable;      // and not paused
};

Servers SortServers(const Sender &sender) {
  Servers servers = {};
  List *paused = PausedServers();
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    Oid server = entry->account->server;
    servers.all = lappend_oid(servers.all, server);
    if (entry->problem != nullptr) continue;
    servers.configured = lappend_oid(servers.configured, server);
    if (!list_member_oid(paused, server)) servers.usable = lappend_oid(servers.usable, server);
  }
  return servers;
}

}  // namespace

bool TryDrainLock() {
  LOCKTAG tag = DrainLockTag();
  return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void ReleaseDrainLock() {
  LOCKTAG tag = DrainLockTag();
  (void)LockRelease(&tag, ExclusiveLock, true);
}

void LockQueue() {
  LOCKTAG tag = QueueLockTag();
  (void)LockAcquire(&tag, ExclusiveLock, false, false);
}

void UnlockQueue() {
  LOCKTAG tag = QueueLockTag();
  (void)LockRelease(&tag, ExclusiveLock, false);
}

void TakeBackOrphans() {
  pg::RunSql(kTakeBackOrphans, SPI_OK_UPDATE, {{FLOAT8OID, Float8GetDatum(settings::retry_delay_max)}});
}

void TakeBackOrphansOfNobody() {
  LOCKTAG tag = DrainLockTag();
  if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL) return;
  TakeBackOrphans();
  (void)LockRelease(&tag, ExclusiveLock, false);
}

void Claim(Batch *batch, const Sender &sender, int limit) {
  Servers servers = SortServers(sender);
  uint64 count = pg::RunSql(
      kClaim, SPI_OK_UPDATE_RETURNING,
      {{INT4OID, Int32GetDatum(limit)}, {OIDARRAYOID, OidArray(servers.usable)}, {OIDARRAYOID, OidArray(servers.all)}});
  batch->count = static_cast<int>(count);
  batch->files = static_cast<QueuedFile *>(MemoryContextAllocZero(batch->context, sizeof(QueuedFile) * (count + 1)));
  for (uint64 i = 0; i < count; i++) {
    QueuedFile *file = &batch->files[i];
    bool null;
    file->id = DatumGetInt64(pg::Field(i, 1, &null));
    file->url = pg::FieldText(i, 2, batch->context);
    file->captured_file_id = pg::FieldText(i, 3, batch->context);
    file->relation = DatumGetObjectId(pg::Field(i, 4, &null));
    file->captured_at = DatumGetTimestampTz(pg::Field(i, 5, &null));
    file->attempts = DatumGetInt32(pg::Field(i, 6, &null));
    file->in_doubt = DatumGetBool(pg::Field(i, 7, &null));
    const char *last_error = pg::FieldText(i, 8, CurrentMemoryContext);
    file->waits = last_error != nullptr && strncmp(last_error, worker::kWaits, strlen(worker::kWaits)) == 0;
  }
}

TimestampTz NextDue(const Sender &sender, TimestampTz moves_again_at) {
  Servers servers = SortServers(sender);
  pg::RunSql(kNextDue, SPI_OK_SELECT,
             {{OIDARRAYOID, OidArray(servers.usable)},
              {OIDARRAYOID, OidArray(servers.all)},
              {OIDARRAYOID, OidArray(servers.configured)},
              {TIMESTAMPTZOID, TimestampTzGetDatum(moves_again_at)}});
  bool null;
  Datum due = pg::Field(0, 1, &null);
  return null ? DT_NOEND : DatumGetTimestampTz(due);
}

bool Probing(const Sender &sender) {
  Servers servers = SortServers(sender);
  return pg::RunSql(kProbing, SPI_OK_SELECT, {{OIDARRAYOID, OidArray(servers.configured)}}) > 0;
}

}  // namespace imagekit::outbox
