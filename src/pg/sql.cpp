// SPI with the extension owner's rights and a pinned search_path.

#include "pg/sql.h"

namespace imagekit::pg {

namespace {

// pg_extension has no syscache on the versions we build for.
Oid ReadExtensionOwner() {
  Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("imagekit_cleanup"));
  SysScanDesc scan = systable_beginscan(extensions, ExtensionNameIndexId, true, nullptr, 1, &key);
  HeapTuple tuple = systable_getnext(scan);
  Oid owner = HeapTupleIsValid(tuple) ? reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple))->extowner : InvalidOid;
  systable_endscan(scan);
  table_close(extensions, AccessShareLock);
  return owner;
}

constexpr const char *kForLittle[][2] = {{"max_parallel_workers_per_gather", "0"}, {"jit", "off"}};

// Until CloseSql().
void Set(const char *name, const char *value) {
  (void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

}  // namespace

Oid ExtensionOwner() {
  Oid owner = ReadExtensionOwner();
  if (!OidIsValid(owner))
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("extension \"imagekit_cleanup\" is not installed in this database"),
                    errhint("Run CREATE EXTENSION imagekit_cleanup.")));
  return owner;
}

bool HoldExtension() {
  Oid extension = get_extension_oid("imagekit_cleanup", true);
  if (!OidIsValid(extension)) return false;
  LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
  // Dropped, and perhaps made anew, while we waited?
  return get_extension_oid("imagekit_cleanup", true) == extension;
}

Oid ExtensionTable(const char *name) {
  Oid schema = get_namespace_oid("imagekit", true);
  return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

void OpenSql(SqlSession *session) {
  Oid owner = ExtensionOwner();
  GetUserIdAndSecContext(&session->saved_role, &session->saved_context);
  SetUserIdAndSecContext(owner, session->saved_context | SECURITY_LOCAL_USERID_CHANGE);
  session->settings_level = NewGUCNestLevel();
  Set("search_path", "pg_catalog, pg_temp");
  Set("gin_fuzzy_search_limit", "0");  // GIN must not leave anything out at random
  if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
}

void WriteAlike() {
  static constexpr const char *kSettings[][2] = {{"datestyle", "ISO"},    {"intervalstyle", "postgres"},
                                                 {"timezone", "UTC"},     {"extra_float_digits", "1"},
                                                 {"bytea_output", "hex"}, {"lc_monetary", "C"}};
  for (const auto &setting : kSettings) Set(setting[0], setting[1]);
}

void PlanForLittle() {
  for (const auto &setting : kForLittle) Set(setting[0], setting[1]);
}

void AlwaysPlanForLittle() {
  for (const auto &setting : kForLittle) SetConfigOption(setting[0], setting[1], PGC_SUSET, PGC_S_OVERRIDE);
}

void CloseSql(SqlSession *session) {
  SPI_finish();
  AtEOXact_GUC(true, session->settings_level);
  SetUserIdAndSecContext(session->saved_role, session->saved_context);
}

uint64 RunSql(const char *sql, int expected, const Param *params, int count, long limit) {
  constexpr int kMost = 16;
  Oid types[kMost];
  Datum values[kMost];
  char nulls[kMost] = {};
  Assert(count <= kMost);
  for (int i = 0; i < count; i++) {
    types[i] = params[i].type;
    values[i] = params[i].value;
    nulls[i] = params[i].null ? 'n' : ' ';
  }
  int result = SPI_execute_with_args(sql, count, types, values, nulls, false, limit);
  if (result != expected) elog(ERROR, "unexpected result %s of \"%s\"", SPI_result_code_string(result), sql);
  return SPI_processed;
}

Datum Field(uint64 row, int column, bool *null) {
  return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, null);
}

char *FieldText(uint64 row, int column, MemoryContext context) {
  char *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
  return text == nullptr ? nullptr : MemoryContextStrdup(context, text);
}

Datum TextArray(const char *const *texts, int count) {
  auto *values = static_cast<Datum *>(palloc(sizeof(Datum) * (count + 1)));
  auto *nulls = static_cast<bool *>(palloc(sizeof(bool) * (count + 1)));
  for (int i = 0; i < count; i++) {
    nulls[i] = texts[i] == nullptr;
    values[i] = nulls[i] ? 0 : CStringGetTextDatum(texts[i]);
  }
  int dimensions[1] = {count};
  int lower_bounds[1] = {1};
  return PointerGetDatum(
      construct_md_array(values, nulls, 1, dimensions, lower_bounds, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum Int2Array(Datum *numbers, int count) {
  return PointerGetDatum(construct_array(numbers, count, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
}

void Add(Column *column, Datum value, bool null) {
  if (column->values == nullptr) column->values = initArrayResult(column->type, CurrentMemoryContext, false);
  (void)accumArrayResult(column->values, value, null, column->type, CurrentMemoryContext);
}

void AddText(Column *column, const char *text) {
  Add(column, text == nullptr ? 0 : CStringGetTextDatum(text), text == nullptr);
}

Param AsParam(const Column &column, Oid array_type) {
  if (column.values == nullptr) return {array_type, PointerGetDatum(construct_empty_array(column.type))};
  return {array_type, makeArrayResult(column.values, CurrentMemoryContext)};
}

}  // namespace imagekit::pg
