// Reads a table for the URLs in all of its columns.
//
// In C++ and straight from the heap, as src/worker/table_search.cpp does and for the same reason: SQL over a user's table would
// evaluate what its owner put into indexes, policies and statistics with the extension owner's rights. Types' own output
// functions are called; only superusers can make those.
//
// Row versions count that are there, or will be if their transaction commits.

#include "audit/unwatched.h"

#include "account/account.h"
#include "capture/watch_config.h"
#include "pg/attempt.h"
#include "pg/bridge.h"
#include "pg/sql.h"
#include "worker/table_search.h"

namespace imagekit::audit {

namespace {

// Long enough for a TRUNCATE or an ALTER TABLE that is done at once; a migration is not waited for.
constexpr int64 kLongestLock = 1000;          // ms
constexpr int64 kBetweenNotices = 10 * 1000;  // ms

struct Reader {
  Oid relation;
  int64 pages;
  TableResult *result;
  MemoryContext context;  // of the result
  const KnownPrefixes *known;
  FmgrInfo *print;  // of each column; unused for those that can be watched
  capture::ColumnKind *kinds;
  Snapshot snapshot;
  TupleTableSlot *row;
  MemoryContext row_context;
};

KnownPrefixes *KnowPrefixes(const FileNames *orphans) {
  auto *known = pg::Own<KnownPrefixes>(CurrentMemoryContext);
  known->files = orphans;
  ListCell *account, *prefix;
  foreach (account, account::LoadAccounts(CurrentMemoryContext)) {
    auto *of = static_cast<account::Account *>(lfirst(account));
    foreach (prefix, of->url_prefixes) {
      const char *text = static_cast<char *>(lfirst(prefix));
      pg::CallCxx([&] { (void)known->Add(account::AccountNumber(of->server), text); });
    }
  }
  return known;
}

// Polled, so that nobody queues behind us and no deadlock comes of it.
bool LockInTime(Oid relation) {
  const TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kLongestLock);
  while (!ConditionalLockRelationOid(relation, AccessShareLock)) {
    if (GetCurrentTimestamp() >= until) return false;
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
  return true;
}

// --- Its columns -----------------------------------------------------------------------------------------------------

void AddWatched(ColumnSearch *search, const capture::SourcePath &path) {
  pg::CallCxx([&] {
    JsonPath steps;
    for (int i = 0; i < path.steps; i++) {
      const bool element = path.step[i].key == nullptr;
      steps.push_back({element, element ? std::string() : std::string(path.step[i].key)});
    }
    search->Watch(std::move(steps));
  });
}

// What capture takes from the column, by the settings of its table and of those above.
void AddSources(Relation relation, Form_pg_attribute attribute, SearchedColumn *column) {
  pg::Column sources = {TEXTOID, nullptr};
  ListCell *cell;
  foreach (cell, capture::WatchedAbove(RelationGetRelid(relation))) {
    capture::Watch watch;
    if (!capture::ReadWatch(lfirst_oid(cell), &watch)) continue;
    for (int i = 0; i < watch.count; i++) {
      const capture::WatchedSource &source = watch.sources[i];
      capture::ResolvedSource resolved;
      if (source.dropped || !source.captured || strcmp(source.source.column, NameStr(attribute->attname)) != 0)
        continue;
      if (!capture::ResolveForSearch(source.source, relation, &resolved)) continue;
      AddWatched(column->search, resolved.path);
      pg::AddText(&sources, source.source.text);
    }
  }
  if (sources.values != nullptr) column->sources = makeArrayResult(sources.values, CurrentMemoryContext);
}

void FindColumns(Relation relation, Reader *reader) {
  TupleDesc columns = RelationGetDescr(relation);
  TableResult *result = reader->result;
  MemoryContext before = MemoryContextSwitchTo(reader->context);
  result->columns = static_cast<SearchedColumn *>(palloc0(sizeof(SearchedColumn) * (columns->natts + 1)));
  reader->print = static_cast<FmgrInfo *>(palloc0(sizeof(FmgrInfo) * (columns->natts + 1)));
  reader->kinds = static_cast<capture::ColumnKind *>(palloc0(sizeof(capture::ColumnKind) * (columns->natts + 1)));
  for (int i = 0; i < columns->natts; i++) {
    Form_pg_attribute column = TupleDescAttr(columns, i);
    if (column->attisdropped || !MayHoldUrls(column->atttypid)) continue;
    int n = result->count++;
    result->columns[n].number = column->attnum;
    reader->kinds[n] = capture::KindOfType(column->atttypid);
    if (reader->kinds[n] == capture::ColumnKind::kUnsupported) {
      Oid function;
      bool varlena;
      getTypeOutputInfo(column->atttypid, &function, &varlena);
      fmgr_info_cxt(function, &reader->print[n], reader->context);
    }
    if (pg::IsVirtualColumn(column)) continue;
    result->columns[n].search = pg::Own<ColumnSearch>(reader->context, *reader->known);
    AddSources(relation, column, &result->columns[n]);
  }
  MemoryContextSwitchTo(before);
}

// --- Its values ------------------------------------------------------------------------------------------------------

std::string_view View(const text *value) { return {VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))}; }

