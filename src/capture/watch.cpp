// imagekit.watch() and unwatch(): checks the sources, creates the triggers, remembers the settings.
//
// The caller must own the table; the triggers and the settings are then made with the extension owner's rights, so that
// nobody needs a privilege on schema imagekit beyond these functions.

#include "account/options.h"
#include "capture/source.h"
#include "pg/sql.h"

namespace imagekit::capture {

namespace {

constexpr char kRowTrigger[] = "imagekit_capture";
constexpr char kTruncateTrigger[] = "imagekit_capture_truncate";
constexpr const char *kTriggers[] = {kRowTrigger, kTruncateTrigger};

char *QualifiedName(Relation relation) {
  return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
                                    RelationGetRelationName(relation));
}

// Locks as CREATE TRIGGER will, so that nothing changes between the checks and the trigger.
Relation OpenOwnTable(Oid oid) {
  Relation relation = try_relation_open(oid, ShareRowExclusiveLock);
  if (relation == nullptr)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table with oid %u does not exist", oid)));
  char kind = relation->rd_rel->relkind;
  if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
    ereport(ERROR,
            (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a table", RelationGetRelationName(relation)),
             errdetail("Only tables and partitioned tables have rows of their own to watch."),
             errhint("Watch the table that holds the rows.")));
  if (!pg::OwnsRelation(oid, GetUserId()))
    aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(relation));
  if (IsCatalogRelation(relation) || relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("table \"%s\" cannot be watched", RelationGetRelationName(relation)),
                    errdetail("The worker cannot read temporary tables, and system catalogs have no triggers.")));
  return relation;
}

bool HasTrigger(Relation relation, const char *name) {
  for (int i = 0; relation->trigdesc != nullptr && i < relation->trigdesc->numtriggers; i++)
    if (strcmp(relation->trigdesc->triggers[i].tgname, name) == 0) return true;
  return false;
}

void DropTriggers(Relation relation) {
  for (const char *name : kTriggers)
    if (HasTrigger(relation, name))
      pg::RunSql(psprintf("DROP TRIGGER %s ON %s", name, QualifiedName(relation)), SPI_OK_UTILITY);
}

void CreateTriggers(Relation relation, char **sources, int count, const char *on_truncate) {
  StringInfoData arguments;
  initStringInfo(&arguments);
  for (int i = 0; i < count; i++)
    appendStringInfo(&arguments, "%s%s", i > 0 ? ", " : "", quote_literal_cstr(sources[i]));
  pg::RunSql(
      psprintf("CREATE TRIGGER %s AFTER DELETE OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION imagekit.capture(%s)",
               kRowTrigger, QualifiedName(relation), arguments.data),
      SPI_OK_UTILITY);
  if (strcmp(on_truncate, "ignore") != 0)
    pg::RunSql(psprintf("CREATE TRIGGER %s BEFORE TRUNCATE ON %s FOR EACH STATEMENT "
                        "EXECUTE FUNCTION imagekit.capture_truncate(%s, %s)",
                        kTruncateTrigger, QualifiedName(relation), quote_literal_cstr(on_truncate), arguments.data),
               SPI_OK_UTILITY);
}

constexpr char kRemember[] =
    "INSERT INTO imagekit.watch_config (relation, sources, owner, grace, on_truncate) "
    "VALUES ($1::pg_catalog.regclass, $2, $3, $4, $5) "
    "ON CONFLICT (relation) DO UPDATE SET sources = excluded.sources, owner = excluded.owner, "
    "grace = excluded.grace, on_truncate = excluded.on_truncate";

constexpr char kForget[] =
    "DELETE FROM imagekit.watch_config WHERE relation OPERATOR(pg_catalog.=) $1::pg_catalog.regclass";

[[noreturn]] void RejectArgument(const char *message, const char *detail, const char *hint) {
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message), errdetail("%s", detail),
                  errhint("%s", hint)));
  pg_unreachable();
}

