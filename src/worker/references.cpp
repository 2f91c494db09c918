// Step 3: the proof, just before the call, that no watched row uses the file any more.
//
// Asked of every source of every watched table. The database narrows by imagekit.url_key(), which all spellings of one
// file share; which of the URLs found mean the very same library path is decided by the same reading that the drain uses.

#include <set>
#include <string>
#include <utility>

#include "account/account.h"
#include "capture/source.h"
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

// The keys of the files in question, each once.
Datum KeysOf(const Batch &batch) {
  auto *keys = pg::Own<std::set<std::string>>(CurrentMemoryContext);
  pg::CallCxx([&] {
    for (int i = 0; i < batch.count; i++)
      if (Open(batch.files[i])) keys->insert(UrlKey(batch.files[i].url));
  });
  auto **texts = static_cast<const char **>(palloc(sizeof(char *) * (keys->size() + 1)));
  int count = 0;
  for (const std::string &key : *keys) texts[count++] = key.c_str();
  return pg::TextArray(texts, count);
}

// The index of the open file that `url` means; -1 when it means none of them.
int FileMeant(const Batch &batch, const EndpointMap &endpoints, const char *url) {
  return pg::CallCxx([&] {
    UrlReading reading = endpoints.Read(url);
    if (reading.kind != UrlClass::kLibraryFile) return -1;
    for (int i = 0; i < batch.count; i++) {
      const UrlReading &ours = (*batch.readings)[static_cast<size_t>(i)];
      if (Open(batch.files[i]) && ours.account == reading.account && ours.path == reading.path) return i;
    }
    return -1;
  });
}

void KeepReferencedBy(Batch *batch, const WatchedTable &table, const char *source_text, Datum keys) {
  // The table may have been dropped or changed since watch_config was read.
  Relation relation = try_relation_open(table.relation, AccessShareLock);
  if (relation == nullptr) return;
  // Reading anything but a table could run its owner's code with our rights.
  if (relation->rd_rel->relkind != RELKIND_RELATION && relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("it is no table any more")));
  capture::Source source = capture::ParseSource(source_text);
  capture::ResolvedSource resolved;
  // A column that cannot be found may have been renamed, and still hold the URL: no proof, no deletion.
  (void)capture::ResolveSource(source, relation, ERROR, &resolved);
  char *table_name =
      quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)), RelationGetRelationName(relation));
  char *sql = psprintf(
      "SELECT DISTINCT u.url COLLATE \"C\" FROM %s AS t "
      "CROSS JOIN LATERAL pg_catalog.unnest(imagekit.urls_in(t.%s, %s)) AS u(url) "
      "WHERE imagekit.url_key(u.url) OPERATOR(pg_catalog.=) ANY ($1)",
      table_name, quote_identifier(source.column), quote_literal_cstr(capture::FormatPath(resolved.path)));
  uint64 found = pg::RunSql(sql, SPI_OK_SELECT, {{TEXTARRAYOID, keys}});
  const EndpointMap *endpoints = account::Endpoints();
  for (uint64 row = 0; row < found; row++) {
    char *url = pg::FieldText(row, 1, CurrentMemoryContext);
    int index = FileMeant(*batch, *endpoints, url);
    if (index >= 0)
      Decide(batch, &batch->files[index], Fate::kKept,
             psprintf("still used by %s, source %s", table_name, source_text));
    pfree(url);
  }
  SPI_freetuptable(SPI_tuptable);
  relation_close(relation, NoLock);
}

// Each table is asked in a subtransaction: one that cannot be read must not stop the drain for the others' sake. The
// files stay undeleted, for without its answer there is no proof.
void AskTable(Batch *batch, const WatchedTable &table, Datum keys) {
  MemoryContext context = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  ErrorData *volatile error = nullptr;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(context);
  PG_TRY();
  {
    (void)set_config_option("lock_timeout", "2s", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    for (int i = 0; i < table.count; i++) KeepReferencedBy(batch, table, table.sources[i], keys);
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
  char *why = psprintf("cannot tell whether table %s still uses it: %s", name, error->message);
  ereport(WARNING,
          (errcode(error->sqlerrcode), errmsg("imagekit_cleanup cannot search watched table \"%s\"", name),
           errdetail("%s", error->message),
           errhint("Nothing is deleted until it can be searched. Call imagekit.watch() again with its sources as "
                   "they are now, or imagekit.unwatch().")));
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
  Datum keys = KeysOf(*batch);
  int count;
  WatchedTable *tables = ReadWatchedTables(&count);
  for (int i = 0; i < count && AnyOpen(*batch); i++) AskTable(batch, tables[i], keys);
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
}

}  // namespace imagekit::worker
