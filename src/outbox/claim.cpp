// Into a drain's hands: who may have files there, which, and how many.

#include "outbox/backlog.h"
#include "outbox/claims.h"
#include "outbox/take_in.h"
#include "pg/sql.h"

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

// $1 limit, $2 accounts that may have files claimed, $3 all accounts, $4 whether those of no account are wanted
constexpr char kClaim[] =
    "DELETE FROM imagekit.backlog WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT b.id FROM imagekit.backlog b"
    "  WHERE b.state IN ('waiting', 'retrying') AND b.due_at OPERATOR(pg_catalog.<=) pg_catalog.now()"
    "  AND (b.server OPERATOR(pg_catalog.=) ANY ($2) OR $4 AND (b.server IS NULL"
    "       OR b.server OPERATOR(pg_catalog.<>) ALL ($3)))"
    "  ORDER BY b.due_at, b.id LIMIT $1 FOR UPDATE SKIP LOCKED)) "
    "RETURNING id, url, file_id, server, transaction, relation, role, origin, captured_at, due_at, attempts, in_doubt,"
    "          approved, last_error";

// $1 accounts that can be sent to, $2 all accounts, $3 those that are stopped, $4 whether something was left in the journal
constexpr char kNextDue[] =
    "SELECT LEAST("
    "  (SELECT b.due_at FROM imagekit.backlog b"
    "   WHERE b.state IN ('waiting', 'retrying')"
    "   AND (b.server OPERATOR(pg_catalog.=) ANY ($1) OR b.server IS NULL"
    "        OR b.server OPERATOR(pg_catalog.<>) ALL ($2))"
    "   ORDER BY b.due_at, b.id LIMIT 1),"
    "  (SELECT pg_catalog.min(CASE WHEN $4 THEN s.paused_until ELSE GREATEST(s.paused_until, w.due_at) END)"
    "   FROM imagekit.account_state s"
    "   CROSS JOIN LATERAL (SELECT pg_catalog.min(b.due_at) FROM imagekit.backlog b"
    "                       WHERE b.server OPERATOR(pg_catalog.=) s.server"
    "                       AND b.state IN ('waiting', 'retrying')) AS w(due_at)"
    "   WHERE s.server OPERATOR(pg_catalog.=) ANY ($3) AND (w.due_at IS NOT NULL OR $4)))";

// While the journal is small, what others have in their hands is looked for as well: nobody says when they let it go. In a
// large one the next look from the beginning finds it.
constexpr char kInJournal[] =
    "SELECT COALESCE(pg_catalog.bool_or(o.origin OPERATOR(pg_catalog.<>) 'M'), false),"
    "       COALESCE(pg_catalog.bool_or(o.origin OPERATOR(pg_catalog.=) 'M'), false) FROM imagekit.outbox o "
    "WHERE pg_catalog.pg_relation_size('imagekit.outbox') OPERATOR(pg_catalog.<) 4194304";

constexpr char kPaused[] = "SELECT server FROM imagekit.pauses";

constexpr char kStopped[] =
    "SELECT server FROM imagekit.account_state WHERE paused_until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()";

// Stopped before, and not known to be well again.
constexpr char kProbing[] =
    "SELECT server FROM imagekit.account_state WHERE paused_until OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()";

