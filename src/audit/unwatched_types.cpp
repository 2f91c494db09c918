// Which types can hold a URL, and with which sources a column is watched.

#include "audit/unwatched.h"
#include "capture/watch_config.h"
#include "pg/sql.h"

namespace imagekit::audit {

namespace {

// Types that come with the server and print no text of anybody's. All others are searched, whatever category their creator
// gave them.
bool PrintsNoText(Oid type) {
  switch (type) {
    case UUIDOID:
    case BYTEAOID:
    case CHAROID:
    case XIDOID:
    case XID8OID:
    case CIDOID:
    case TIDOID:
    case PG_LSNOID:
    case PG_SNAPSHOTOID:
    case INT2VECTOROID:
    case OIDVECTOROID:
      return true;
    default:
      break;
  }
  if (type >= FirstUnpinnedObjectId) return false;
  char category;
  bool preferred;
  get_type_category_preferred(type, &category, &preferred);
  return strchr("BDGINTV", category) != nullptr;  // boolean, date, geometric, network, numeric, time span, bits
}

// Types contain types; check_stack_depth() has an eye on it.
// NOLINTNEXTLINE(misc-no-recursion)
bool AnyAttributeMayHoldUrls(Oid type) {
  TupleDesc columns = lookup_rowtype_tupdesc_copy(type, -1);
  bool any = false;
  for (int i = 0; i < columns->natts && !any; i++) {
    Form_pg_attribute column = TupleDescAttr(columns, i);
    any = !column->attisdropped && MayHoldUrls(column->atttypid);
  }
  FreeTupleDesc(columns);
  return any;
}

}  // namespace

// NOLINTNEXTLINE(misc-no-recursion)
bool MayHoldUrls(Oid type) {
  check_stack_depth();
  type = getBaseType(type);
  Oid element = get_element_type(type);
  if (OidIsValid(element)) return MayHoldUrls(element);
  switch (get_typtype(type)) {
    case TYPTYPE_COMPOSITE:
      return AnyAttributeMayHoldUrls(type);
    case TYPTYPE_RANGE:
      return MayHoldUrls(get_range_subtype(type));
    case TYPTYPE_MULTIRANGE:
      return MayHoldUrls(get_multirange_range(type));
    default:
      return !PrintsNoText(type);
  }
}

}  // namespace imagekit::audit

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_may_hold_urls);
IMAGEKIT_SQL_FUNCTION(imagekit_can_watch);
IMAGEKIT_SQL_FUNCTION(imagekit_sources_of);

// may_hold_urls(type oid) -> boolean
Datum imagekit_may_hold_urls(PG_FUNCTION_ARGS) {
  Oid type = PG_GETARG_OID(0);
  if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type))) PG_RETURN_NULL();
  PG_RETURN_BOOL(imagekit::audit::MayHoldUrls(type));
}

// can_watch(type oid) -> boolean
Datum imagekit_can_watch(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  PG_RETURN_BOOL(KindOfType(PG_GETARG_OID(0)) != ColumnKind::kUnsupported);
}

// sources_of(relation oid, column name) -> (watched oid, whole boolean, sources text[])
Datum imagekit_sources_of(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  namespace pg = imagekit::pg;
  TupleDesc shape;
  if (get_call_result_type(fcinfo, nullptr, &shape) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  const char *column = NameStr(*PG_GETARG_NAME(1));
  Oid watched = InvalidOid;
  bool whole = false;
  pg::Column sources = {TEXTOID, nullptr};
  ListCell *cell;
  foreach (cell, WatchedAbove(PG_GETARG_OID(0))) {
    Watch watch;
    if (!ReadWatch(lfirst_oid(cell), &watch)) continue;
    if (!OidIsValid(watched)) watched = lfirst_oid(cell);
    for (int i = 0; i < watch.count; i++) {
      const WatchedSource &source = watch.sources[i];
      if (source.dropped || !source.captured || strcmp(source.source.column, column) != 0) continue;
      const SourcePath &path = source.source.path;
      // "images[*]" of an array of texts is all of it.
      Oid type = get_atttype(lfirst_oid(cell), get_attnum(lfirst_oid(cell), column));
      bool elements = path.steps == 1 && path.step[0].key == nullptr && OidIsValid(type) &&
                      KindOfType(type) == ColumnKind::kTextArray;
      whole |= path.steps == 0 || elements;
      pg::AddText(&sources, source.source.text);
    }
  }
  Datum values[3] = {ObjectIdGetDatum(watched), BoolGetDatum(whole),
                     sources.values == nullptr ? Datum{0} : makeArrayResult(sources.values, CurrentMemoryContext)};
  bool nulls[3] = {!OidIsValid(watched), false, sources.values == nullptr};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(shape), values, nulls)));
}
}