void LookAtText(ColumnSearch *search, std::string_view text) {
  pg::CallCxx([&] { search->LookAtText(text); });
}

void LookAtArray(ColumnSearch *search, ArrayType *array) {
  Datum *elements;
  bool *nulls;
  int count;
  // All kinds of text are stored alike.
  deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &elements, &nulls, &count);
  for (int i = 0; i < count; i++)
    if (!nulls[i]) LookAtText(search, View(DatumGetTextPP(elements[i])));
}

void LookAtJson(ColumnSearch *search, std::string_view json) {
  pg::CallCxx([&] { search->LookAtJson(json); });
}

bool AnyIn(const ColumnSearch &search, Jsonb *document) {
  JsonbIterator *iterator = JsonbIteratorInit(&document->root);
  JsonbIteratorToken token;
  JsonbValue value;
  while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
    if ((token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvString &&
        search.Any({value.val.string.val, static_cast<size_t>(value.val.string.len)}))
      return true;
  return false;
}

void LookAtJsonb(ColumnSearch *search, Jsonb *document) {
  // Printed only where there is something to be told.
  if (!AnyIn(*search, document)) return;
  StringInfoData json;
  initStringInfo(&json);
  (void)JsonbToCString(&json, &document->root, VARSIZE(document));
  LookAtJson(search, {json.data, static_cast<size_t>(json.len)});
}

void LookAtPrinted(ColumnSearch *search, std::string_view text) {
  pg::CallCxx([&] { search->LookAtPrinted(text); });
}

void LookAtValue(Reader *reader, int column, Datum value) {
  ColumnSearch *search = reader->result->columns[column].search;
  switch (reader->kinds[column]) {
    case capture::ColumnKind::kText:
      LookAtText(search, View(DatumGetTextPP(value)));
      break;
    case capture::ColumnKind::kTextArray:
      LookAtArray(search, DatumGetArrayTypeP(value));
      break;
    case capture::ColumnKind::kJson:
      LookAtJson(search, View(DatumGetTextPP(value)));
      break;
    case capture::ColumnKind::kJsonb:
      LookAtJsonb(search, DatumGetJsonbP(value));
      break;
    case capture::ColumnKind::kUnsupported:
      LookAtPrinted(search, OutputFunctionCall(&reader->print[column], value));
      break;
  }
  search->EndRow();
}

// --- Its rows --------------------------------------------------------------------------------------------------------

void LookAtRow(Reader *reader) {
  bool uncommitted;
  if (!worker::AliveSince(reader->snapshot, reader->row, &uncommitted)) return;
  reader->result->rows++;
  MemoryContext before = MemoryContextSwitchTo(reader->row_context);
  for (int i = 0; i < reader->result->count; i++) {
    if (reader->result->columns[i].search == nullptr) continue;
    bool null;
    Datum value = slot_getattr(reader->row, reader->result->columns[i].number, &null);
    if (!null) LookAtValue(reader, i, value);
  }
  MemoryContextSwitchTo(before);
  MemoryContextReset(reader->row_context);
}

void ReadAll(Relation relation, Reader *reader) {
  BlockNumber blocks = RelationGetNumberOfBlocks(relation);
  TableScanDesc scan = pg::BeginScan(relation, SnapshotAny);
  // It may begin anywhere, where another scan of the table is.
  BlockNumber at = InvalidBlockNumber, read = 0;
  while (table_scan_getnextslot(scan, ForwardScanDirection, reader->row)) {
    CHECK_FOR_INTERRUPTS();
    LookAtRow(reader);
    BlockNumber block = ItemPointerGetBlockNumber(&reader->row->tts_tid);
    if (block == at) continue;
    at = block;
    TellProgress(RelationGetRelationName(relation), ++read, blocks);
  }
  table_endscan(scan);
}

void ReadPage(Relation relation, BlockNumber block, BufferAccessStrategy strategy, Reader *reader) {
  Buffer buffer = ReadBufferExtended(relation, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  Page page = BufferGetPage(buffer);
  OffsetNumber most = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);
  UnlockReleaseBuffer(buffer);
  for (OffsetNumber offset = 1; offset <= most; offset++) {
    ItemPointerData tid;
    ItemPointerSet(&tid, block, offset);
    if (table_tuple_fetch_row_version(relation, &tid, SnapshotAny, reader->row)) LookAtRow(reader);
  }
}

// One page at random from each of as many equal parts, and the last page, where new rows often are.
void ReadSample(Relation relation, BlockNumber blocks, Reader *reader) {
  BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
  for (int64 i = 0; i < reader->pages; i++) {
    CHECK_FOR_INTERRUPTS();
    uint64 from = static_cast<uint64>(i) * blocks / reader->pages;
    uint64 to = static_cast<uint64>(i + 1) * blocks / reader->pages;
    uint64 block = i + 1 == reader->pages ? blocks - 1 : pg_prng_uint64_range(&pg_global_prng_state, from, to - 1);
    ReadPage(relation, static_cast<BlockNumber>(block), strategy, reader);
    TellProgress(RelationGetRelationName(relation), i + 1, reader->pages);
  }
  FreeAccessStrategy(strategy);
}

char *WhyNot(Relation relation) {
  char kind = relation->rd_rel->relkind;
  if (kind == RELKIND_FOREIGN_TABLE) return pstrdup("it is a foreign table, whose rows are elsewhere");
  if (kind != RELKIND_RELATION && kind != RELKIND_MATVIEW) return pstrdup("it has no rows of its own");
  if (RELATION_IS_OTHER_TEMP(relation)) return pstrdup("it is a temporary table of another session");
  if (relation->rd_tableam != GetHeapamTableAmRoutine()) return pstrdup("it is not stored as a heap");
  return nullptr;
}

void Read(void *argument) {
  auto *reader = static_cast<Reader *>(argument);
  Relation relation = try_relation_open(reader->relation, NoLock);
  if (relation == nullptr) return;  // dropped meanwhile
  char *why = WhyNot(relation);
  if (why != nullptr) {
    reader->result->problem = MemoryContextStrdup(reader->context, why);
    relation_close(relation, NoLock);
    return;
  }
  FindColumns(relation, reader);
  reader->snapshot = RegisterSnapshot(GetLatestSnapshot());
  reader->row = table_slot_create(relation, nullptr);
  reader->row_context = AllocSetContextCreate(CurrentMemoryContext, "imagekit row", ALLOCSET_DEFAULT_SIZES);
  BlockNumber blocks = RelationGetNumberOfBlocks(relation);
  reader->result->all = reader->pages < 0 || blocks <= reader->pages;
  if (reader->result->all)
    ReadAll(relation, reader);
  else
    ReadSample(relation, blocks, reader);
  ExecDropSingleTupleTableSlot(reader->row);
  MemoryContextDelete(reader->row_context);
  UnregisterSnapshot(reader->snapshot);
  relation_close(relation, NoLock);
}

}  // namespace

