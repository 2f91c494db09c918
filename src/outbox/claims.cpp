// One row for as many files as are claimed at once: the columns are arrays, an element a file. A claim and its end cost the
// same whether it is for one file or a thousand, and leave one dead row behind.

#include "outbox/claims.h"

#include "outbox/backlog.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/shared_state.h"

namespace imagekit::outbox {

namespace {

using worker::Batch;
using worker::QueuedFile;
using worker::Stage;

// In hand at once: enough to fill every request of the fastest accounts, and little enough for any memory.
constexpr int kSlots = 2048;

constexpr char kWrite[] =
    "INSERT INTO imagekit.claims (ids, urls, file_ids, servers, transactions, relations, roles, origins, captured, "
    "due, "
    "                             attempts, in_doubt, approved, last_errors) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id";

constexpr char kForget[] = "DELETE FROM imagekit.claims WHERE id OPERATOR(pg_catalog.=) ANY ($1)";

// The first orphaned attempt is repeated at once: its worker was most likely stopped by somebody. After that it may be the
// file itself that kills workers, and in the end it is given up. Those that another session's open transaction is taking back
// are left to it: nobody waits. $1: the longest wait, in milliseconds; $2: max_attempts; $3: the caller's own; $4: those after.
constexpr char kTakeBackOrphans[] =
    "WITH orphaned AS (DELETE FROM imagekit.claims WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT c.ctid FROM imagekit.claims c WHERE c.id OPERATOR(pg_catalog.<>) ALL ($3)"
    "  AND c.id OPERATOR(pg_catalog.>) $4 FOR UPDATE SKIP LOCKED))"
    "  RETURNING *) "
    "INSERT INTO imagekit.backlog (id, url, file_id, server, transaction, relation, role, origin, captured_at, due_at,"
    "                              state, attempts, in_doubt, approved, last_error) OVERRIDING SYSTEM VALUE "
    "SELECT COALESCE(f.id, pg_catalog.nextval('imagekit.backlog_id_seq')), f.url, f.file_id, f.server, f.transaction,"
    "       f.relation, f.role, f.origin, f.captured,"
    "       pg_catalog.now() OPERATOR(pg_catalog.+) LEAST('1 millisecond'::pg_catalog.interval "
    "         OPERATOR(pg_catalog.*) $1, '1 second'::pg_catalog.interval OPERATOR(pg_catalog.*) "
    "         (pg_catalog.power(2, LEAST(f.attempts, 12) OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog.-) 1)),"
    "       CASE WHEN f.attempts OPERATOR(pg_catalog.>=) $2 THEN 'failed' ELSE 'retrying' END, f.attempts, true, "
    "f.approved,"
    "       'the process that was working on it ended before it had an answer' "
    "FROM orphaned o CROSS JOIN LATERAL imagekit.files_of(o) f";

// In the order of the index, so that it is used. $1: the caller's own; $2: those after.
constexpr char kAnyOrphan[] =
    "SELECT FROM imagekit.claims WHERE id OPERATOR(pg_catalog.<>) ALL ($1) AND id OPERATOR(pg_catalog.>) $2 "
    "ORDER BY id LIMIT 1";

// $1: milliseconds
constexpr char kMendDueTimes[] =
    "UPDATE imagekit.backlog SET due_at = pg_catalog.now() WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY("
    "  SELECT b.id FROM imagekit.backlog b WHERE b.state OPERATOR(pg_catalog.=) 'retrying'"
    "  AND b.due_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.+) "
    "    ('1 millisecond'::pg_catalog.interval OPERATOR(pg_catalog.*) $1)) FOR UPDATE SKIP LOCKED))";

Datum IdsOf(List *claims) {
  auto *ids = static_cast<Datum *>(palloc(sizeof(Datum) * (list_length(claims) + 1)));
  int count = 0;
  ListCell *cell;
  foreach (cell, claims) ids[count++] = Int64GetDatum(static_cast<worker::Claim *>(lfirst(cell))->id);
  return PointerGetDatum(construct_array(ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

}  // namespace

void AddTo(FileColumns *columns, const QueuedFile &file) {
  pg::Add(&columns->ids, Int64GetDatum(file.id), file.id == 0);
  pg::AddText(&columns->urls, file.url);
  pg::AddText(&columns->file_ids, file.captured_file_id);
  pg::Add(&columns->servers, ObjectIdGetDatum(file.server), !OidIsValid(file.server));
  pg::Add(&columns->transactions, FullTransactionIdGetDatum(file.transaction));
  pg::Add(&columns->relations, ObjectIdGetDatum(file.relation));
  pg::Add(&columns->roles, ObjectIdGetDatum(file.role));
  pg::Add(&columns->origins, CharGetDatum(file.origin));
  pg::Add(&columns->captured, TimestampTzGetDatum(file.captured_at));
  pg::Add(&columns->due, TimestampTzGetDatum(file.due_at));
  pg::Add(&columns->attempts, Int32GetDatum(file.attempts));
  pg::Add(&columns->doubts, BoolGetDatum(file.in_doubt));
  pg::Add(&columns->approved, BoolGetDatum(file.approved));
  pg::AddText(&columns->errors, file.last_error);
}

void AsParams(const FileColumns &columns, pg::Param params[kFileColumns]) {
  const pg::Param all[kFileColumns] = {pg::AsParam(columns.ids, INT8ARRAYOID),
                                       pg::AsParam(columns.urls, TEXTARRAYOID),
                                       pg::AsParam(columns.file_ids, TEXTARRAYOID),
                                       pg::AsParam(columns.servers, OIDARRAYOID),
                                       pg::AsParam(columns.transactions, XID8ARRAYOID),
                                       pg::AsParam(columns.relations, OIDARRAYOID),
                                       pg::AsParam(columns.roles, OIDARRAYOID),
                                       pg::AsParam(columns.origins, CHARARRAYOID),
                                       pg::AsParam(columns.captured, TIMESTAMPTZARRAYOID),
                                       pg::AsParam(columns.due, TIMESTAMPTZARRAYOID),
                                       pg::AsParam(columns.attempts, INT4ARRAYOID),
                                       pg::AsParam(columns.doubts, BOOLARRAYOID),
                                       pg::AsParam(columns.approved, BOOLARRAYOID),
                                       pg::AsParam(columns.errors, TEXTARRAYOID)};
  for (int i = 0; i < kFileColumns; i++) params[i] = all[i];
}

void MakeSlots(Batch *batch) {
  batch->files = static_cast<QueuedFile *>(MemoryContextAllocZero(batch->context, sizeof(QueuedFile) * kSlots));
  for (int i = 0; i < kSlots; i++) batch->files[i].stage = Stage::kFree;
}

int FreeSlots(const Batch &batch) {
  int free = kSlots - batch.count;
  for (int i = 0; i < batch.count; i++) free += batch.files[i].stage == Stage::kFree;
  return free;
}

worker::Claim *MakeClaim(Batch *batch) {
  MemoryContext context = AllocSetContextCreate(batch->context, "imagekit claim", ALLOCSET_DEFAULT_SIZES);
  auto *claim = static_cast<worker::Claim *>(MemoryContextAllocZero(context, sizeof(worker::Claim)));
  claim->context = context;
  return claim;
}

QueuedFile *AddFile(Batch *batch, worker::Claim *claim) {
  for (int i = batch->first_free; i < kSlots; i++) {
    QueuedFile *file = &batch->files[i];
    if (file->stage != Stage::kFree) continue;
    *file = QueuedFile{};
    file->claim = claim;
    file->same_as = file->behind = -1;
    batch->first_free = i + 1;
    batch->count = Max(batch->count, i + 1);
    claim->files++;
    return file;
  }
  return nullptr;
}

void WriteClaim(const Batch &batch, worker::Claim *claim) {
  FileColumns columns;
  for (int i = 0; i < batch.count; i++)
    if (batch.files[i].claim == claim && !batch.files[i].settling) AddTo(&columns, batch.files[i]);
  pg::Param params[kFileColumns];
  AsParams(columns, params);
  pg::RunSql(kWrite, SPI_OK_INSERT_RETURNING, params);
  bool null;
  claim->id = DatumGetInt64(pg::Field(0, 1, &null));
}

void FinishClaims(const Batch &batch, List *claims) {
  ListCell *cell;
  foreach (cell, claims) static_cast<worker::Claim *>(lfirst(cell))->decided = 0;
  for (int i = 0; i < batch.count; i++)
    if (batch.files[i].settling) batch.files[i].claim->decided++;
  pg::Column ids = {INT8OID, nullptr};
  foreach (cell, claims) {
    auto *claim = static_cast<worker::Claim *>(lfirst(cell));
    if (claim->decided == 0) continue;
    pg::Add(&ids, Int64GetDatum(claim->id));
    if (claim->decided < claim->files) WriteClaim(batch, claim);
  }
  if (ids.values != nullptr) pg::RunSql(kForget, SPI_OK_DELETE, {pg::AsParam(ids, INT8ARRAYOID)});
}

TakenBack TakeBackOrphans(List *in_hand, worker::ClaimsPlace *place) {
  const worker::Ticks begun = worker::NowTicks();
  const bool all = place->again_at <= begun;
  const pg::Param own = {INT8ARRAYOID, IdsOf(in_hand)}, after = {INT8OID, Int64GetDatum(all ? 0 : place->after)};
  TakenBack taken = {};
  if (pg::RunSql(kAnyOrphan, SPI_OK_SELECT, {own, after}) > 0) {
    taken.files = pg::RunSql(kTakeBackOrphans, SPI_OK_INSERT,
                             {{FLOAT8OID, Float8GetDatum(settings::retry_delay_max)},
                              {INT4OID, Int32GetDatum(settings::max_attempts)},
                              own,
                              after});
    taken.more = pg::RunSql(kAnyOrphan, SPI_OK_SELECT, {own, after}) > 0;
  }
  if (all) place->again_at = worker::NowTicks() + worker::ShortRestAfterLook(worker::NowTicks() - begun);
  return taken;
}

void MendDueTimes() {
  // ImageKit itself may put an account off for a quarter of an hour, whatever the setting.
  constexpr double kAtLeast = 15 * 60 * 1000;
  pg::RunSql(kMendDueTimes, SPI_OK_UPDATE,
             {{FLOAT8OID, Float8GetDatum(Max(static_cast<double>(settings::retry_delay_max), kAtLeast))}});
}

}  // namespace imagekit::outbox