Datum OidArray(List *oids) {
  int count = list_length(oids);
  auto *values = static_cast<Datum *>(palloc(sizeof(Datum) * (count + 1)));
  for (int i = 0; i < count; i++) values[i] = ObjectIdGetDatum(list_nth_oid(oids, i));
  return PointerGetDatum(construct_array(values, count, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

List *ServersIn(const char *sql) {
  uint64 count = pg::RunSql(sql, SPI_OK_SELECT);
  List *servers = NIL;
  for (uint64 i = 0; i < count; i++) {
    bool null;
    servers = lappend_oid(servers, DatumGetObjectId(pg::Field(i, 1, &null)));
  }
  return servers;
}

// The accounts, by whether they can be sent to at this moment. None is in both of the latter two, nor in neither because its
// stop ended between two looks at the clock: nobody would come back for it.
struct Servers {
  List *all;
  // Without a problem of configuration, and not paused by an operator:
  List *usable;
  List *stopped;
};

Servers SortServers(const Sender &sender) {
  Servers servers = {};
  List *stopped = ServersIn(kStopped);
  List *paused = ServersIn(kPaused);
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    Oid server = entry->account->server;
    servers.all = lappend_oid(servers.all, server);
    if (entry->problem != nullptr || list_member_oid(paused, server)) continue;
    if (list_member_oid(stopped, server))
      servers.stopped = lappend_oid(servers.stopped, server);
    else if (entry->pause_cause == nullptr)
      servers.usable = lappend_oid(servers.usable, server);
  }
  return servers;
}

// Those that are decided only wait to be settled, with others of their claim that may be waiting for what is claimed next.
int RoomOf(const Batch &batch, const SenderAccount *entry) {
  int open = 0;
  for (int i = 0; i < batch.count; i++)
    open += worker::Open(batch.files[i]) && batch.files[i].account == entry->account;
  return MostInHand(*entry->account) - open;
}

struct Claiming {
  Batch *batch;
  worker::Claim *claim;
  Servers servers;
  List *open;  // accounts that may have any number of files claimed, as far as there is room
};

void ReadFile(Claiming *claiming, uint64 row) {
  bool null;
  MemoryContext memory = claiming->claim->context;
  QueuedFile *file = AddFile(claiming->batch, claiming->claim);
  if (file == nullptr) elog(ERROR, "more files were claimed than there is room for");
  file->id = DatumGetInt64(pg::Field(row, 1, &null));
  file->url = pg::FieldText(row, 2, memory);
  file->captured_file_id = pg::FieldText(row, 3, memory);
  file->server = DatumGetObjectId(pg::Field(row, 4, &null));
  file->transaction = DatumGetFullTransactionId(pg::Field(row, 5, &null));
  file->relation = DatumGetObjectId(pg::Field(row, 6, &null));
  file->role = DatumGetObjectId(pg::Field(row, 7, &null));
  file->origin = DatumGetChar(pg::Field(row, 8, &null));
  file->captured_at = DatumGetTimestampTz(pg::Field(row, 9, &null));
  file->due_at = DatumGetTimestampTz(pg::Field(row, 10, &null));
  file->attempts = DatumGetInt32(pg::Field(row, 11, &null)) + 1;
  file->in_doubt = DatumGetBool(pg::Field(row, 12, &null));
  file->approved = DatumGetBool(pg::Field(row, 13, &null));
  file->last_error = pg::FieldText(row, 14, memory);
}

int ClaimFromBacklog(Claiming *claiming, List *servers, int limit, bool of_none) {
  if (limit <= 0 || (servers == NIL && !of_none)) return 0;
  uint64 count = pg::RunSql(kClaim, SPI_OK_DELETE_RETURNING,
                            {{INT4OID, Int32GetDatum(limit)},
                             {OIDARRAYOID, OidArray(servers)},
                             {OIDARRAYOID, OidArray(claiming->servers.all)},
                             {BOOLOID, BoolGetDatum(of_none)}});
  for (uint64 i = 0; i < count; i++) ReadFile(claiming, i);
  return static_cast<int>(count);
}

// Which accounts may have files claimed now, and how many. Those that are being tried again after a stop: one file is enough
// to find out.
int ShareRoom(Claiming *claiming, Sender *sender, List **one_each) {
  claiming->servers = SortServers(*sender);
  List *probing = ServersIn(kProbing);
  int room = 0;
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    Oid server = entry->account->server;
    entry->room = 0;
    entry->starved = entry->tried = false;
    if (!list_member_oid(claiming->servers.usable, server)) continue;
    if (list_member_oid(probing, server)) {
      entry->tried = true;
      // Stopped before, whatever for: it is not to fail ten times again before that is seen.
      if (InHand(*claiming->batch, entry) > 0) continue;
      entry->read_failures = entry->write_failures = worker::kMostFailures - 1;
      *one_each = lappend_oid(*one_each, server);
      continue;
    }
    entry->room = Max(RoomOf(*claiming->batch, entry), 0);
    entry->starved = entry->room == 0;
    if (entry->starved) continue;
    claiming->open = lappend_oid(claiming->open, server);
    room += entry->room;
  }
  return room;
}

// On the wall's clock; not before now.
TimestampTz At(worker::Ticks ticks) {
  return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), Max(ticks - worker::NowTicks(), worker::Ticks{0}));
}

}  // namespace

int MostInHand(const account::Account &account) {
  constexpr int kSeconds = 5;
  constexpr double kMost = 1000;
  const double soon = account.write_rate * account.bulk_size * kSeconds;
  return account.dry_run ? static_cast<int>(kMost) : static_cast<int>(Min(kMost, Max(soon, 2.0 * account.bulk_size)));
}