void TellProgress(const char *relation, int64 done, int64 all) {
  static TimestampTz said = 0;
  TimestampTz now = GetCurrentTimestamp();
  said = Max(said, GetCurrentStatementStartTimestamp());
  if (TimestampDifferenceMilliseconds(said, now) < kBetweenNotices) return;
  said = now;
  ereport(NOTICE, (errmsg("searched " INT64_FORMAT " of " INT64_FORMAT " %s%s for image URLs", done, Max(done, all),
                          relation == nullptr ? "tables" : "pages of table ", relation == nullptr ? "" : relation)));
}

void SearchRelation(Oid relation, int64 pages, const FileNames *orphans, TableResult *result) {
  *result = {};
  if (!LockInTime(relation)) {
    result->problem = pstrdup("it is locked by another session");
    return;
  }
  Reader reader = {relation, pages,   result, CurrentMemoryContext, KnowPrefixes(orphans), nullptr, nullptr,
                   nullptr,  nullptr, nullptr};
  const ErrorData *error = pg::Attempt(Read, &reader);
  UnlockRelationOid(relation, AccessShareLock);
  if (error == nullptr) return;
  *result = {};
  result->problem = psprintf("it cannot be read: %s", error->message);
}

}  // namespace imagekit::audit

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_search_columns);

