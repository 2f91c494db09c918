// Rows that have gone to another partition. PostgreSQL deletes such a row in one place and inserts it in another, and what
// is captured at the first cannot know what the second holds. So their URLs are no removals: a look at the watched tables
// decides, once for many, and only what is used nowhere any more goes on into the backlog.

#include "outbox/first_due.h"
#include "outbox/hold.h"
#include "outbox/take_in.h"
#include "pg/sql.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Where less is watched since, the table cannot be asked for all that it held then: nothing is concluded. Nor where TRUNCATE
// may have taken the row, and shall queue nothing. The last column: the tuple is damaged.
constexpr char kReadMoves[] =
    "WITH moves AS ("
    "  SELECT o.ctid AS tuple, o.captured_at, o.written_at, o.grace, o.relation, o.pack FROM imagekit.outbox o"
    "  WHERE o.origin OPERATOR(pg_catalog.=) 'M' AND o.ctid OPERATOR(pg_catalog.>) $2 LIMIT $1 FOR UPDATE SKIP LOCKED) "
    "SELECT m.tuple, u.url, u.file_id, m.relation, m.captured_at, "
    "       m.written_at OPERATOR(pg_catalog.+) COALESCE(m.grace, imagekit.grace_of(imagekit.account_of(u.url))), "
    "       m.written_at, w.relation IS NOT NULL AND u.url IS NULL "
    "FROM moves m LEFT JOIN (imagekit.watch_config w CROSS JOIN LATERAL imagekit.unpack(m.pack) u) "
    "ON w.relation OPERATOR(pg_catalog.=) m.relation AND w.since OPERATOR(pg_catalog.<=) m.captured_at "
    "AND w.on_truncate OPERATOR(pg_catalog.<>) 'ignore'";

constexpr char kForget[] = "DELETE FROM imagekit.outbox WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)";

constexpr char kQueue[] =
    "INSERT INTO imagekit.backlog (url, file_id, server, transaction, relation, role, origin, captured_at, due_at,"
    "                              state, last_error) "
    "SELECT u.url, u.file_id, imagekit.account_of(u.url), o.transaction, o.relation, o.role, 'U', o.captured_at,"
    "       u.due_at, CASE WHEN u.cause IS NULL THEN 'waiting' ELSE 'held' END, u.cause "
    "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
    "                pg_catalog.unnest($5)) AS u(tuple, url, file_id, due_at, cause) "
    "JOIN imagekit.outbox o ON o.ctid OPERATOR(pg_catalog.=) u.tuple";

struct Moves {
  Batch batch;
  TimestampTz *due_at;      // one a file
  TimestampTz *written_at;  // one a file
  ItemPointerData *tuple;   // one a file: where in the outbox it stands
  List *tuples;             // all that were read
  List *undecided;          // those that hold a file about which the tables could not be asked, or are damaged
};

bool IsIn(List *tuples, const ItemPointerData &tuple) {
  ListCell *cell;
  foreach (cell, tuples)
    if (ItemPointerEquals(static_cast<ItemPointer>(lfirst(cell)), const_cast<ItemPointer>(&tuple))) return true;
  return false;
}

