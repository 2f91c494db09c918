// Out of the journal. A tuple is taken whole: held, claimed, or into the backlog.
//
// The journal has no index, as every commit would pay for it, so it is read as it lies, from where the last look ended: behind
// that, an old snapshot may keep any number of dead tuples that would be read again and again. New ones come behind them, or
// into room that VACUUM has freed; for those, the journal is read from the beginning now and then.

#include "outbox/take_in.h"

#include "account/account.h"
#include "outbox/claims.h"
#include "outbox/hold.h"
#include "outbox/pack.h"
#include "pg/bridge.h"
#include "pg/sql.h"
#include "worker/shared_state.h"

namespace imagekit::outbox {

namespace {

using worker::Batch;
using worker::QueuedFile;

constexpr char kLook[] =
    "SELECT o.ctid, o.captured_at, o.written_at, o.written_at OPERATOR(pg_catalog.+) o.grace, o.transaction, "
    "o.relation,"
    "       o.role, o.origin, o.files, o.total, o.pack "
    "FROM imagekit.outbox o WHERE o.origin OPERATOR(pg_catalog.<>) 'M' AND o.ctid OPERATOR(pg_catalog.>) $2 "
    "LIMIT $1 FOR UPDATE SKIP LOCKED";

// What was written before this is due, of each account.
constexpr char kDueBefore[] =
    "SELECT s.oid, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) imagekit.grace_of(s.oid) "
    "FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w "
    "ON w.oid OPERATOR(pg_catalog.=) s.srvfdw WHERE w.fdwname OPERATOR(pg_catalog.=) 'imagekit'";

constexpr char kTake[] = "DELETE FROM imagekit.outbox WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)";

// $1 tuples, $2 for each the reason why its files are held, or NULL
constexpr char kToBacklog[] =
    "WITH taken AS ("
    "  DELETE FROM imagekit.outbox WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)"
    "  RETURNING ctid, captured_at, written_at, grace, transaction, relation, role, origin, pack) "
    "INSERT INTO imagekit.backlog (url, file_id, server, transaction, relation, role, origin, captured_at, due_at,"
    "                              state, last_error) "
    "SELECT u.url, u.file_id, a.server, t.transaction, t.relation, t.role, t.origin, t.captured_at,"
    "       t.written_at OPERATOR(pg_catalog.+) COALESCE(t.grace, imagekit.grace_of(a.server)),"
    "       CASE WHEN h.cause IS NULL THEN 'waiting' ELSE 'held' END, h.cause "
    "FROM taken t "
    "JOIN ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS h(tuple, cause) "
    "ON h.tuple OPERATOR(pg_catalog.=) t.ctid "
    "CROSS JOIN LATERAL imagekit.unpack(t.pack) u "
    "CROSS JOIN LATERAL imagekit.account_of(u.url) AS a(server)";

struct Url {
  char *url;
  char *file_id;  // NULL: none
  Oid server;     // InvalidOid: of no account
};

struct Tuple {
  ItemPointerData place;
  TimestampTz captured_at, written_at;
  TimestampTz due_at;  // by the table's own grace; DT_NOBEGIN when it has none
  FullTransactionId transaction;
  Oid relation, role;
  char origin;
  int files;
  int64 total;
  Datum pack;
  Url *urls;  // `files` of them once they are read
  List *servers;
  bool direct;
};

Tuple ReadTuple(uint64 row) {
  bool null;
  Tuple tuple = {};
  tuple.place = *reinterpret_cast<ItemPointer>(DatumGetPointer(pg::Field(row, 1, &null)));
  tuple.captured_at = DatumGetTimestampTz(pg::Field(row, 2, &null));
  tuple.written_at = DatumGetTimestampTz(pg::Field(row, 3, &null));
  Datum due_at = pg::Field(row, 4, &null);
  tuple.due_at = null ? DT_NOBEGIN : DatumGetTimestampTz(due_at);
  tuple.transaction = DatumGetFullTransactionId(pg::Field(row, 5, &null));
  tuple.relation = DatumGetObjectId(pg::Field(row, 6, &null));
  tuple.role = DatumGetObjectId(pg::Field(row, 7, &null));
  tuple.origin = DatumGetChar(pg::Field(row, 8, &null));
  tuple.files = DatumGetInt32(pg::Field(row, 9, &null));
  Datum total = pg::Field(row, 10, &null);
  tuple.total = null ? kUncounted : DatumGetInt32(total);
  tuple.pack = pg::Field(row, 11, &null);
  return tuple;
}

char *Join(std::string_view a, std::string_view b) {
  auto *text = static_cast<char *>(palloc(a.size() + b.size() + 1));
  memcpy(text, a.data(), a.size());
  memcpy(text + a.size(), b.data(), b.size());
  text[a.size() + b.size()] = '\0';
  return text;
}

// False for a damaged tuple, which stays where it is: nobody knows what it means, and the others must not wait for it.
bool ReadUrls(Tuple *tuple) {
  bytea *pack = DatumGetByteaPP(tuple->pack);
  tuple->urls = static_cast<Url *>(palloc_extended(sizeof(Url) * (tuple->files + 1), MCXT_ALLOC_HUGE));
  PackReader reader({VARDATA_ANY(pack), static_cast<size_t>(VARSIZE_ANY_EXHDR(pack))});
  std::string_view prefix, suffix, file_id;
  int count = 0;
  while (count <= tuple->files && reader.Next(&prefix, &suffix, &file_id)) {
    if (count == tuple->files) return false;
    Url *url = &tuple->urls[count++];
    url->url = Join(prefix, suffix);
    url->file_id = file_id.empty() ? nullptr : Join(file_id, {});
  }
  if (reader.damaged() || count != tuple->files) return false;
  const EndpointMap *endpoints = account::Endpoints();
  for (int i = 0; i < count; i++) {
    tuple->urls[i].server = pg::CallCxx([&] { return account::ServerOf(*endpoints, tuple->urls[i].url); });
    if (OidIsValid(tuple->urls[i].server))
      tuple->servers = list_append_unique_oid(tuple->servers, tuple->urls[i].server);
  }
  return true;
}

struct Look {
  Tuple *tuples;
  int count;
  bool end;  // nothing lies behind them
};

Look LookInto(int tuples, ItemPointer after) {
  uint64 rows = pg::RunSql(kLook, SPI_OK_SELECT, {{INT4OID, Int32GetDatum(tuples)}, {TIDOID, PointerGetDatum(after)}});
  Look look = {};
  look.end = rows < static_cast<uint64>(tuples);
  look.tuples = static_cast<Tuple *>(palloc(sizeof(Tuple) * (rows + 1)));
  for (uint64 i = 0; i < rows; i++) look.tuples[look.count++] = ReadTuple(i);
  return look;
}

void JudgeAll(Tuple *tuples, int count, Removal *removals, List **trips) {
  for (int i = 0; i < count; i++)
    removals[i] = {tuples[i].relation,
                   U64FromFullTransactionId(tuples[i].transaction),
                   tuples[i].files,
                   tuples[i].total,
                   tuples[i].written_at,
                   tuples[i].servers,
                   nullptr};
  Judge(removals, count, trips);
}

void MoveToBacklog(const Tuple *tuples, const Removal *removals, int count) {
  pg::Column places = {TIDOID, nullptr}, causes = {TEXTOID, nullptr};
  for (int i = 0; i < count; i++) {
    if (tuples[i].direct) continue;
    pg::Add(&places, PointerGetDatum(&tuples[i].place));
    pg::AddText(&causes, removals[i].cause);
  }
  if (places.values != nullptr)
    pg::RunSql(kToBacklog, SPI_OK_INSERT, {pg::AsParam(places, TIDARRAYOID), pg::AsParam(causes, TEXTARRAYOID)});
}

struct DueBefore {
  Oid server;
  TimestampTz written_at;
};

List *ReadDueBefore() {
  List *list = NIL;
  uint64 count = pg::RunSql(kDueBefore, SPI_OK_SELECT);
  for (uint64 i = 0; i < count; i++) {
    bool null;
    auto *due = static_cast<DueBefore *>(palloc(sizeof(DueBefore)));
    due->server = DatumGetObjectId(pg::Field(i, 1, &null));
    due->written_at = DatumGetTimestampTz(pg::Field(i, 2, &null));
    list = lappend(list, due);
  }
  return list;
}

// By the clock, not by the transaction's start: what was committed a moment ago is due as well.
bool IsDueByTable(const Tuple &tuple) { return tuple.due_at <= GetCurrentTimestamp(); }

bool IsDueOf(const Tuple &tuple, const DueBefore &account) {
  return tuple.due_at != DT_NOBEGIN ? IsDueByTable(tuple) : tuple.written_at <= account.written_at;
}

bool IsDue(const Tuple &tuple, List *due_before) {
  if (tuple.due_at != DT_NOBEGIN) return IsDueByTable(tuple);
  ListCell *cell;
  foreach (cell, due_before) {
    auto *due = static_cast<DueBefore *>(lfirst(cell));
    if (list_member_oid(tuple.servers, due->server) && !IsDueOf(tuple, *due)) return false;
  }
  return true;
}

// Of what goes into the backlog: there it may lie before an account's place.
void NoteDue(const Tuple &tuple, List *due_before, Intake *intake) {
  ListCell *cell;
  foreach (cell, due_before) {
    auto *due = static_cast<DueBefore *>(lfirst(cell));
    if (!list_member_oid(tuple.servers, due->server) || !IsDueOf(tuple, *due)) continue;
    intake->due_from = intake->of_due == NIL ? tuple.written_at : Min(intake->due_from, tuple.written_at);
    intake->of_due = list_append_unique_oid(intake->of_due, due->server);
  }
}

bool MayBeClaimed(const Tuple &tuple, const Removal &removal, const JournalRoom &room, List *due_before) {
  if (removal.cause != nullptr || !IsDue(tuple, due_before)) return false;
  ListCell *cell;
  foreach (cell, tuple.servers)
    if (list_member_oid(room.all, lfirst_oid(cell)) && !list_member_oid(room.open, lfirst_oid(cell))) return false;
  return true;
}

void ClaimTuple(Batch *batch, worker::Claim *claim, const Tuple &tuple) {
  for (int i = 0; i < tuple.files; i++) {
    QueuedFile *file = AddFile(batch, claim);
    if (file == nullptr) elog(ERROR, "more files were claimed than there is room for");
    file->url = MemoryContextStrdup(claim->context, tuple.urls[i].url);
    if (tuple.urls[i].file_id != nullptr)
      file->captured_file_id = MemoryContextStrdup(claim->context, tuple.urls[i].file_id);
    file->server = tuple.urls[i].server;
    file->transaction = tuple.transaction;
    file->relation = tuple.relation;
    file->role = tuple.role;
    file->origin = tuple.origin;
    file->captured_at = tuple.captured_at;
    file->due_at = tuple.written_at;
    file->attempts = 1;
  }
}

// As many of the tuples as there is room for; the first goes into the backlog rather than being in the way. Those that are
// damaged are left out.
int Choose(Look *look, const JournalRoom &room, ItemPointer passed) {
  int chosen = 0, files = 0;
  for (int i = 0; i < look->count; i++) {
    Tuple *tuple = &look->tuples[i];
    if (chosen > 0 && (files >= room.files || files + tuple->files > room.most)) {
      look->end = false;
      break;
    }
    *passed = tuple->place;
    if (!ReadUrls(tuple)) {
      SayDamaged(tuple->place);
      continue;
    }
    files += tuple->files;
    look->tuples[chosen++] = *tuple;
  }
  return chosen;
}

// Where the next look begins.
void MovePlace(worker::JournalPlace *place, const Look &look, const ItemPointerData &passed, bool from_beginning) {
  constexpr worker::Ticks kSoonest = 1000;  // ms
  place->after = passed;
  if (!look.end) return;
  if (from_beginning) {
    place->again_at = 0;
  } else if (place->again_at == 0) {
    place->again_at = worker::NowTicks() + Max(kSoonest, worker::RestAfterLook(place->took));
  }
}

}  // namespace

void SayDamaged(const ItemPointerData &place) {
  static bool said = false;
  if (said) return;
  said = true;
  char *ctid = DatumGetCString(DirectFunctionCall1(tidout, PointerGetDatum(&place)));
  ereport(WARNING,
          (errcode(ERRCODE_DATA_CORRUPTED), errmsg("a tuple of imagekit.outbox is damaged, and is passed by"),
           errdetail("It holds what no version of imagekit_cleanup known to this library has written."),
           errhint("Its images stay at ImageKit. Look at it with SELECT * FROM imagekit.outbox WHERE ctid = '%s', "
                   "and delete it there.",
                   ctid)));
}

uint64 TakeIn(int tuples) {
  ItemPointerData beginning = {};
  Look look = LookInto(tuples, &beginning);
  if (look.count == 0) return 0;
  ItemPointerData passed;
  const int count = Choose(&look, {NIL, NIL, PG_INT32_MAX, PG_INT32_MAX, false}, &passed);
  auto *removals = static_cast<Removal *>(palloc(sizeof(Removal) * (count + 1)));
  List *trips = NIL;
  JudgeAll(look.tuples, count, removals, &trips);
  MoveToBacklog(look.tuples, removals, count);
  HoldWaiting(trips);
  return static_cast<uint64>(count);
}

void TakeFromJournal(Batch *batch, worker::Claim *claim, const JournalRoom &room, worker::JournalPlace *place,
                     Intake *intake) {
  constexpr int kMostTuples = 20;
  constexpr int kUsualFiles = 100;
  place->left = room.files <= 0 && !room.one;
  if (place->left) return;
  const int tuples = Min(Max(room.files, 0) / kUsualFiles + 1, kMostTuples);
  if (place->again_at != 0 && place->again_at <= worker::NowTicks()) {
    place->after = {};
    place->again_at = 0;
  }
  Look look = {};
  bool from_beginning;
  for (;;) {
    from_beginning = !OffsetNumberIsValid(place->after.ip_posid);
    const worker::Ticks begun = worker::NowTicks();
    look = LookInto(tuples, &place->after);
    if (from_beginning) {
      place->began_at = begun;
      place->took = worker::NowTicks() - begun;
    }
    if (look.count > 0 || from_beginning) break;
    // It may have come into room that was freed. What has gone is read again, all of it while an old transaction may see it.
    const worker::Ticks again_at = place->began_at + worker::RestAfterLook(place->took);
    if (worker::NowTicks() < again_at) {
      place->again_at = again_at;
      return;
    }
    place->after = {};
  }
  if (look.count == 0) {
    place->again_at = 0;
    PruneRemovals();
    return;
  }
  ItemPointerData passed = place->after;
  const int count = Choose(&look, room, &passed);
  auto *removals = static_cast<Removal *>(palloc(sizeof(Removal) * (count + 1)));
  List *trips = NIL;
  JudgeAll(look.tuples, count, removals, &trips);
  List *due_before = ReadDueBefore();
  pg::Column claimed = {TIDOID, nullptr};
  int left = room.most;
  for (int i = 0; i < count; i++) {
    Tuple *tuple = &look.tuples[i];
    tuple->direct = room.files > 0 && tuple->files <= left && MayBeClaimed(*tuple, removals[i], room, due_before);
    if (!tuple->direct) {
      intake->taken_in++;
      NoteDue(*tuple, due_before, intake);
      continue;
    }
    left -= tuple->files;
    ClaimTuple(batch, claim, *tuple);
    pg::Add(&claimed, PointerGetDatum(&tuple->place));
  }
  if (claimed.values != nullptr) pg::RunSql(kTake, SPI_OK_DELETE, {pg::AsParam(claimed, TIDARRAYOID)});
  MoveToBacklog(look.tuples, removals, count);
  HoldWaiting(trips);
  intake->more |= !look.end || intake->taken_in > 0;
  MovePlace(place, look, passed, from_beginning);
}

}  // namespace imagekit::outbox
