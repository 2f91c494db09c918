// Reading one heap, by index or as a whole, and all heaps below a watched table.

#include "worker/table_search.h"

#include "capture/reference_index.h"
#include "capture/watch_config.h"
#include "worker/shared_state.h"

namespace imagekit::worker {

namespace {

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

void SearchValue(Place *place, Datum value, TableSearch *search) {
  search->source = place->source;
  if (place->resolved.kind == capture::ColumnKind::kUnsupported)
    capture::ExtractFromText(OutputFunctionCall(&place->print, value), {}, search);
  else
    capture::ExtractUrls(value, place->resolved.kind, place->resolved.path, {}, search);
}

// What is searched in one heap.
struct HeapSearch {
  TableSearch *search;
  Place *places;
  int count;
  TupleTableSlot *row;
  MemoryContext row_context;
};

void LookAtRow(HeapSearch *heap) {
  if (!AliveSince(heap->search->snapshot, heap->row, &heap->search->uncommitted)) return;
  MemoryContext before = MemoryContextSwitchTo(heap->row_context);
  for (int i = 0; i < heap->count; i++) {
    bool null;
    Datum value = slot_getattr(heap->row, heap->places[i].resolved.column, &null);
    if (!null) SearchValue(&heap->places[i], value, heap->search);
  }
  MemoryContextSwitchTo(before);
  MemoryContextReset(heap->row_context);
}

void ReadAll(Relation relation, HeapSearch *heap) {
  TableScanDesc scan = pg::BeginScan(relation, SnapshotAny);
  while (table_scan_getnextslot(scan, ForwardScanDirection, heap->row)) {
    CHECK_FOR_INTERRUPTS();
    LookAtRow(heap);
  }
  table_endscan(scan);
}

// A heap that was read as a whole, and when: what it was stored in, and the WAL's end.
struct WholeRead {
  Oid heap;
  Oid file;
  XLogRecPtr since;
};

WholeRead *FindWholeRead(const TableSearch &search, Relation relation) {
  ListCell *cell;
  foreach (cell, search.read_whole) {
    auto *read = static_cast<WholeRead *>(lfirst(cell));
    if (read->heap == RelationGetRelid(relation)) return read;
  }
  return nullptr;
}

// Pages on which anything was written since then. What is not logged, or stored anew, is read as a whole once more.
void ReadChanged(Relation relation, WholeRead *read, HeapSearch *heap) {
  XLogRecPtr now = GetXLogInsertRecPtr();
  if (read->file != relation->rd_rel->relfilenode || relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT) {
    ReadAll(relation, heap);
  } else {
    BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
    BlockNumber blocks = RelationGetNumberOfBlocks(relation);
    for (BlockNumber block = 0; block < blocks; block++) {
      CHECK_FOR_INTERRUPTS();
      Buffer buffer = ReadBufferExtended(relation, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
      LockBuffer(buffer, BUFFER_LOCK_SHARE);
      Page page = BufferGetPage(buffer);
      OffsetNumber most = PageIsNew(page) || PageGetLSN(page) < read->since ? 0 : PageGetMaxOffsetNumber(page);
      UnlockReleaseBuffer(buffer);
      for (OffsetNumber offset = 1; offset <= most; offset++) {
        ItemPointerData tid;
        ItemPointerSet(&tid, block, offset);
        if (table_tuple_fetch_row_version(relation, &tid, SnapshotAny, heap->row)) LookAtRow(heap);
      }
    }
    FreeAccessStrategy(strategy);
  }
  read->file = relation->rd_rel->relfilenode;
  read->since = now;
}

void ReadWhole(Relation relation, HeapSearch *heap) {
  auto *read = static_cast<WholeRead *>(palloc(sizeof(WholeRead)));
  *read = {RelationGetRelid(relation), relation->rd_rel->relfilenode, GetXLogInsertRecPtr()};
  ReadAll(relation, heap);
  heap->search->read_whole = lappend(heap->search->read_whole, read);
}

// Is that backend after a row lock, of whatever table? Then it is not in the middle of an insertion.
bool WantsRowLock(int pid) {
  LockData *locks = GetLockStatusData();
  for (int i = 0; i < locks->nelements; i++) {
    const LockInstanceData &lock = locks->locks[i];
    if (lock.pid == pid && lock.locktag.locktag_type == LOCKTAG_TUPLE) return true;
  }
  return false;
}

// A row goes into the heap first and then into the indexes, one after the other; a slow one, or another transaction with the
// same unique key, may keep its inserter from ours for as long as that takes. Whoever is in the middle of a statement may be
// there; who waits for his client, or for a standby at his commit, is not.
bool MayBeInserting(PGPROC *process) {
  constexpr uint32 kWaitClass = 0xFF000000;
  // Read without a lock: it is what pg_stat_activity shows.
  const uint32 wait = *const_cast<volatile uint32 *>(&process->wait_event_info);
  if (wait == WAIT_EVENT_CLIENT_READ || wait == WAIT_EVENT_SYNC_REP) return false;
  if ((wait & kWaitClass) == PG_WAIT_ACTIVITY) return false;  // the main loop of a process that applies others' changes
  const bool waits = wait == (PG_WAIT_LOCK | LOCKTAG_TRANSACTION) || wait == (PG_WAIT_LOCK | LOCKTAG_TUPLE);
  if (waits && WantsRowLock(process->pid)) return false;
  return (process->statusFlags & (PROC_IS_AUTOVACUUM | PROC_IN_VACUUM)) == 0;
}

// Of the transactions that can write to the table, those that may be inserting at this moment, up to an invalid one; of `among`
// only, where it is given.
VirtualTransactionId *Inserters(Relation relation, const VirtualTransactionId *among) {
  LOCKTAG tag;
  SET_LOCKTAG_RELATION(tag, MyDatabaseId, RelationGetRelid(relation));
  int count, left = 0;
  VirtualTransactionId *writers = GetLockConflicts(&tag, ShareLock, &count);
  for (int i = 0; i < count; i++) {
    PGPROC *process = pg::ProcOf(writers[i]);
    if (process == nullptr || !MayBeInserting(process)) continue;
    const VirtualTransactionId *known = among;
    while (known != nullptr && VirtualTransactionIdIsValid(*known) && !VirtualTransactionIdEquals(*known, writers[i]))
      known++;
    if (known == nullptr || VirtualTransactionIdIsValid(*known)) writers[left++] = writers[i];
  }
  SetInvalidVirtualTransactionId(writers[left]);
  return writers;
}

// Waits until all that was in the table when it was called is in its index as well; an error when that takes long.
void WaitForInserters(Relation relation) {
  constexpr Ticks kPatience = 50;   // ms: so much older is the proof then
  constexpr long kLookAgain = 200;  // us
  VirtualTransactionId *inserters = Inserters(relation, nullptr);
  const Ticks until = NowTicks() + kPatience;
  while (VirtualTransactionIdIsValid(inserters[0])) {
    if (NowTicks() >= until) {
      PGPROC *process = pg::ProcOf(inserters[0]);
      ereport(ERROR,
              (errcode(kAskAgain),
               errmsg("a row of table \"%s\" may not be in its index yet: process %d is in the middle of a statement",
                      RelationGetRelationName(relation), process == nullptr ? 0 : process->pid)));
    }
    CHECK_FOR_INTERRUPTS();
    pg_usleep(kLookAgain);
    VirtualTransactionId *left = Inserters(relation, inserters);
    pfree(inserters);
    inserters = left;
  }
}

// An index points to the first version of a chain that shares its indexed values; all of them are looked at.
void LookAtChain(IndexFetchTableData *fetch, HeapSearch *heap, BlockNumber block, OffsetNumber offset) {
  ItemPointerData tid;
  ItemPointerSet(&tid, block, offset);
  bool more = false, all_dead = false;
  while (table_index_fetch_tuple(fetch, &tid, SnapshotAny, heap->row, &more, &all_dead)) {
    LookAtRow(heap);
    if (!more) break;
  }
}

// Where the index has any of the keys, in any of the places.
TIDBitmap *AskIndex(const capture::ReferenceIndex &reference, const HeapSearch &heap) {
  TIDBitmap *found = tbm_create(work_mem * INT64CONST(1024), nullptr);
  Relation index = index_open(reference.index, NoLock);
  for (int i = 0; i < heap.count; i++) {
    ScanKeyData key;
    // The function only fills its place: the index goes by those of its operator class.
    ScanKeyEntryInitialize(&key, 0, reference.columns[i], 1, INT4ARRAYOID, InvalidOid, F_ARRAYOVERLAP,
                           heap.search->keys);
    IndexScanDesc scan = pg::BeginBitmapScan(index, heap.search->snapshot, 1);
    index_rescan(scan, &key, 1, nullptr, 0);
    (void)index_getbitmap(scan, found);
    index_endscan(scan);
  }
  index_close(index, NoLock);
  return found;
}

void ReadFound(Relation relation, const capture::ReferenceIndex &reference, HeapSearch *heap) {
  // Where nothing can be saved any more, what is there at this moment is enough.
  if (heap->search->pass == Pass::kIndexed && !heap->search->by_index_only) WaitForInserters(relation);
  TIDBitmap *found = AskIndex(reference, *heap);
  IndexFetchTableData *fetch = pg::BeginIndexFetch(relation);
  pg::ForEachPage(found, [&](BlockNumber block, const OffsetNumber *offsets, int count) {
    CHECK_FOR_INTERRUPTS();
    // A page that is meant as a whole: every chain that begins in it.
    int most = count < 0 ? static_cast<int>(MaxHeapTuplesPerPage) : count;
    for (int i = 0; i < most; i++)
      LookAtChain(fetch, heap, block, count < 0 ? static_cast<OffsetNumber>(i + 1) : offsets[i]);
  });
  table_index_fetch_end(fetch);
  tbm_free(found);
}

// One heap: a table or a partition.
void SearchHeap(Relation relation, const capture::Watch &watch, TableSearch *search) {
  HeapSearch heap = {search, nullptr, 0, nullptr, nullptr};
  heap.places = FindPlaces(relation, watch, &heap.count);
  heap.row_context = AllocSetContextCreate(CurrentMemoryContext, "imagekit row", ALLOCSET_DEFAULT_SIZES);
  heap.row = table_slot_create(relation, nullptr);
  if (!TTS_IS_BUFFERTUPLE(heap.row)) CannotSearch(relation, "is not stored as a heap and cannot be searched");
  search->heap = relation;
  search->row = heap.row;
  capture::ReferenceIndex reference = {};
  if (search->keys != 0) {
    auto *sources = static_cast<capture::ResolvedSource *>(palloc(sizeof(capture::ResolvedSource) * (heap.count + 1)));
    for (int i = 0; i < heap.count; i++) sources[i] = heap.places[i].resolved;
    reference = capture::FindReferenceIndex(relation, sources, heap.count);
  }
  // One that is just being rebuilt is not waited for.
  bool indexed = OidIsValid(reference.index) && ConditionalLockRelationOid(reference.index, AccessShareLock);
  WholeRead *read = FindWholeRead(*search, relation);
  switch (search->pass) {
    case Pass::kWhole:
      if (!indexed) ReadWhole(relation, &heap);
      break;
    case Pass::kChanged:
      if (read != nullptr) ReadChanged(relation, read, &heap);
      break;
    default:
      if (indexed && read == nullptr)
        ReadFound(relation, reference, &heap);
      else if (read == nullptr && !search->by_index_only)
        ReadAll(relation, &heap);
  }
  if (indexed) UnlockRelationOid(reference.index, AccessShareLock);
  ExecDropSingleTupleTableSlot(heap.row);
  MemoryContextDelete(heap.row_context);
}

void SearchOne(Relation relation, const capture::Watch &watch, TableSearch *search) {
  char kind = relation->rd_rel->relkind;
  // Temporary children are not watched, and those of another session could not be read.
  bool temporary = relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP;
  if (kind == RELKIND_PARTITIONED_TABLE || temporary) return;
  if (kind != RELKIND_RELATION) CannotSearch(relation, "is no plain table and cannot be searched");
  SearchHeap(relation, watch, search);
}

// A process whose lock is in the way; 0: none that is there any more, or a prepared transaction.
int HolderOf(Oid relation) {
  LOCKTAG tag;
  SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
  for (const VirtualTransactionId *holder = GetLockConflicts(&tag, AccessShareLock, nullptr);
       VirtualTransactionIdIsValid(*holder); holder++) {
    const PGPROC *process = pg::ProcOf(*holder);
    if (process != nullptr) return process->pid;
  }
  return 0;
}

// Never waits for a lock, and keeps none: whoever changes tables must neither stop the drain of all others nor meet a
// deadlock with it.
void LockOrFail(Oid relation) {
  if (ConditionalLockRelationOid(relation, AccessShareLock)) return;
  const int pid = HolderOf(relation);
  ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                  pid == 0 ? errmsg("it is locked") : errmsg("it is locked by process %d", pid)));
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

}  // namespace

bool AliveSince(Snapshot snapshot, TupleTableSlot *row, bool *uncommitted) {
  auto *slot = reinterpret_cast<BufferHeapTupleTableSlot *>(row);
  HeapTuple tuple = slot->base.tuple;
  LockBuffer(slot->buffer, BUFFER_LOCK_SHARE);
  HTSV_Result state = HeapTupleSatisfiesVacuum(tuple, snapshot->xmin, slot->buffer);
  bool alive = state != HEAPTUPLE_DEAD;
  if (state == HEAPTUPLE_RECENTLY_DEAD) alive = XidInMVCCSnapshot(HeapTupleHeaderGetUpdateXid(tuple->t_data), snapshot);
  // What deletes the row by this very transaction asks for the file to be deleted as well.
  if (state == HEAPTUPLE_DELETE_IN_PROGRESS)
    alive = !TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(tuple->t_data));
  // The state says so of all that another open transaction has inserted, also where it has deleted it again.
  *uncommitted = state == HEAPTUPLE_INSERT_IN_PROGRESS &&
                 !TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
  LockBuffer(slot->buffer, BUFFER_LOCK_UNLOCK);
  return alive;
}

