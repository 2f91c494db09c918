// Step 6: the proof, just before the call, that no watched row uses the file any more.
//
// Every row of every watched table is read, in C++ and straight from the heap: SQL over a user's table would evaluate
// what its owner put into indexes and statistics with the extension owner's rights.
//
// A row version counts when it was there at any time since the search began, committed or not: what is not committed yet may
// be, a moment after the file has gone, and a row that is updated meanwhile must not be missed in both its places, the new
// one passed already and the old one dead when its turn comes. A snapshot taken before the first row says what "since" is,
// and keeps such versions from being vacuumed away.
//
// A URL counts as a use when it means the file, or could: in another reading, or when it cannot be read with certainty
// and shares the file's key. In doubt the file stays.

#include <string>
#include <unordered_map>
#include <vector>

#include "account/account.h"
#include "capture/extract.h"
#include "capture/watch_config.h"
#include "core/url.h"
#include "pg/attempt.h"
#include "pg/bridge.h"
#include "pg/sql.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// The open files, by the key that every use of them shares.
using FilesByKey = std::unordered_map<std::string, std::vector<int>>;

struct Search : capture::UrlSink {
  Batch *batch;
  FilesByKey *files;
  const EndpointMap *endpoints;
  Snapshot snapshot;  // taken before the first row of the first table is read
  Oid relation;       // the watched table that is asked
  const char *table;  // its name
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

// A place in the rows of one heap.
struct Place {
  const char *source;
  capture::ResolvedSource resolved;
  FmgrInfo print;  // of a type that is searched as it is printed
};

// A heap's places. Its column numbers are its own.
Place *FindPlaces(Relation relation, const capture::Watch &watch, int *count) {
  auto *places = static_cast<Place *>(palloc0(sizeof(Place) * (watch.count + 1)));
  for (int i = 0; i < watch.count; i++) {
    const capture::WatchedSource &source = watch.sources[i];
    if (source.dropped) continue;  // and nothing is left to search
    Place *place = &places[*count];
    place->source = source.source.text;
    // A column that is looked for by its name may have been renamed, and still hold the URL: no proof, no deletion.
    if (!capture::ResolveForSearch(source.source, relation, &place->resolved))
      CannotSearch(relation, psprintf("has no column \"%s\"", source.source.column));
    if (place->resolved.kind == capture::ColumnKind::kUnsupported) {
      Oid function;
      bool varlena;
      getTypeOutputInfo(place->resolved.type, &function, &varlena);
      fmgr_info(function, &place->print);
    }
    ++*count;
  }
  return places;
}

void SearchValue(Place *place, Datum value, Search *search) {
  search->source = place->source;
  if (place->resolved.kind == capture::ColumnKind::kUnsupported)
    capture::ExtractFromText(OutputFunctionCall(&place->print, value), {}, search);
  else
    capture::ExtractUrls(value, place->resolved.kind, place->resolved.path, {}, search);
}

// Was the version there at any time since the snapshot? `row` is one of a scan that shows all.
bool AliveSince(Snapshot snapshot, TupleTableSlot *row) {
  auto *slot = reinterpret_cast<BufferHeapTupleTableSlot *>(row);
  HeapTuple tuple = slot->base.tuple;
  LockBuffer(slot->buffer, BUFFER_LOCK_SHARE);
  HTSV_Result state = HeapTupleSatisfiesVacuum(tuple, snapshot->xmin, slot->buffer);
  bool alive = state != HEAPTUPLE_DEAD;
  if (state == HEAPTUPLE_RECENTLY_DEAD) alive = XidInMVCCSnapshot(HeapTupleHeaderGetUpdateXid(tuple->t_data), snapshot);
  // What deletes the row by this very transaction asks for the file to be deleted as well.
  if (state == HEAPTUPLE_DELETE_IN_PROGRESS)
    alive = !TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(tuple->t_data));
  LockBuffer(slot->buffer, BUFFER_LOCK_UNLOCK);
  return alive;
}

// One heap: a table or a partition.
void SearchHeap(Relation relation, const capture::Watch &watch, Search *search) {
  int count = 0;
  Place *places = FindPlaces(relation, watch, &count);
  MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "imagekit row", ALLOCSET_DEFAULT_SIZES);
  TupleTableSlot *row = table_slot_create(relation, nullptr);
  if (!TTS_IS_BUFFERTUPLE(row)) CannotSearch(relation, "is not stored as a heap and cannot be searched");
  TableScanDesc scan = pg::BeginScan(relation, SnapshotAny);
  while (table_scan_getnextslot(scan, ForwardScanDirection, row)) {
    CHECK_FOR_INTERRUPTS();
    if (!AliveSince(search->snapshot, row)) continue;
    MemoryContext before = MemoryContextSwitchTo(row_context);
    for (int i = 0; i < count; i++) {
      bool null;
      Datum value = slot_getattr(row, places[i].resolved.column, &null);
      if (!null) SearchValue(&places[i], value, search);
    }
    MemoryContextSwitchTo(before);
    MemoryContextReset(row_context);
  }
  table_endscan(scan);
  ExecDropSingleTupleTableSlot(row);
  MemoryContextDelete(row_context);
}

