// Reads imagekit.watch_config and imagekit.watch_columns as catalogs are read: no SQL, no privilege, a fresh snapshot.

#include "capture/watch_config.h"

#include "pg/sql.h"

namespace imagekit::capture {

namespace {

// Columns by position, as in sql/extension/15_watched_tables.sql.
namespace config {
enum { kRelation = 1, kSources, kOwner, kGrace, kOnTruncate, kReplication, kSince, kHoldAbove, kHoldFraction };
}
namespace columns {
enum { kRelation = 1, kColumns, kOwner };
}

// Calls `take` for the rows of one of our tables, those of one relation or all (0), until it says that it has enough.
template <typename Take>
void ForEachRow(const char *table, Oid relation, Take take) {
  Oid oid = pg::ExtensionTable(table);
  if (!OidIsValid(oid)) return;
  Relation open = table_open(oid, AccessShareLock);
  ScanKeyData key;
  ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
  SysScanDesc scan = systable_beginscan(open, InvalidOid, false, nullptr, OidIsValid(relation) ? 1 : 0, &key);
  HeapTuple row;
  while (HeapTupleIsValid(row = systable_getnext(scan)))
    if (take(row, RelationGetDescr(open))) break;
  systable_endscan(scan);
  table_close(open, AccessShareLock);
}

// The row of one relation, copied; NULL when there is none.
HeapTuple FindRow(const char *table, Oid relation, TupleDesc *shape) {
  HeapTuple copy = nullptr;
  ForEachRow(table, relation, [&](HeapTuple row, TupleDesc columns) {
    copy = heap_copytuple(row);
    *shape = CreateTupleDescCopy(columns);
    return true;
  });
  return copy;
}

Datum Get(HeapTuple row, int column, TupleDesc shape, bool *null) { return heap_getattr(row, column, shape, null); }

char *GetText(HeapTuple row, int column, TupleDesc shape) {
  bool null;
  Datum value = Get(row, column, shape, &null);
  return null ? nullptr : TextDatumGetCString(value);
}

void ReadSources(HeapTuple row, TupleDesc shape, Watch *watch) {
  bool null;
  Datum *texts;
  deconstruct_array(DatumGetArrayTypeP(Get(row, config::kSources, shape, &null)), TEXTOID, -1, false, TYPALIGN_INT,
                    &texts, nullptr, &watch->count);
  watch->sources = static_cast<WatchedSource *>(palloc0(sizeof(WatchedSource) * (watch->count + 1)));
  for (int i = 0; i < watch->count; i++) {
    watch->sources[i].source = ParseSource(TextDatumGetCString(texts[i]));
    watch->sources[i].captured = true;
  }
}

void ReadSettings(HeapTuple row, TupleDesc shape, Watch *watch) {
  bool null;
  Datum grace = Get(row, config::kGrace, shape, &null);
  if (!null) {
    watch->grace = static_cast<Interval *>(palloc(sizeof(Interval)));
    *watch->grace = *DatumGetIntervalP(grace);
  }
  const char *on_truncate = GetText(row, config::kOnTruncate, shape);
  watch->on_truncate = strcmp(on_truncate, "deny") == 0     ? OnTruncate::kDeny
                       : strcmp(on_truncate, "ignore") == 0 ? OnTruncate::kIgnore
                                                            : OnTruncate::kCapture;
  const char *replication = GetText(row, config::kReplication, shape);
  watch->replication = strcmp(replication, "always") == 0    ? TRIGGER_FIRES_ALWAYS
                       : strcmp(replication, "replica") == 0 ? TRIGGER_FIRES_ON_REPLICA
                                                             : TRIGGER_FIRES_ON_ORIGIN;
  watch->since = DatumGetTimestampTz(Get(row, config::kSince, shape, &null));
  Datum hold_above = Get(row, config::kHoldAbove, shape, &null);
  watch->hold_above = null ? -1 : DatumGetInt32(hold_above);
  Datum hold_fraction = Get(row, config::kHoldFraction, shape, &null);
  watch->hold_fraction = null ? -1 : DatumGetFloat8(hold_fraction);
  watch->owner = GetText(row, config::kOwner, shape);
}

// A column's present name in place of *name. False when the column has been dropped.
bool Rename(Oid relation, AttrNumber number, char **name, bool *renamed) {
  if (*name == nullptr || number == 0) return true;
  HeapTuple column = SearchSysCacheAttNum(relation, number);
  if (!HeapTupleIsValid(column)) return false;
  const char *now = NameStr(reinterpret_cast<Form_pg_attribute>(GETSTRUCT(column))->attname);
  if (strcmp(now, *name) != 0) {
    *renamed = true;
    *name = pstrdup(now);
  }
  ReleaseSysCache(column);
  return true;
}

void ApplyNumbers(HeapTuple row, TupleDesc shape, Watch *watch) {
  bool null;
  Datum *numbers;
  int count;
  deconstruct_array(DatumGetArrayTypeP(Get(row, columns::kColumns, shape, &null)), INT2OID, sizeof(int16), true,
                    TYPALIGN_SHORT, &numbers, nullptr, &count);
  // Written together with the sources; if not, somebody has edited one of the tables, and names are all there is.
  watch->numbered = count == 2 * watch->count;
  if (!watch->numbered) return;
  for (int i = 0; i < watch->count; i++) {
    WatchedSource *entry = &watch->sources[i];
    AttrNumber column = DatumGetInt16(numbers[2 * i]);
    entry->captured = column > 0;  // negative: not captured
    entry->dropped =
        !Rename(watch->relation, static_cast<AttrNumber>(abs(column)), &entry->source.column, &entry->renamed) ||
        !Rename(watch->relation, DatumGetInt16(numbers[2 * i + 1]), &entry->source.file_id_column, &entry->renamed);
  }
  AttrNumber owner = DatumGetInt16(Get(row, columns::kOwner, shape, &null));
  if (!null) watch->owner_dropped = !Rename(watch->relation, owner, &watch->owner, &watch->owner_renamed);
}

}  // namespace

bool ReadWatch(Oid relation, Watch *watch) {
  *watch = Watch{};
  watch->relation = relation;
  TupleDesc shape;
  HeapTuple row = FindRow("watch_config", relation, &shape);
  if (row == nullptr) return false;
  ReadSources(row, shape, watch);
  ReadSettings(row, shape, watch);
  row = FindRow("watch_columns", relation, &shape);
  if (row != nullptr) ApplyNumbers(row, shape, watch);
  return true;
}

bool AnySettings() {
  bool any = false;
  ForEachRow("watch_config", InvalidOid, [&](HeapTuple, TupleDesc) { return any = true; });
  return any;
}

List *WatchedTables() {
  List *tables = NIL;
  ForEachRow("watch_config", InvalidOid, [&](HeapTuple row, TupleDesc shape) {
    bool null;
    Oid table = DatumGetObjectId(Get(row, config::kRelation, shape, &null));
    // A row can outlive its table: dropped while event triggers were off, or in a snapshot older than the row.
    if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(table))) tables = lappend_oid(tables, table);
    return false;
  });
  return tables;
}

List *WatchedAbove(Oid relation) {
  List *watched = WatchedTables();
  List *above = list_make1_oid(relation);
  List *found = NIL;
  Relation inherits = table_open(InheritsRelationId, AccessShareLock);
  for (int i = 0; i < list_length(above); i++) {
    Oid at = list_nth_oid(above, i);
    if (list_member_oid(watched, at)) found = lappend_oid(found, at);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(at));
    SysScanDesc scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, nullptr, 1, &key);
    HeapTuple row;
    while (HeapTupleIsValid(row = systable_getnext(scan)))
      above = list_append_unique_oid(above, reinterpret_cast<Form_pg_inherits>(GETSTRUCT(row))->inhparent);
    systable_endscan(scan);
  }
  table_close(inherits, AccessShareLock);
  return found;
}

}  // namespace imagekit::capture
