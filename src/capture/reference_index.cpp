// Which index of ours a table has, lacks, and gets.

#include "capture/reference_index.h"

#include "capture/triggers.h"
#include "pg/sql.h"

namespace imagekit::capture {

namespace {

// What is indexed within the moment that watch() may take, while nobody writes: 16 MB of rows.
constexpr BlockNumber kSmall = 2048;

struct OperatorClass {
  const char *name;
  const char *extract;  // its support function, by which an index of it is known
};

// NULL: values of this kind are not indexed.
const OperatorClass *ClassFor(const ResolvedSource &source) {
  static constexpr OperatorClass kText = {"url_text_ops", "keys_of_text"};
  static constexpr OperatorClass kCharacter = {"url_character_ops", "keys_of_text"};
  static constexpr OperatorClass kArray = {"url_array_ops", "keys_of_array"};
  static constexpr OperatorClass kJson = {"url_json_ops", "keys_of_json"};
  static constexpr OperatorClass kJsonb = {"url_jsonb_ops", "keys_of_jsonb"};
  switch (source.kind) {
    case ColumnKind::kText:
      return getBaseType(source.type) == BPCHAROID ? &kCharacter : &kText;
    case ColumnKind::kTextArray:
      return &kArray;
    case ColumnKind::kJson:
      return &kJson;
    case ColumnKind::kJsonb:
      return &kJsonb;
    case ColumnKind::kUnsupported:
      break;
  }
  return nullptr;
}

Oid ExtractFunction(const OperatorClass *operator_class) {
  Oid arguments[3] = {INTERNALOID, INTERNALOID, INTERNALOID};
  return LookupFuncName(list_make2(makeString(pstrdup("imagekit")), makeString(pstrdup(operator_class->extract))), 3,
                        arguments, true);
}

// The index's column that holds the keys of the heap's column; 0: none.
AttrNumber IndexColumn(Relation index, const ResolvedSource &source) {
  const OperatorClass *operator_class = ClassFor(source);
  if (operator_class == nullptr) return 0;
  Oid extract = ExtractFunction(operator_class);
  for (AttrNumber at = 1; at <= IndexRelationGetNumberOfKeyAttributes(index); at++)
    if (index->rd_index->indkey.values[at - 1] == source.column &&
        index_getprocid(index, at, GIN_EXTRACTVALUE_PROC) == extract)
      return at;
  return 0;
}

bool IsOurs(Relation index) {
  if (index->rd_rel->relam != GIN_AM_OID) return false;
  Oid schema = get_namespace_oid("imagekit", true);
  return OidIsValid(schema) && get_func_namespace(index_getprocid(index, 1, GIN_EXTRACTVALUE_PROC)) == schema;
}

// Complete for every version of a row that a snapshot taken now shows?
bool IsComplete(Relation index) {
  const FormData_pg_index &form = *index->rd_index;
  bool partial = !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, nullptr);
  return form.indisvalid && form.indisready && form.indislive && !partial &&
         (!form.indcheckxmin ||
          TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin));
}

// Calls `take` for each index of the heap's that can be opened without waiting, until it says that it has enough.
template <typename Take>
void ForEachIndex(Relation heap, Take take) {
  ListCell *cell;
  foreach (cell, RelationGetIndexList(heap)) {
    if (!ConditionalLockRelationOid(lfirst_oid(cell), AccessShareLock)) continue;
    Relation index = try_relation_open(lfirst_oid(cell), NoLock);
    bool enough = index != nullptr && IsOurs(index) && take(index);
    if (index != nullptr) relation_close(index, NoLock);
    UnlockRelationOid(lfirst_oid(cell), AccessShareLock);
    if (enough) return;
  }
}

// The sources of a heap that an index can help with.
ResolvedSource *Indexable(const Watch &watch, Relation heap, int *count) {
  auto *sources = static_cast<ResolvedSource *>(palloc(sizeof(ResolvedSource) * (watch.count + 1)));
  *count = 0;
  for (int i = 0; i < watch.count; i++) {
    ResolvedSource *source = &sources[*count];
    if (!watch.sources[i].dropped && ResolveForSearch(watch.sources[i].source, heap, source) &&
        ClassFor(*source) != nullptr)
      ++*count;
  }
  return sources;
}

// "gin (images imagekit.url_array_ops, ...) WITH ..."; each column once. What was written lately waits in a list that every
// search reads: as short as it may be.
char *Definition(Relation heap, const ResolvedSource *sources, int count) {
  StringInfoData list;
  initStringInfo(&list);
  Bitmapset *named = nullptr;
  for (int i = 0; i < count; i++) {
    if (bms_is_member(sources[i].column, named)) continue;
    named = bms_add_member(named, sources[i].column);
    appendStringInfo(&list, "%s%s imagekit.%s", list.len > 0 ? ", " : "",
                     quote_identifier(get_attname(RelationGetRelid(heap), sources[i].column, false)),
                     ClassFor(sources[i])->name);
  }
  return psprintf("gin (%s) WITH (gin_pending_list_limit = 64)", list.data);
}

bool Lacks(Relation heap, const ResolvedSource *sources, int count) {
  return count > 0 && !OidIsValid(FindReferenceIndex(heap, sources, count).index);
}