Datum KeysOfUrls(const char *const *urls, int count) {
  auto *keys = static_cast<Datum *>(palloc(sizeof(Datum) * (count + 1)));
  for (int i = 0; i < count; i++) {
    int32 key = capture::IndexKey(urls[i]);
    if (key == capture::kNoKey) return 0;
    keys[i] = Int32GetDatum(key);
  }
  keys[count] = Int32GetDatum(capture::kUnreadableKey);
  return PointerGetDatum(construct_array(keys, count + 1, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

char *RowKey(const TableSearch &where) {
  (void)RelationGetIndexList(where.heap);
  Oid primary_key = where.heap->rd_pkindex;
  if (!OidIsValid(primary_key))
    return psprintf("ctid %s", DatumGetCString(DirectFunctionCall1(tidout, PointerGetDatum(&where.row->tts_tid))));
  Relation index = index_open(primary_key, AccessShareLock);
  int count = IndexRelationGetNumberOfKeyAttributes(index);
  StringInfoData key;
  initStringInfo(&key);
  for (int i = 0; i < count; i++) {
    AttrNumber column = index->rd_index->indkey.values[i];
    bool null;
    Datum value = slot_getattr(where.row, column, &null);
    Oid function;
    bool varlena;
    getTypeOutputInfo(TupleDescAttr(RelationGetDescr(where.heap), column - 1)->atttypid, &function, &varlena);
    appendStringInfo(&key, "%s%s", i > 0 ? "," : count > 1 ? "(" : "", OidOutputFunctionCall(function, value));
  }
  if (count > 1) appendStringInfoChar(&key, ')');
  index_close(index, AccessShareLock);
  return key.data;
}

void SearchTable(TableSearch *search) {
  LockOrFail(search->watched);
  Relation root = try_relation_open(search->watched, NoLock);
  capture::Watch watch;
  // Dropped, or not watched any more, meanwhile: it holds no reference that counts.
  if (root == nullptr) return;
  relation_close(root, NoLock);  // the lock stays: no partition can be detached meanwhile without waiting for us
  if (!capture::ReadWatch(search->watched, &watch)) return;
  List *tables = AllBelow(search->watched);
  ListCell *cell;
  foreach (cell, tables) {
    LockOrFail(lfirst_oid(cell));
    Relation relation = try_relation_open(lfirst_oid(cell), NoLock);
    if (relation == nullptr) continue;
    FailIfGettingChildren(lfirst_oid(cell));
    SearchOne(relation, watch, search);
    relation_close(relation, AccessShareLock);
  }
  if (list_difference_oid(AllBelow(search->watched), tables) != NIL)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("a partition or child has been attached to it meanwhile")));
  UnlockRelationOid(search->watched, AccessShareLock);
}

}  // namespace imagekit::worker