bool TryDrainLock() {
  LOCKTAG tag = DrainLockTag();
  return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void ReleaseDrainLock() {
  LOCKTAG tag = DrainLockTag();
  (void)LockRelease(&tag, ExclusiveLock, true);
}

void WaitForDrainLock() {
  LOCKTAG tag = DrainLockTag();
  (void)LockAcquire(&tag, ExclusiveLock, true, false);
  (void)LockRelease(&tag, ExclusiveLock, true);
}

bool DrainIsWanted() {
  LOCKTAG tag = DrainLockTag();
  return LockHasWaiters(&tag, ExclusiveLock, true);
}

TakenBack TakeBackOrphansOfNobody() {
  LOCKTAG tag = DrainLockTag();
  if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL) return {};
  const TakenBack taken = TakeBackOrphans(NIL);
  (void)LockRelease(&tag, ExclusiveLock, false);
  return taken;
}

void LockQueue() {
  LOCKTAG tag = QueueLockTag();
  (void)LockAcquire(&tag, ExclusiveLock, false, false);
}

void UnlockQueue() {
  LOCKTAG tag = QueueLockTag();
  (void)LockRelease(&tag, ExclusiveLock, false);
}

int InHand(const Batch &batch, const SenderAccount *entry) {
  int files = 0;
  for (int i = 0; i < batch.count; i++)
    files += batch.files[i].stage != worker::Stage::kFree && batch.files[i].account == entry->account;
  return files;
}

bool HasRoom(const Batch &batch, const Sender &sender, bool starved) {
  constexpr int kWorthwhile = 200;
  if (FreeSlots(batch) < kWorthwhile) return false;
  bool any = false;
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->problem != nullptr || entry->pause_cause != nullptr) continue;
    any = true;
    if ((entry->starved || !starved) && RoomOf(batch, entry) >= MostInHand(*entry->account) / 4) return true;
  }
  return !any && !starved;
}

Intake Claim(Batch *batch, Sender *sender, int64 limit, worker::JournalPlace *place) {
  Claiming claiming = {batch, MakeClaim(batch), {}, NIL};
  List *one_each = NIL;
  const int64 slots = Min(limit, int64{FreeSlots(*batch)});
  int room = static_cast<int>(Min(int64{ShareRoom(&claiming, sender, &one_each)}, slots));
  // Those of no account need no room: they are parked at once.
  const int wanted = Max(room, static_cast<int>(Min(slots, int64{1})));
  int claimed = ClaimFromBacklog(&claiming, claiming.open, wanted, true);
  Intake intake = {};
  intake.more = claimed > 0 && claimed == wanted;
  ListCell *cell;
  foreach (cell, one_each)
    if (claimed < slots) claimed += ClaimFromBacklog(&claiming, list_make1_oid(lfirst_oid(cell)), 1, false);
  const JournalRoom journal = {claiming.open, claiming.servers.all, room - claimed, static_cast<int>(slots) - claimed,
                               one_each != NIL};
  TakeFromJournal(batch, claiming.claim, journal, place, &intake);
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    entry->starved |= intake.more && entry->room > 0;
    if (entry->answered_at == 0) entry->answered_at = worker::NowTicks();
  }
  if (claiming.claim->files > 0) {
    WriteClaim(*batch, claiming.claim);
    intake.claim = claiming.claim;
  } else {
    MemoryContextDelete(claiming.claim->context);
  }
  return intake;
}

TimestampTz NextDue(const Batch &batch, const Sender &sender, const worker::JournalPlace &place,
                    worker::Ticks moves_at) {
  Servers servers = SortServers(sender);
  // Those that have all they may are asked for when there is room again.
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->starved || (entry->tried && InHand(batch, entry) > 0))
      servers.usable = list_delete_oid(servers.usable, entry->account->server);
  }
  pg::RunSql(kNextDue, SPI_OK_SELECT,
             {{OIDARRAYOID, OidArray(servers.usable)},
              {OIDARRAYOID, OidArray(servers.all)},
              {OIDARRAYOID, OidArray(servers.stopped)},
              {BOOLOID, BoolGetDatum(place.left)}});
  bool null;
  Datum datum = pg::Field(0, 1, &null);
  TimestampTz due = null ? DT_NOEND : DatumGetTimestampTz(datum);
  if (place.again_at != 0) due = Min(due, At(place.again_at));
  pg::RunSql(kInJournal, SPI_OK_SELECT);
  if (DatumGetBool(pg::Field(0, 2, &null))) due = Min(due, At(moves_at));
  if (DatumGetBool(pg::Field(0, 1, &null)) && !place.left) due = Min(due, GetCurrentTimestamp());
  return due;
}

}  // namespace imagekit::outbox