// The sources as C strings, each checked against the table.
char **CheckedSources(ArrayType *array, Relation relation, int *count) {
  Datum *elements;
  bool *nulls;
  deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, count);
  if (*count == 0)
    RejectArgument("no source is given", "Nothing of the table would be watched.",
                   "Name the columns that hold image URLs, like '{images, schema.imageUrl}'.");
  auto **sources = static_cast<char **>(palloc(sizeof(char *) * *count));
  for (int i = 0; i < *count; i++) {
    if (nulls[i])
      RejectArgument("a source is NULL", "A source is the name of a column, or a path in it.", "Leave it out.");
    sources[i] = TextDatumGetCString(elements[i]);
    ResolvedSource ignored;
    (void)ResolveSource(ParseSource(sources[i]), relation, ERROR, &ignored);
  }
  return sources;
}

}  // namespace

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_watch);
IMAGEKIT_SQL_FUNCTION(imagekit_unwatch);

// watch(relation regclass, sources text[], owner text, grace interval, on_truncate text) -> void
Datum imagekit_watch(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  namespace pg = imagekit::pg;
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
    RejectArgument("relation and sources must not be NULL", "They say which rows are watched, and where in them.",
                   "Call imagekit.watch('patches', '{images, schema.imageUrl}').");
  Relation relation = OpenOwnTable(PG_GETARG_OID(0));
  int count;
  char **sources = CheckedSources(PG_GETARG_ARRAYTYPE_P(1), relation, &count);
  char *owner = PG_ARGISNULL(2) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(2));
  if (owner != nullptr && get_attnum(RelationGetRelid(relation), owner) == InvalidAttrNumber)
    ereport(ERROR,
            (errcode(ERRCODE_UNDEFINED_COLUMN),
             errmsg("owner column \"%s\" does not exist in table \"%s\"", owner, RelationGetRelationName(relation)),
             errhint("Name the column that says whose row it is, or leave owner out.")));
  if (!PG_ARGISNULL(3)) {
    Interval *grace = PG_GETARG_INTERVAL_P(3);
    if (grace->time < 0 || grace->day < 0 || grace->month < 0)
      RejectArgument("grace must not be negative", "It is how long a URL waits before it is deleted.",
                     "Use '0' for no wait.");
    if (imagekit::account::IsTooLong(*grace))
      RejectArgument("grace must not be longer than ten years", "It is how long a URL waits before it is deleted.",
                     "To keep files for ever, do not watch the table, or protect their path.");
  }
  char *on_truncate = PG_ARGISNULL(4) ? pstrdup("capture") : text_to_cstring(PG_GETARG_TEXT_PP(4));
  if (strcmp(on_truncate, "capture") != 0 && strcmp(on_truncate, "deny") != 0 && strcmp(on_truncate, "ignore") != 0)
    RejectArgument(psprintf("invalid on_truncate \"%s\"", on_truncate), "TRUNCATE can be captured, denied or ignored.",
                   "Use 'capture', 'deny' or 'ignore'.");

  pg::SqlSession session;
  pg::OpenSql(&session);
  DropTriggers(relation);
  CreateTriggers(relation, sources, count, on_truncate);
  pg::RunSql(kRemember, SPI_OK_INSERT,
             {{OIDOID, PG_GETARG_DATUM(0)},
              {TEXTARRAYOID, PG_GETARG_DATUM(1)},
              {TEXTOID, PG_GETARG_DATUM(2), PG_ARGISNULL(2)},
              {INTERVALOID, PG_GETARG_DATUM(3), PG_ARGISNULL(3)},
              {TEXTOID, CStringGetTextDatum(on_truncate)}});
  pg::CloseSql(&session);
  relation_close(relation, NoLock);
  PG_RETURN_VOID();
}

// unwatch(relation regclass) -> boolean
Datum imagekit_unwatch(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  namespace pg = imagekit::pg;
  Relation relation = OpenOwnTable(PG_GETARG_OID(0));
  pg::SqlSession session;
  pg::OpenSql(&session);
  bool watched = HasTrigger(relation, kRowTrigger);
  DropTriggers(relation);
  watched |= pg::RunSql(kForget, SPI_OK_DELETE, {{OIDOID, PG_GETARG_DATUM(0)}}) > 0;
  pg::CloseSql(&session);
  relation_close(relation, NoLock);
  PG_RETURN_BOOL(watched);
}
}