// Calls `take` for each table below a watched one that has rows of its own and lacks its index.
template <typename Take>
void ForEachLacking(const Watch &watch, Take take) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(watch.relation, NoLock, nullptr)) {
    Relation heap = try_relation_open(lfirst_oid(cell), AccessShareLock);
    if (heap == nullptr) continue;
    int count;
    bool ours = heap->rd_rel->relkind == RELKIND_RELATION && heap->rd_rel->relpersistence != RELPERSISTENCE_TEMP;
    const ResolvedSource *sources = ours ? Indexable(watch, heap, &count) : nullptr;
    if (ours && Lacks(heap, sources, count)) take(heap, Definition(heap, sources, count));
    relation_close(heap, NoLock);
  }
}

char *Statement(Relation table, const char *definition) {
  return psprintf("CREATE INDEX ON %s USING %s", QualifiedName(RelationGetRelid(table)), definition);
}

void AppendStatement(StringInfo statements, Relation heap, const char *definition) {
  appendStringInfo(statements, "%sCREATE INDEX CONCURRENTLY ON %s USING %s;", statements->len > 0 ? "\n" : "",
                   QualifiedName(RelationGetRelid(heap)), definition);
}

// Drops those of our indexes of a table and all below it that `is_in_the_way`; true when there were any.
template <typename Judge>
bool DropIndexes(Oid relation, Judge is_in_the_way) {
  List *indexes = NIL;
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, NoLock, nullptr)) {
    Relation table = try_relation_open(lfirst_oid(cell), AccessShareLock);
    if (table == nullptr) continue;
    // Those of a partitioned table take their partitions' along.
    ForEachIndex(table, [&](Relation index) {
      if (!index->rd_rel->relispartition && is_in_the_way(table, index))
        indexes = lappend_oid(indexes, RelationGetRelid(index));
      return false;
    });
    relation_close(table, NoLock);
  }
  foreach (cell, indexes) pg::RunSql(psprintf("DROP INDEX %s", QualifiedName(lfirst_oid(cell))), SPI_OK_UTILITY);
  return indexes != NIL;
}

// Of sources that were watched before: nobody would ask it, and all who write rows would pay for it.
void DropOutdated(const Watch &watch) {
  (void)DropIndexes(watch.relation, [&](Relation table, Relation index) {
    int count;
    const ResolvedSource *sources = Indexable(watch, table, &count);
    for (int i = 0; i < count; i++)
      if (IndexColumn(index, sources[i]) == 0) return true;
    return false;
  });
}

}  // namespace

ReferenceIndex FindReferenceIndex(Relation heap, const ResolvedSource *sources, int count) {
  ReferenceIndex result = {InvalidOid, static_cast<AttrNumber *>(palloc(sizeof(AttrNumber) * (count + 1)))};
  ForEachIndex(heap, [&](Relation index) {
    if (!IsComplete(index)) return false;
    for (int i = 0; i < count; i++) {
      result.columns[i] = IndexColumn(index, sources[i]);
      if (result.columns[i] == 0) return false;
    }
    result.index = RelationGetRelid(index);
    return true;
  });
  return result;
}

char *MakeReferenceIndexes(const Watch &watch) {
  DropOutdated(watch);
  StringInfoData others;
  initStringInfo(&others);
  List *statements = NIL;
  BlockNumber blocks = 0;
  ForEachLacking(watch, [&](Relation heap, const char *definition) {
    BlockNumber own = RelationGetNumberOfBlocks(heap);
    blocks += own;
    if (own > kSmall)
      AppendStatement(&others, heap, definition);
    else
      statements = lappend(statements, Statement(heap, definition));
  });
  // On the whole of a partitioned table future partitions have it as well; what partitions have already becomes part of it.
  if (statements != NIL && blocks <= kSmall && get_rel_relkind(watch.relation) == RELKIND_PARTITIONED_TABLE) {
    Relation root = relation_open(watch.relation, AccessShareLock);
    int count;
    const ResolvedSource *sources = Indexable(watch, root, &count);
    statements = list_make1(Statement(root, Definition(root, sources, count)));
    relation_close(root, NoLock);
  }
  ListCell *cell;
  foreach (cell, statements) pg::RunSql(static_cast<char *>(lfirst(cell)), SPI_OK_UTILITY);
  return others.len > 0 ? others.data : nullptr;
}

bool DropReferenceIndexes(Oid relation) {
  return DropIndexes(relation, [](Relation, Relation) { return true; });
}

char *MissingReferenceIndexes(const Watch &watch) {
  StringInfoData statements;
  initStringInfo(&statements);
  ForEachLacking(watch, [&](Relation heap, const char *definition) { AppendStatement(&statements, heap, definition); });
  return statements.len > 0 ? statements.data : nullptr;
}

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_missing_index);

// missing_index(relation regclass) -> text
Datum imagekit_missing_index(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  Watch watch;
  if (!ReadWatch(PG_GETARG_OID(0), &watch)) PG_RETURN_NULL();
  char *statements = MissingReferenceIndexes(watch);
  if (statements == nullptr) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(statements));
}
}
