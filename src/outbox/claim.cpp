// Into a drain's hands: who may have files there, which, and how many.

#include "outbox/backlog.h"
#include "outbox/claims.h"
#include "outbox/first_due.h"
#include "outbox/hold.h"
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

// $1 limit, $2 whether anything is held, $3 account, $4 and $5 its place
#define CLAIM(OF_ACCOUNT)                                                                                            \
  "DELETE FROM imagekit.backlog WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY("                                         \
  "  SELECT b.id FROM imagekit.backlog b"                                                                            \
  "  WHERE b.state IN ('waiting', 'retrying') AND b.due_at OPERATOR(pg_catalog.<=) pg_catalog.now()"                 \
  "  AND (NOT $2 OR b.approved OR NOT EXISTS (SELECT FROM imagekit.removals r WHERE " IMAGEKIT_HELD_REMOVAL_OF(      \
      "b") ")) AND " OF_ACCOUNT                                                                                      \
           "  ORDER BY b.server, b.due_at, b.id LIMIT $1 FOR UPDATE SKIP LOCKED)) "                                  \
           "RETURNING id, url, file_id, server, transaction, relation, role, origin, captured_at, due_at, attempts," \
           "          in_doubt, approved, last_error"

constexpr char kClaim[] =
    CLAIM("b.server OPERATOR(pg_catalog.=) $3 AND ROW(b.due_at, b.id) OPERATOR(pg_catalog.>=) ROW($4, $5)");
constexpr char kClaimOfNone[] = CLAIM("b.server IS NULL");

#undef CLAIM

// While the journal is small, what others have in their hands is looked for as well: nobody says when they let it go. In a
// large one the next look from the beginning finds it. Its size is asked for once, and not for each tuple, as it is volatile.
constexpr char kInJournal[] =
    "SELECT COALESCE(pg_catalog.bool_or(o.origin OPERATOR(pg_catalog.<>) 'M'), false),"
    "       COALESCE(pg_catalog.bool_or(o.origin OPERATOR(pg_catalog.=) 'M'), false) FROM imagekit.outbox o "
    "WHERE (SELECT pg_catalog.pg_relation_size('imagekit.outbox')) OPERATOR(pg_catalog.<) 4194304";

constexpr char kPaused[] = "SELECT server FROM imagekit.pauses";

constexpr char kStopped[] =
    "SELECT server, paused_until FROM imagekit.account_state WHERE paused_until OPERATOR(pg_catalog.>) "
    "pg_catalog.clock_timestamp()";

// Stopped before, and not known to be well again.
constexpr char kProbing[] =
    "SELECT server FROM imagekit.account_state WHERE paused_until OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()";

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
  TimestampTz *until;  // one for each of `stopped`
};

Servers SortServers(const Sender &sender) {
  Servers servers = {};
  servers.until = static_cast<TimestampTz *>(palloc(sizeof(TimestampTz) * (list_length(sender.accounts) + 1)));
  List *paused = ServersIn(kPaused);
  const uint64 stopped = pg::RunSql(kStopped, SPI_OK_SELECT);
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    const Oid server = entry->account->server;
    servers.all = lappend_oid(servers.all, server);
    if (entry->problem != nullptr || list_member_oid(paused, server)) continue;
    bool null;
    uint64 row = 0;
    while (row < stopped && DatumGetObjectId(pg::Field(row, 1, &null)) != server) row++;
    if (row < stopped) {
      servers.until[list_length(servers.stopped)] = DatumGetTimestampTz(pg::Field(row, 2, &null));
      servers.stopped = lappend_oid(servers.stopped, server);
    } else if (entry->pause_cause == nullptr) {
      servers.usable = lappend_oid(servers.usable, server);
    }
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
  bool any_held;
  List *open;       // accounts that may have any number of files claimed, as far as there is room
  int room, slots;  // how many more may be claimed of these, and of all
  // Of what the last statement claimed from the backlog, the last in the order of due_at and id:
  TimestampTz last_due;
  int64 last_id;
};

const QueuedFile *ReadFile(Claiming *claiming, uint64 row) {
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
  return file;
}

template <int kCount>
int ClaimBy(const char *sql, Claiming *claiming, const pg::Param (&params)[kCount]) {
  const uint64 files = pg::RunSql(sql, SPI_OK_DELETE_RETURNING, params, kCount);
  claiming->last_due = DT_NOBEGIN;
  claiming->last_id = 0;
  for (uint64 i = 0; i < files; i++) {
    const QueuedFile *file = ReadFile(claiming, i);
    if (file->due_at < claiming->last_due || (file->due_at == claiming->last_due && file->id < claiming->last_id))
      continue;
    claiming->last_due = file->due_at;
    claiming->last_id = file->id;
  }
  return static_cast<int>(files);
}

int ClaimFrom(TimestampTz due_at, int64 id, Claiming *claiming, Oid server, int limit) {
  return ClaimBy(kClaim, claiming,
                 {{INT4OID, Int32GetDatum(limit)},
                  {BOOLOID, BoolGetDatum(claiming->any_held)},
                  {OIDOID, ObjectIdGetDatum(server)},
                  {TIMESTAMPTZOID, TimestampTzGetDatum(due_at)},
                  {INT8OID, Int64GetDatum(id)}});
}