Moves ReadMoves(MemoryContext context, int tuples, ItemPointer after) {
  Moves moves = {};
  moves.batch.context = context;
  uint64 count =
      pg::RunSql(kReadMoves, SPI_OK_SELECT, {{INT4OID, Int32GetDatum(tuples)}, {TIDOID, PointerGetDatum(after)}});
  moves.batch.files = static_cast<QueuedFile *>(
      MemoryContextAllocExtended(context, sizeof(QueuedFile) * (count + 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
  moves.due_at = static_cast<TimestampTz *>(MemoryContextAllocHuge(context, sizeof(TimestampTz) * (count + 1)));
  moves.written_at = static_cast<TimestampTz *>(MemoryContextAllocHuge(context, sizeof(TimestampTz) * (count + 1)));
  moves.tuple = static_cast<ItemPointerData *>(MemoryContextAllocHuge(context, sizeof(ItemPointerData) * (count + 1)));
  MemoryContext before = MemoryContextSwitchTo(context);
  for (uint64 i = 0; i < count; i++) {
    bool null;
    int at = moves.batch.count;
    moves.tuple[at] = *reinterpret_cast<ItemPointer>(DatumGetPointer(pg::Field(i, 1, &null)));
    if (moves.tuples == NIL || !ItemPointerEquals(static_cast<ItemPointer>(llast(moves.tuples)), &moves.tuple[at])) {
      auto *copy = static_cast<ItemPointer>(palloc(sizeof(ItemPointerData)));
      *copy = moves.tuple[at];
      moves.tuples = lappend(moves.tuples, copy);
    }
    QueuedFile *file = &moves.batch.files[at];
    file->url = pg::FieldText(i, 2, context);
    if (file->url == nullptr) {  // nothing is concluded from the tuple
      if (!DatumGetBool(pg::Field(i, 8, &null))) continue;
      outbox::SayDamaged(moves.tuple[at]);
      moves.undecided = lappend(moves.undecided, llast(moves.tuples));
      continue;
    }
    file->captured_file_id = pg::FieldText(i, 3, context);
    file->relation = DatumGetObjectId(pg::Field(i, 4, &null));
    file->captured_at = DatumGetTimestampTz(pg::Field(i, 5, &null));
    file->attempts = 2;  // that a table cannot be asked is said for removals
    moves.due_at[at] = DatumGetTimestampTz(pg::Field(i, 6, &null));
    moves.written_at[at] = DatumGetTimestampTz(pg::Field(i, 7, &null));
    moves.batch.count++;
  }
  MemoryContextSwitchTo(before);
  return moves;
}

// What could not be judged, or not yet, stays a move: as a removal it would outlive what a move is judged by.
void FindUndecided(Moves *moves) {
  for (int i = 0; i < moves->batch.count; i++) {
    Fate fate = moves->batch.files[i].fate;
    if ((fate == Fate::kRetry || fate == Fate::kReleased) && !IsIn(moves->undecided, moves->tuple[i]))
      moves->undecided = lappend(moves->undecided, &moves->tuple[i]);
  }
}

void ForgetDecided(const Moves &moves) {
  pg::Column tuples = {TIDOID, nullptr};
  ListCell *cell;
  foreach (cell, moves.tuples) {
    auto *tuple = static_cast<ItemPointer>(lfirst(cell));
    if (!IsIn(moves.undecided, *tuple)) pg::Add(&tuples, PointerGetDatum(tuple));
  }
  if (tuples.values != nullptr) pg::RunSql(kForget, SPI_OK_DELETE, {pg::AsParam(tuples, TIDARRAYOID)});
}

// How many of them a transaction moved away is not known before all are reviewed, so they are judged by the window.
void QueueRemoved(const Moves &moves, Sender *sender) {
  auto *removed = static_cast<int *>(palloc(sizeof(int) * (moves.batch.count + 1)));
  auto *removals = static_cast<outbox::Removal *>(
      palloc_extended(sizeof(outbox::Removal) * (moves.batch.count + 1), MCXT_ALLOC_HUGE));
  int count = 0;
  for (int i = 0; i < moves.batch.count; i++) {
    const QueuedFile &file = moves.batch.files[i];
    if (!Open(file) || IsIn(moves.undecided, moves.tuple[i])) continue;
    removed[count] = i;
    removals[count++] = {file.relation, 0, 1, 0, moves.written_at[i], list_make1_oid(file.account->server), nullptr};
  }
  if (count == 0) return;
  List *trips = NIL;
  outbox::Judge(removals, count, &trips);
  pg::Column tuples = {TIDOID, nullptr}, urls = {TEXTOID, nullptr}, ids = {TEXTOID, nullptr};
  pg::Column due = {TIMESTAMPTZOID, nullptr}, causes = {TEXTOID, nullptr};
  for (int i = 0; i < count; i++) {
    const QueuedFile &file = moves.batch.files[removed[i]];
    pg::Add(&tuples, PointerGetDatum(&moves.tuple[removed[i]]));
    pg::AddText(&urls, file.url);
    pg::AddText(&ids, file.captured_file_id);
    pg::Add(&due, TimestampTzGetDatum(moves.due_at[removed[i]]));
    pg::AddText(&causes, removals[i].cause);
  }
  pg::RunSql(kQueue, SPI_OK_INSERT,
             {pg::AsParam(tuples, TIDARRAYOID), pg::AsParam(urls, TEXTARRAYOID), pg::AsParam(ids, TEXTARRAYOID),
              pg::AsParam(due, TIMESTAMPTZARRAYOID), pg::AsParam(causes, TEXTARRAYOID)});
  outbox::HoldWaiting(trips);
  outbox::ForgetPlaces(sender);  // they may be due since long ago
}

}  // namespace

namespace {

// All have been looked at once those after the last are none, or fewer than asked for.
MovesReview GoOn(const Moves &moves, int tuples, MovesPlace *place) {
  place->undecided |= moves.undecided != NIL;
  if (list_length(moves.tuples) >= tuples) {
    if (moves.undecided != NIL) place->after = *static_cast<ItemPointer>(llast(moves.tuples));
    return MovesReview::kDone;
  }
  MovesReview review = place->undecided      ? MovesReview::kUndecided
                       : moves.tuples != NIL ? MovesReview::kDone
                                             : MovesReview::kNone;
  *place = {};
  return review;
}

}  // namespace

MovesReview ReviewMoves(Sender *sender, int tuples, MovesPlace *place) {
  MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "imagekit moves", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(context);
  Moves moves = ReadMoves(context, tuples, &place->after);
  if (moves.batch.count > 0) {
    Resolve(&moves.batch, sender);
    for (int i = 0; i < moves.batch.count; i++) moves.batch.files[i].stage = Stage::kProving;
    KeepReferenced(&moves.batch);
    FindUndecided(&moves);
    QueueRemoved(moves, sender);
  }
  ForgetDecided(moves);
  MovesReview review = GoOn(moves, tuples, place);
  MemoryContextSwitchTo(before);
  MemoryContextDelete(context);
  return review;
}

}  // namespace imagekit::worker
