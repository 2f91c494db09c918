// The memory behind the rule for files that are not found: runs of look-ups and deletes, and what we deleted ourselves.

#include "core/missing_run.h"
#include "outbox/backlog.h"
#include "pg/sql.h"

namespace imagekit::outbox {

namespace {

using worker::Batch;
using worker::QueuedFile;
using worker::Sender;
using worker::SenderAccount;

constexpr char kRead[] = "SELECT server, lookups, deletes FROM imagekit.missing_runs";

constexpr char kWrite[] =
    "INSERT INTO imagekit.missing_runs (server, lookups, deletes) VALUES ($1, $2, $3) "
    "ON CONFLICT (server) DO UPDATE SET lookups = excluded.lookups, deletes = excluded.deletes";

// Or perhaps: whose delete was never answered. By path, as rows may spell one file in many ways. A month: who drains a queue again does it soon, and the index
// keeps the rest of a long history out.
constexpr char kDeletedBefore[] =
    "SELECT DISTINCT p.path FROM imagekit.history h CROSS JOIN LATERAL imagekit.library_path(h.url) AS p(path) "
    "WHERE h.server OPERATOR(pg_catalog.=) $1 AND h.outcome OPERATOR(pg_catalog.=) 'deleted' "
    "AND h.settled_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) '30 days'::pg_catalog.interval) "
    "AND p.path OPERATOR(pg_catalog.=) ANY ($2) "
    "UNION "
    "SELECT p.path FROM imagekit.backlog b CROSS JOIN LATERAL imagekit.library_path(b.url) AS p(path) "
    "WHERE b.in_doubt AND p.path OPERATOR(pg_catalog.=) ANY ($2)";

bool IsMissing(const QueuedFile &file, const account::Account &account) {
  return worker::IsAt(file, worker::Stage::kAnswered) && file.account == &account && file.file_id == nullptr;
}

}  // namespace

void ReadMissingRuns(Sender *sender) {
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    entry->missing_lookups = entry->missing_deletes = MissingRun().Stored();
    entry->missing_changed = false;
  }
  uint64 count = pg::RunSql(kRead, SPI_OK_SELECT);
  for (uint64 i = 0; i < count; i++) {
    bool null;
    SenderAccount *entry = worker::FindAccount(sender, DatumGetObjectId(pg::Field(i, 1, &null)));
    if (entry == nullptr) continue;
    entry->missing_lookups = DatumGetInt64(pg::Field(i, 2, &null));
    entry->missing_deletes = DatumGetInt64(pg::Field(i, 3, &null));
  }
}

void WriteMissingRuns(const Sender &sender) {
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (!entry->missing_changed) continue;
    pg::RunSql(kWrite, SPI_OK_INSERT,
               {{OIDOID, ObjectIdGetDatum(entry->account->server)},
                {INT8OID, Int64GetDatum(entry->missing_lookups)},
                {INT8OID, Int64GetDatum(entry->missing_deletes)}});
  }
}

void MarkDeletedBefore(Batch *batch, const account::Account &account) {
  pg::Column paths = {TEXTOID, nullptr};
  for (int i = 0; i < batch->count; i++)
    if (IsMissing(batch->files[i], account)) pg::AddText(&paths, batch->files[i].path);
  if (paths.values == nullptr) return;
  uint64 count = pg::RunSql(
      kDeletedBefore, SPI_OK_SELECT,
      {{NAMEOID, DirectFunctionCall1(namein, CStringGetDatum(account.name))}, pg::AsParam(paths, TEXTARRAYOID)});
  for (uint64 row = 0; row < count; row++) {
    const char *path = pg::FieldText(row, 1, CurrentMemoryContext);
    for (int i = 0; i < batch->count; i++)
      if (IsMissing(batch->files[i], account) && strcmp(batch->files[i].path, path) == 0)
        batch->files[i].deleted_before = true;
  }
}

}  // namespace imagekit::outbox