// Of what is no account's, from the beginning.
int ClaimOfNobody(Claiming *claiming, Oid server, int limit) {
  if (OidIsValid(server)) return ClaimFrom(DT_NOBEGIN, PG_INT64_MIN, claiming, server, limit);
  return ClaimBy(kClaimOfNone, claiming,
                 {{INT4OID, Int32GetDatum(limit)}, {BOOLOID, BoolGetDatum(claiming->any_held)}});
}

// From the account's place.
int ClaimOf(Claiming *claiming, SenderAccount *entry, int limit) {
  const int got = ClaimFrom(entry->place.due_at, entry->place.id, claiming, entry->account->server, limit);
  if (got > 0) MovePlace(entry, claiming->last_due, claiming->last_id);
  return got;
}

// What may be claimed of those that are due first: of each account an equal part of the room, so that one with millions leaves
// some for the others. Those of no account need no room, as they are parked at once, and have a quarter of the slots.
// Returns whether somebody had more than his part.
bool ClaimDue(Claiming *claiming, Sender *sender, Look look) {
  const FirstDues dues = ReadFirstDue(sender, look);
  const auto known = [&](Oid server) { return list_member_oid(claiming->servers.all, server); };
  bool more = false;
  int sharing = 0, of_none = (claiming->slots + 3) / 4;
  for (int i = 0; i < dues.count; i++) sharing += dues.of[i].now && list_member_oid(claiming->open, dues.of[i].server);
  for (int i = 0; i < dues.count; i++) {
    const FirstDue &due = dues.of[i];
    if (!due.now) continue;
    if (list_member_oid(claiming->open, due.server)) {
      SenderAccount *entry = worker::FindAccount(sender, due.server);
      const int part = Max(claiming->room / sharing, 1);
      sharing--;
      const int limit = Min(claiming->slots, Min(part, entry->room));
      const int got = limit <= 0 ? 0 : ClaimOf(claiming, entry, limit);
      more |= got >= limit;
      claiming->room -= got;
      claiming->slots -= got;
    } else if (!known(due.server) && of_none > 0) {
      const int got = ClaimOfNobody(claiming, due.server, of_none);
      more |= got == of_none;
      of_none -= got;
      claiming->slots -= got;
    }
  }
  return more;
}

// Which accounts may have files claimed now, and how many. Those that are being tried again after a stop: one file is enough
// to find out.
void ShareRoom(Claiming *claiming, Sender *sender, List **one_each) {
  claiming->servers = SortServers(*sender);
  List *probing = ServersIn(kProbing);
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
    claiming->room += entry->room;
  }
  claiming->room = Min(claiming->room, claiming->slots);
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
  worker::ClaimsPlace place = {};
  const TakenBack taken = TakeBackOrphans(NIL, &place);
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

Intake Claim(Batch *batch, Sender *sender, int64 limit, worker::JournalPlace *place, bool thorough) {
  Claiming claiming = {batch, MakeClaim(batch), {}, HoldAgain(), NIL, 0, 0, DT_NOBEGIN, 0};
  List *one_each = NIL;
  claiming.slots = static_cast<int>(Min(limit, int64{FreeSlots(*batch)}));
  ShareRoom(&claiming, sender, &one_each);
  Intake intake = {};
  intake.more = ClaimDue(&claiming, sender, thorough ? Look::kThoroughly : Look::kAnew);
  ListCell *cell;
  foreach (cell, one_each)
    if (claiming.slots > 0) claiming.slots -= ClaimOf(&claiming, worker::FindAccount(sender, lfirst_oid(cell)), 1);
  const JournalRoom journal = {claiming.open, claiming.servers.all, claiming.room, claiming.slots, one_each != NIL};
  TakeFromJournal(batch, claiming.claim, journal, place, &intake);
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (list_member_oid(intake.of_due, entry->account->server)) IncludeFrom(entry, intake.due_from);
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

TimestampTz NextDue(const Batch &batch, Sender *sender, const worker::JournalPlace &place, worker::Ticks moves_at) {
  Servers servers = SortServers(*sender);
  // Those that have all they may are asked for when there is room again.
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->starved || (entry->tried && InHand(batch, entry) > 0))
      servers.usable = list_delete_oid(servers.usable, entry->account->server);
  }
  const FirstDues dues = ReadFirstDue(sender, Look::kFurther);
  TimestampTz due = DT_NOEND;
  for (int i = 0; i < dues.count; i++)
    if (list_member_oid(servers.usable, dues.of[i].server) || !list_member_oid(servers.all, dues.of[i].server))
      due = Min(due, dues.of[i].at);
  // What is stopped is due when that is over; what was left in the journal may be anybody's.
  for (int k = 0; k < list_length(servers.stopped); k++) {
    if (place.left) due = Min(due, servers.until[k]);
    for (int i = 0; i < dues.count; i++)
      if (dues.of[i].server == list_nth_oid(servers.stopped, k)) due = Min(due, Max(servers.until[k], dues.of[i].at));
  }
  if (place.again_at != 0) due = Min(due, worker::TimeAt(place.again_at));
  bool null;
  pg::RunSql(kInJournal, SPI_OK_SELECT);
  if (DatumGetBool(pg::Field(0, 2, &null))) due = Min(due, worker::TimeAt(moves_at));
  if (DatumGetBool(pg::Field(0, 1, &null)) && !place.left && place.again_at == 0) due = Min(due, GetCurrentTimestamp());
  return due;
}

}  // namespace imagekit::outbox
