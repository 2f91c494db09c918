// Rows that have gone to another partition. PostgreSQL deletes such a row in one place and inserts it in another, and what
// is captured at the first cannot know what the second holds. So their URLs are no removals: a look at the watched tables
// decides, once for many, and only what is used nowhere any more goes on into the backlog.

#include "pg/sql.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Where less is watched since, the table cannot be asked for all that it held then: nothing is concluded. Nor where TRUNCATE
// may have taken the row, and shall queue nothing.
constexpr char kTakeMoves[] =
    "WITH taken AS ("
    "  DELETE FROM imagekit.outbox WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "    SELECT o.ctid FROM imagekit.outbox o WHERE o.origin OPERATOR(pg_catalog.=) 'M'"
    "    LIMIT $1 FOR UPDATE SKIP LOCKED))"
    "  RETURNING captured_at, written_at, grace, relation, pack) "
    "SELECT u.url, u.file_id, t.relation, t.captured_at, "
    "       t.written_at OPERATOR(pg_catalog.+) COALESCE(t.grace, imagekit.grace_of(imagekit.account_of(u.url))) "
    "FROM taken t JOIN imagekit.watch_config w ON w.relation OPERATOR(pg_catalog.=) t.relation "
    "AND w.since OPERATOR(pg_catalog.<=) t.captured_at AND w.on_truncate OPERATOR(pg_catalog.<>) 'ignore' "
    "CROSS JOIN LATERAL imagekit.unpack(t.pack) u";

constexpr char kQueue[] =
    "INSERT INTO imagekit.backlog (url, file_id, server, relation, origin, captured_at, due_at) "
    "SELECT u.url, u.file_id, imagekit.account_of(u.url), u.relation, 'U', u.captured_at, u.due_at "
    "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
    "                pg_catalog.unnest($5)) AS u(url, file_id, relation, captured_at, due_at)";

struct Moves {
  Batch batch;
  TimestampTz *due_at;  // one a file
};

Moves TakeMoves(MemoryContext context, int tuples) {
  Moves moves = {};
  moves.batch.context = context;
  uint64 count = pg::RunSql(kTakeMoves, SPI_OK_SELECT, {{INT4OID, Int32GetDatum(tuples)}});
  moves.batch.count = static_cast<int>(count);
  moves.batch.files = static_cast<QueuedFile *>(
      MemoryContextAllocExtended(context, sizeof(QueuedFile) * (count + 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
  moves.due_at = static_cast<TimestampTz *>(MemoryContextAllocHuge(context, sizeof(TimestampTz) * (count + 1)));
  for (uint64 i = 0; i < count; i++) {
    QueuedFile *file = &moves.batch.files[i];
    bool null;
    file->url = pg::FieldText(i, 1, context);
    file->captured_file_id = pg::FieldText(i, 2, context);
    file->relation = DatumGetObjectId(pg::Field(i, 3, &null));
    file->captured_at = DatumGetTimestampTz(pg::Field(i, 4, &null));
    moves.due_at[i] = DatumGetTimestampTz(pg::Field(i, 5, &null));
  }
  return moves;
}

// Used nowhere, or it could not be found out: then it waits like any removal, and is asked about again before the delete.
bool IsRemoved(const QueuedFile &file) { return Open(file) || file.fate == Fate::kRetry; }

void QueueRemoved(const Moves &moves) {
  const Batch &batch = moves.batch;
  ArrayBuildState *urls = initArrayResult(TEXTOID, CurrentMemoryContext, false);
  ArrayBuildState *ids = initArrayResult(TEXTOID, CurrentMemoryContext, false);
  ArrayBuildState *relations = initArrayResult(OIDOID, CurrentMemoryContext, false);
  ArrayBuildState *captured = initArrayResult(TIMESTAMPTZOID, CurrentMemoryContext, false);
  ArrayBuildState *due = initArrayResult(TIMESTAMPTZOID, CurrentMemoryContext, false);
  int removed = 0;
  for (int i = 0; i < batch.count; i++) {
    const QueuedFile &file = batch.files[i];
    if (!IsRemoved(file)) continue;
    removed++;
    bool no_id = file.captured_file_id == nullptr;
    accumArrayResult(urls, CStringGetTextDatum(file.url), false, TEXTOID, CurrentMemoryContext);
    accumArrayResult(ids, no_id ? 0 : CStringGetTextDatum(file.captured_file_id), no_id, TEXTOID, CurrentMemoryContext);
    accumArrayResult(relations, ObjectIdGetDatum(file.relation), false, OIDOID, CurrentMemoryContext);
    accumArrayResult(captured, TimestampTzGetDatum(file.captured_at), false, TIMESTAMPTZOID, CurrentMemoryContext);
    accumArrayResult(due, TimestampTzGetDatum(moves.due_at[i]), false, TIMESTAMPTZOID, CurrentMemoryContext);
  }
  if (removed == 0) return;
  pg::RunSql(kQueue, SPI_OK_INSERT,
             {{TEXTARRAYOID, makeArrayResult(urls, CurrentMemoryContext)},
              {TEXTARRAYOID, makeArrayResult(ids, CurrentMemoryContext)},
              {OIDARRAYOID, makeArrayResult(relations, CurrentMemoryContext)},
              {TIMESTAMPTZARRAYOID, makeArrayResult(captured, CurrentMemoryContext)},
              {TIMESTAMPTZARRAYOID, makeArrayResult(due, CurrentMemoryContext)}});
}

}  // namespace

bool ReviewMoves(const Sender *sender, int tuples) {
  MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "imagekit moves", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(context);
  Moves moves = TakeMoves(context, tuples);
  bool any = moves.batch.count > 0;
  if (any) {
    Resolve(&moves.batch, sender);
    KeepReferenced(&moves.batch);
    QueueRemoved(moves);
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(context);
  return any;
}

}  // namespace imagekit::worker