void SearchOne(Relation relation, const capture::Watch &watch, Search *search) {
  char kind = relation->rd_rel->relkind;
  // Temporary children are not watched, and those of another session could not be read.
  bool temporary = relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP;
  if (kind == RELKIND_PARTITIONED_TABLE || temporary) return;
  if (kind != RELKIND_RELATION) CannotSearch(relation, "is no plain table and cannot be searched");
  SearchHeap(relation, watch, search);
}

// Never waits for a lock, and keeps none: whoever changes tables must neither stop the drain of all others nor meet a
// deadlock with it.
void LockOrFail(Oid relation) {
  if (!ConditionalLockRelationOid(relation, AccessShareLock))
    ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("it is locked")));
}

// A table that another transaction is about to attach holds rows that will be uses once it commits; they are not looked for,
// but nothing is concluded meanwhile.
void FailIfGettingChildren(Oid relation) {
  SnapshotData dirty;
  InitDirtySnapshot(dirty);
  Relation inherits = table_open(InheritsRelationId, AccessShareLock);
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_inherits_inhparent, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
  SysScanDesc scan = systable_beginscan(inherits, InheritsParentIndexId, true, &dirty, 1, &key);
  while (HeapTupleIsValid(systable_getnext(scan)))
    if (TransactionIdIsValid(dirty.xmin))
      ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("a partition or child is being attached to it")));
  systable_endscan(scan);
  table_close(inherits, AccessShareLock);
}

// The table and all below it, partitions and inheritance children alike; also one that DETACH CONCURRENTLY is taking off,
// which find_all_inheritors() leaves out.
List *AllBelow(Oid root) {
  List *tables = list_make1_oid(root);
  for (int i = 0; i < list_length(tables); i++)
    tables = list_concat_unique_oid(
        tables, find_inheritance_children_extended(list_nth_oid(tables, i), false, NoLock, nullptr, nullptr));
  return tables;
}

void SearchTable(void *argument) {
  auto *search = static_cast<Search *>(argument);
  LockOrFail(search->relation);
  Relation root = try_relation_open(search->relation, NoLock);
  capture::Watch watch;
  // Dropped, or not watched any more, meanwhile: it holds no reference that counts.
  if (root == nullptr) return;
  relation_close(root, NoLock);  // the lock stays: no partition can be detached meanwhile without waiting for us
  if (!capture::ReadWatch(search->relation, &watch)) return;
  ListCell *cell;
  foreach (cell, AllBelow(search->relation)) {
    LockOrFail(lfirst_oid(cell));
    Relation relation = try_relation_open(lfirst_oid(cell), NoLock);
    if (relation == nullptr) continue;
    FailIfGettingChildren(lfirst_oid(cell));
    SearchOne(relation, watch, search);
    relation_close(relation, AccessShareLock);
  }
  UnlockRelationOid(search->relation, AccessShareLock);
}

// One that cannot be read must not stop the drain for the others' sake. The files stay undeleted, for without its answer
// there is no proof.
void AskTable(Oid table, Search *search) {
  search->relation = table;
  const char *name = get_rel_name(table);
  if (name == nullptr) return;  // dropped: it holds no reference
  search->table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), name);
  const ErrorData *error = pg::Attempt(SearchTable, search);
  if (error == nullptr || get_rel_name(table) == nullptr) return;
  Batch *batch = search->batch;
  char *why = psprintf("cannot tell whether table %s still uses it: %s", search->table, error->message);
  // Said for a file's first attempt; last_error has it for the others, which come again and again.
  bool first = false;
  for (int i = 0; i < batch->count; i++) first |= Open(batch->files[i]) && batch->files[i].attempts <= 1;
  ereport(first ? WARNING : DEBUG1,
          (errcode(error->sqlerrcode), errmsg("imagekit_cleanup cannot search watched table %s", search->table),
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
  search.snapshot = RegisterSnapshot(GetLatestSnapshot());
  ListCell *cell;
  foreach (cell, capture::WatchedTables()) {
    if (!AnyOpen(*batch)) break;
    // Each time anew: reading catalogs may renew the map.
    search.endpoints = account::Endpoints();
    AskTable(lfirst_oid(cell), &search);
  }
  UnregisterSnapshot(search.snapshot);
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
}

}  // namespace imagekit::worker
