// Step 3: the proof, just before the call, that no watched row uses the file any more.
//
// Every row of every watched table is read, in C++ and straight from the heap: SQL over a user's table would evaluate
// what its owner put into indexes and statistics with the extension owner's rights. Rows that another transaction has
// inserted and not committed count as well: they may be committed a moment after the file has gone.
//
// A URL counts as a use when it means the file, or could: in another reading, or when it cannot be read with certainty
// and shares the file's key. In doubt the file stays.

#include <string>
#include <unordered_map>
#include <vector>

#include "account/account.h"
#include "capture/extract.h"
#include "capture/source.h"
#include "core/url.h"
#include "pg/bridge.h"
#include "pg/sql.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

struct WatchedTable {
  Oid relation;
  char **sources;
  int count;
};

constexpr char kWatchedTables[] =
    "SELECT w.relation::pg_catalog.oid, w.sources FROM imagekit.watch_config w "
    "WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) w.relation::pg_catalog.oid)";

// In the current context, as the rows of SPI_tuptable go with the next statement.
WatchedTable *ReadWatchedTables(int *count) {
  MemoryContext context = CurrentMemoryContext;
  *count = static_cast<int>(pg::RunSql(kWatchedTables, SPI_OK_SELECT));
  auto *tables = static_cast<WatchedTable *>(MemoryContextAllocZero(context, sizeof(WatchedTable) * (*count + 1)));
  for (int i = 0; i < *count; i++) {
    bool null;
    tables[i].relation = DatumGetObjectId(pg::Field(i, 1, &null));
    Datum *elements;
    deconstruct_array(DatumGetArrayTypeP(pg::Field(i, 2, &null)), TEXTOID, -1, false, TYPALIGN_INT, &elements, nullptr,
                      &tables[i].count);
    tables[i].sources = static_cast<char **>(MemoryContextAllocZero(context, sizeof(char *) * (tables[i].count + 1)));
    for (int j = 0; j < tables[i].count; j++)
      tables[i].sources[j] = MemoryContextStrdup(context, TextDatumGetCString(elements[j]));
  }
  return tables;
}

// The open files, by the key that every use of them shares.
using FilesByKey = std::unordered_map<std::string, std::vector<int>>;

struct Search : capture::UrlSink {
  Batch *batch;
  FilesByKey *files;
  const EndpointMap *endpoints;
  const char *table;
  const char *source;
};

enum class Use { kNone, kSure, kDoubtful };

Use UseOf(const UrlReading &reference, const UrlReading &file) {
  if (reference.account != file.account) return Use::kNone;
  if (reference.kind == UrlClass::kRefused || reference.kind == UrlClass::kSkipped) return Use::kDoubtful;
  if (reference.path == file.path) return Use::kSure;
  for (const LibraryPath &other : reference.other_readings)
    if (other == file.path) return Use::kDoubtful;
  return Use::kNone;
}

// The next open file, from position *next of those with the reference's key on, that the reference uses; -1: none. C++
// throughout.
int NextUsed(const Search &search, std::string_view url, size_t *next, Use *use) {
  auto found = search.files->find(UrlKey(url));
  if (found == search.files->end()) return -1;
  UrlReading reference = search.endpoints->Read(url);
  for (; *next < found->second.size(); ++*next) {
    int index = found->second[*next];
    if (!Open(search.batch->files[index])) continue;
    *use = UseOf(reference, (*search.batch->readings)[static_cast<size_t>(index)]);
    if (*use != Use::kNone) return index;
  }
  return -1;
}

void TakeReference(capture::UrlSink *self, std::string_view url, std::string_view) {
  auto *search = static_cast<Search *>(self);
  if (!search->endpoints->Owns(url)) return;
  size_t next = 0;
  for (;;) {
    Use use = Use::kNone;
    int index = pg::CallCxx([&] { return NextUsed(*search, url, &next, &use); });
    if (index < 0) return;
    Decide(
        search->batch, &search->batch->files[index], Fate::kKept,
        psprintf(use == Use::kSure ? "still used by %s, source %s"
                                   : "perhaps still used by %s, source %s: a URL there cannot be read with certainty",
                 search->table, search->source));
  }
}

void FillFiles(const Batch &batch, FilesByKey *files) {
  for (int i = 0; i < batch.count; i++)
    if (Open(batch.files[i])) (*files)[UrlKey(batch.files[i].url)].push_back(i);
}

[[noreturn]] void CannotSearch(Relation relation, const char *why) {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("table \"%s\" %s", RelationGetRelationName(relation), why)));
  pg_unreachable();
}