// search_columns(relation oid, sample_pages integer) -> TABLE ("column" smallint, server oid, rows_searched bigint, rows_with_urls
// bigint, rows_unseen bigint, rows_unreadable bigint, rows_named bigint, example text, place text, searched text, problem text,
// sources text[], columns smallint[])
Datum imagekit_search_columns(PG_FUNCTION_ARGS) {
  using namespace imagekit;
  using namespace imagekit::audit;
  if (PG_ARGISNULL(0)) return Datum{0};
  int64 pages = PG_ARGISNULL(1) ? -1 : PG_GETARG_INT32(1);
  if (pages == 0 || (pages < 0 && !PG_ARGISNULL(1)))
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("sample_pages must be positive"),
             errdetail("It is how many pages of each table are read at most."), errhint("Use NULL to read all.")));
  InitMaterializedSRF(fcinfo, 0);
  auto *out = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  TableResult result;
  SearchRelation(PG_GETARG_OID(0), pages, OrphansFor(fcinfo->flinfo), &result);
  const char *searched = result.problem != nullptr ? "not searched" : result.all ? "all" : "sample";
  auto *numbers = static_cast<Datum *>(palloc(sizeof(Datum) * (result.count + 1)));
  for (int i = 0; i < result.count; i++) numbers[i] = Int16GetDatum(result.columns[i].number);
  Datum columns = pg::Int2Array(numbers, result.count);
  const auto put = [&](const SearchedColumn *column, Oid server, const int64 *counts, const char *example,
                       const char *place, const char *problem) {
    const auto as_text = [](const char *text) { return text == nullptr ? Datum{0} : CStringGetTextDatum(text); };
    const bool sources = column != nullptr && column->sources != 0;
    Datum values[13] = {Int16GetDatum(column == nullptr ? 0 : column->number),
                        ObjectIdGetDatum(server),
                        Int64GetDatum(result.rows),
                        Int64GetDatum(counts[0]),
                        Int64GetDatum(counts[1]),
                        Int64GetDatum(counts[2]),
                        Int64GetDatum(counts[3]),
                        as_text(example),
                        as_text(place),
                        CStringGetTextDatum(problem == nullptr ? searched : "not searched"),
                        as_text(problem),
                        sources ? column->sources : Datum{0},
                        columns};
    bool nulls[13] = {column == nullptr,
                      false,
                      false,
                      false,
                      false,
                      false,
                      false,
                      example == nullptr,
                      place == nullptr,
                      false,
                      problem == nullptr,
                      !sources,
                      column != nullptr};
    tuplestore_putvalues(out->setResult, out->setDesc, values, nulls);
  };
  const int64 none[4] = {0, 0, 0, 0};
  put(nullptr, InvalidOid, none, nullptr, nullptr, result.problem);
  for (int i = 0; i < result.count; i++) {
    const SearchedColumn &column = result.columns[i];
    if (column.search == nullptr) {
      put(&column, InvalidOid, none, nullptr, nullptr, "its values are computed when they are read");
      continue;
    }
    for (const ColumnFinding &finding : column.search->findings()) {
      const int64 counts[4] = {finding.rows, finding.unseen, finding.unreadable, finding.named};
      const auto text = [](const std::string &bytes) {
        int length =
            pg_encoding_mbcliplen(GetDatabaseEncoding(), bytes.data(), static_cast<int>(bytes.size()), kMaxExample);
        char *copy = pnstrdup(bytes.data(), length);
        // Unescaped as UTF-8, which is not every database's encoding.
        if (!pg_verify_mbstr(GetDatabaseEncoding(), copy, length, true))
          for (char *c = copy; *c != '\0'; c++)
            if (IS_HIGHBIT_SET(*c)) *c = '?';
        return copy;
      };
      put(&column, finding.account == kNoAccount ? InvalidOid : account::AccountServer(finding.account), counts,
          text(finding.example), finding.place.empty() ? nullptr : text(finding.place), nullptr);
    }
  }
  return Datum{0};
}
}