// One heap: a table or a partition. Its column numbers are its own.
void SearchHeap(Relation relation, const WatchedTable &table, Search *search) {
  auto *sources = static_cast<capture::ResolvedSource *>(palloc0(sizeof(capture::ResolvedSource) * (table.count + 1)));
  // A column that cannot be found may have been renamed, and still hold the URL: no proof, no deletion.
  for (int i = 0; i < table.count; i++)
    (void)capture::ResolveSource(capture::ParseSource(table.sources[i]), relation, ERROR, &sources[i]);

  MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "imagekit row", ALLOCSET_DEFAULT_SIZES);
  // Dirty: what others have inserted and not committed is seen, and what they have deleted and not committed, too.
  SnapshotData dirty;
  InitDirtySnapshot(dirty);
  TupleTableSlot *row = table_slot_create(relation, nullptr);
  TableScanDesc scan = pg::BeginScan(relation, &dirty);
  while (table_scan_getnextslot(scan, ForwardScanDirection, row)) {
    CHECK_FOR_INTERRUPTS();
    MemoryContext before = MemoryContextSwitchTo(row_context);
    for (int i = 0; i < table.count; i++) {
      bool null;
      Datum value = slot_getattr(row, sources[i].column, &null);
      search->source = table.sources[i];
      if (!null) capture::ExtractUrls(value, sources[i].kind, sources[i].path, {}, search);
    }
    MemoryContextSwitchTo(before);
    MemoryContextReset(row_context);
  }
  table_endscan(scan);
  ExecDropSingleTupleTableSlot(row);
  MemoryContextDelete(row_context);
}

// Never waits for a lock, and keeps none: whoever changes tables must neither stop the drain of all others nor meet a
// deadlock with it.
void LockOrFail(Oid relation) {
  if (!ConditionalLockRelationOid(relation, AccessShareLock))
    ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("it is locked")));
}

// The table and all below it, partitions and inheritance children alike.
void SearchTable(const WatchedTable &table, Search *search) {
  LockOrFail(table.relation);
  Relation root = try_relation_open(table.relation, NoLock);
  if (root == nullptr) return;  // dropped meanwhile: it holds no reference
  search->table =
      quote_qualified_identifier(get_namespace_name(RelationGetNamespace(root)), RelationGetRelationName(root));
  relation_close(root, NoLock);  // the lock stays: no partition can be detached meanwhile without waiting for us
  ListCell *cell;
  foreach (cell, find_all_inheritors(table.relation, NoLock, nullptr)) {
    LockOrFail(lfirst_oid(cell));
    Relation relation = try_relation_open(lfirst_oid(cell), NoLock);
    if (relation == nullptr) continue;
    char kind = relation->rd_rel->relkind;
    if (kind == RELKIND_RELATION)
      SearchHeap(relation, table, search);
    else if (kind != RELKIND_PARTITIONED_TABLE)
      CannotSearch(relation, "is no plain table and cannot be searched");
    relation_close(relation, AccessShareLock);
  }
  UnlockRelationOid(table.relation, AccessShareLock);
}

// Each table is asked in a subtransaction: one that cannot be read must not stop the drain for the others' sake. The
// files stay undeleted, for without its answer there is no proof.
void AskTable(const WatchedTable &table, Search *search) {
  MemoryContext context = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  ErrorData *volatile error = nullptr;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(context);
  PG_TRY();
  {
    SearchTable(table, search);
    ReleaseCurrentSubTransaction();
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
  }
  PG_END_TRY();
  MemoryContextSwitchTo(context);
  CurrentResourceOwner = owner;
  if (error == nullptr) return;

  // A cancel is the operator's word and not the table's fault.
  if (error->sqlerrcode == ERRCODE_QUERY_CANCELED) ReThrowError(error);
  const char *name = get_rel_name(table.relation);
  if (name == nullptr) return;  // dropped meanwhile: it holds no reference
  Batch *batch = search->batch;
  char *why = psprintf("cannot tell whether table %s still uses it: %s", name, error->message);
  // Said for a file's first attempt; last_error has it for the others, which come again and again.
  bool first = false;
  for (int i = 0; i < batch->count; i++) first |= Open(batch->files[i]) && batch->files[i].attempts <= 1;
  ereport(first ? WARNING : DEBUG1,
          (errcode(error->sqlerrcode), errmsg("imagekit_cleanup cannot search watched table \"%s\"", name),
           errdetail("%s", error->message),
           errhint("Nothing is deleted until it can be searched. Call imagekit.watch() again with its sources "
                   "as they are now, or imagekit.unwatch().")));
  for (int i = 0; i < batch->count; i++)
    if (Open(batch->files[i])) Decide(batch, &batch->files[i], Fate::kRetry, why);
}

bool AnyOpen(const Batch &batch) {
  for (int i = 0; i < batch.count; i++)
    if (Open(batch.files[i])) return true;
  return false;
}

}  // namespace

void KeepReferenced(Batch *batch) {
  if (!AnyOpen(*batch)) return;
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "imagekit references", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(scratch);
  Search search = {};
  search.take = TakeReference;
  search.must_read_all = true;
  search.batch = batch;
  search.files = pg::Own<FilesByKey>(scratch);
  pg::CallCxx([&] { FillFiles(*batch, search.files); });
  int count;
  WatchedTable *tables = ReadWatchedTables(&count);
  for (int i = 0; i < count && AnyOpen(*batch); i++) {
    // Each time anew: reading catalogs may renew the map.
    search.endpoints = account::Endpoints();
    AskTable(tables[i], &search);
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
}

}  // namespace imagekit::worker
