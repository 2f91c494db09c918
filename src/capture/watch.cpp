// imagekit.watch() and unwatch(): checks the sources, remembers the settings, sees to the triggers.
//
// The caller must own the table; the triggers and the settings are then made with the extension owner's rights, so that
// nobody needs a privilege on schema imagekit beyond these functions.

#include "capture/watch.h"

#include "account/options.h"
#include "capture/reference_index.h"
#include "capture/triggers.h"
#include "capture/watched_relation.h"
#include "pg/attempt.h"
#include "pg/sql.h"

namespace imagekit::capture {

namespace {

// Locks as CREATE TRIGGER will, so that nothing changes between the checks and the trigger, and no DELETE is under way.
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

// $7 two column numbers for each source, $8 that of the owner column, $9 and $10 hold_above and hold_fraction
constexpr char kRemember[] =
    "WITH numbers AS ("
    "  INSERT INTO imagekit.watch_columns (relation, columns, owner) VALUES ($1::pg_catalog.regclass, $7, $8)"
    "  ON CONFLICT (relation) DO UPDATE SET columns = excluded.columns, owner = excluded.owner) "
    "INSERT INTO imagekit.watch_config AS w (relation, sources, owner, grace, on_truncate, replication, "
    "hold_above, hold_fraction) "
    "VALUES ($1::pg_catalog.regclass, $2, $3, $4, $5, $6, $9, $10) "
    "ON CONFLICT (relation) DO UPDATE SET sources = excluded.sources, owner = excluded.owner, "
    "grace = excluded.grace, on_truncate = excluded.on_truncate, replication = excluded.replication, "
    "hold_above = excluded.hold_above, hold_fraction = excluded.hold_fraction, "
    "since = CASE WHEN w.sources OPERATOR(pg_catalog.=) excluded.sources THEN w.since ELSE excluded.since END";

// Of tables that were dropped unseen.
constexpr char kSweep[] =
    "WITH numbers AS (DELETE FROM imagekit.watch_columns c WHERE NOT EXISTS "
    "  (SELECT FROM pg_catalog.pg_class r WHERE r.oid OPERATOR(pg_catalog.=) c.relation)) "
    "DELETE FROM imagekit.watch_config w WHERE NOT EXISTS "
    "  (SELECT FROM pg_catalog.pg_class r WHERE r.oid OPERATOR(pg_catalog.=) w.relation)";

constexpr char kForget[] =
    "WITH numbers AS (DELETE FROM imagekit.watch_columns WHERE relation OPERATOR(pg_catalog.=) "
    "$1::pg_catalog.regclass) "
    "DELETE FROM imagekit.watch_config WHERE relation OPERATOR(pg_catalog.=) $1::pg_catalog.regclass";

[[noreturn]] void RejectArgument(const char *message, const char *detail, const char *hint) {
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message), errdetail("%s", detail),
                  errhint("%s", hint)));
  pg_unreachable();
}

// Each source checked against the table. Returns the numbers of their columns, two a source.
Datum CheckedSources(ArrayType *array, Relation relation) {
  int count;
  Datum *elements;
  bool *nulls;
  deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
  if (count == 0)
    RejectArgument("no source is given", "Nothing of the table would be watched.",
                   "Name the columns that hold image URLs, like '{images, schema.imageUrl}'.");
  auto *numbers = static_cast<Datum *>(palloc(sizeof(Datum) * 2 * count));
  for (int i = 0; i < count; i++) {
    if (nulls[i])
      RejectArgument("a source is NULL", "A source is the name of a column, or a path in it.", "Leave it out.");
    ResolvedSource resolved = {};
    (void)ResolveSource(ParseSource(TextDatumGetCString(elements[i])), relation, ERROR, &resolved);
    numbers[2 * i] = Int16GetDatum(resolved.column);
    numbers[2 * i + 1] = Int16GetDatum(resolved.file_id_column);
  }
  return pg::Int2Array(numbers, 2 * count);
}

// The text argument, or its default; one of three words.
char *OneOf(FunctionCallInfo fcinfo, int argument, const char *name, const char *const (&words)[3],
            const char *detail) {
  char *given = PG_ARGISNULL(argument) ? pstrdup(words[0]) : text_to_cstring(PG_GETARG_TEXT_PP(argument));
  for (const char *word : words)
    if (strcmp(given, word) == 0) return given;
  RejectArgument(psprintf("invalid %s \"%s\"", name, given), detail,
                 psprintf("Use '%s', '%s' or '%s'.", words[0], words[1], words[2]));
}

void CheckGrace(const Interval &grace) {
  if (grace.time < 0 || grace.day < 0 || grace.month < 0)
    RejectArgument("grace must not be negative", "It is how long a URL waits before it is deleted.",
                   "Use '0' for no wait.");
  if (account::IsTooLong(grace))
    RejectArgument("grace must not be longer than ten years", "It is how long a URL waits before it is deleted.",
                   "To keep files for ever, do not watch the table, or protect their path.");
}

void CheckHold(FunctionCallInfo fcinfo, int above, int fraction) {
  if (!PG_ARGISNULL(above) && PG_GETARG_INT32(above) < 0)
    RejectArgument("hold_above must not be negative", "It is how many files may go at once without being held.",
                   "Use 0 for no limit.");
  if (!PG_ARGISNULL(fraction) && !(PG_GETARG_FLOAT8(fraction) >= 0 && PG_GETARG_FLOAT8(fraction) <= 1))
    RejectArgument("hold_fraction must be between 0 and 1",
                   "It is the share of the table's files that may go at once without being held.",
                   "Use 0.5 for half of them, 0 for no limit.");
}

// A table goes by the settings of what it is a partition or child of; two sets of settings would contradict each other.
void RejectIfCovered(Oid relation, const char *function) {
  ListCell *cell;
  foreach (cell, WatchedAbove(relation))
    if (lfirst_oid(cell) != relation)
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("table \"%s\" is watched through table \"%s\"", get_rel_name(relation),
                             get_rel_name(lfirst_oid(cell))),
                      errdetail("It is a partition or child of that table, whose settings hold for it."),
                      errhint("Call imagekit.%s() for that table.", function)));
}

// What is below is watched as well, so it must be the caller's too.
void RejectForeignChildren(Oid relation) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, ShareRowExclusiveLock, nullptr))
    if (!pg::OwnsRelation(lfirst_oid(cell), GetUserId()))
      aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(lfirst_oid(cell)));
}

// The sources of a table that the one above it does not have, as a list; NULL when it has them all.
char *SourcesOnlyIn(const Watch &own, Oid parent) {
  Watch above;
  if (!ReadWatch(parent, &above)) return nullptr;
  StringInfoData lost;
  initStringInfo(&lost);
  for (int i = 0; i < own.count; i++) {
    const char *source = FormatSource(own.sources[i].source);
    bool had = false;
    for (int j = 0; j < above.count && !had; j++) had = strcmp(FormatSource(above.sources[j].source), source) == 0;
    if (!had) appendStringInfo(&lost, "%s%s", lost.len > 0 ? ", " : "", source);
  }
  return lost.len == 0 ? nullptr : lost.data;
}

bool Forget(Oid relation) { return pg::RunSql(kForget, SPI_OK_DELETE, {{OIDOID, ObjectIdGetDatum(relation)}}) > 0; }

}  // namespace

void SeeToIndexes(const Watch &watch) {
  struct Making {
    const Watch *watch;
    char *missing;
  } making = {&watch, nullptr};
  const ErrorData *error = pg::Attempt(
      [](void *argument) {
        auto *making = static_cast<Making *>(argument);
        making->missing = MakeReferenceIndexes(*making->watch);
      },
      &making);
  const char *name = get_rel_name(watch.relation);
  if (error != nullptr)
    ereport(WARNING, (errcode(error->sqlerrcode), errmsg("no index was made for watched table \"%s\"", name),
                      errdetail("%s", error->message),
                      errhint("The table is read as a whole before images are deleted. To have the index made:\n%s",
                              MissingReferenceIndexes(watch))));
  else if (making.missing != nullptr)
    ereport(NOTICE,
            (errmsg("table \"%s\" is large, and has no index yet by which its images are found", name),
             errdetail("Until then it is read as a whole before images are deleted: seconds for each million rows."),
             errhint("Make it without stopping anybody:\n%s", making.missing)));
}

void WatchedByParent(Oid relation, Oid parent, int level) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, NoLock, nullptr)) {
    Oid below = lfirst_oid(cell);
    Watch own;
    if (!ReadWatch(below, &own)) continue;
    LockRelationOid(below, AccessExclusiveLock);
    if (!ReadWatch(below, &own)) continue;  // unwatched or dropped, while we waited
    char *lost = SourcesOnlyIn(own, parent);
    if (lost == nullptr)
      ereport(NOTICE,
              (errmsg("table \"%s\" is watched through \"%s\" from now on", get_rel_name(below), get_rel_name(parent)),
               errdetail("Its own settings of imagekit.watch() are gone; those of \"%s\" hold for it.",
                         get_rel_name(parent))));
    else
      ereport(level, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("not all that is watched in table \"%s\" is watched in \"%s\"", get_rel_name(below),
                             get_rel_name(parent)),
                      errdetail("As its partition or child, \"%s\" goes by its settings, without: %s.",
                                get_rel_name(below), lost),
                      errhint("Call imagekit.watch() for \"%s\" with these sources as well, or imagekit.unwatch() for "
                              "\"%s\" first.",
                              get_rel_name(parent), get_rel_name(below))));
    (void)Forget(below);
    DropOwnTriggers(below);
  }
}

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_watch);
IMAGEKIT_SQL_FUNCTION(imagekit_unwatch);

// watch(relation regclass, sources text[], owner text, grace interval, on_truncate text, create_index boolean,
//       replication text, hold_above integer, hold_fraction double precision) -> void
Datum imagekit_watch(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  namespace pg = imagekit::pg;
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
    RejectArgument("relation and sources must not be NULL", "They say which rows are watched, and where in them.",
                   "Call imagekit.watch('patches', '{images, schema.imageUrl}').");
  Oid oid = PG_GETARG_OID(0);
  Relation relation = OpenOwnTable(oid);
  Datum numbers = CheckedSources(PG_GETARG_ARRAYTYPE_P(1), relation);
  char *owner = PG_ARGISNULL(2) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(2));
  AttrNumber owner_number = InvalidAttrNumber;
  if (owner != nullptr) owner_number = get_attnum(oid, owner);
  if (owner != nullptr && owner_number == InvalidAttrNumber)
    ereport(ERROR,
            (errcode(ERRCODE_UNDEFINED_COLUMN),
             errmsg("owner column \"%s\" does not exist in table \"%s\"", owner, RelationGetRelationName(relation)),
             errhint("Name the column that says whose row it is, or leave owner out.")));
  if (!PG_ARGISNULL(3)) CheckGrace(*PG_GETARG_INTERVAL_P(3));
  char *on_truncate =
      OneOf(fcinfo, 4, "on_truncate", {"capture", "deny", "ignore"}, "TRUNCATE can be captured, denied or ignored.");
  bool create_index = PG_ARGISNULL(5) || PG_GETARG_BOOL(5);
  char *replication = OneOf(fcinfo, 6, "replication", {"origin", "always", "replica"},
                            "Rows can be captured where they are changed, where changes are replicated to, or both.");
  CheckHold(fcinfo, 7, 8);
  RejectIfCovered(oid, "watch");
  RejectForeignChildren(oid);
  relation_close(relation, NoLock);  // keeping the lock; ALTER TABLE minds whoever has the table open

  pg::SqlSession session;
  pg::OpenSql(&session);
  pg::RunSql(kSweep, SPI_OK_DELETE);
  pg::RunSql(kRemember, SPI_OK_INSERT,
             {{OIDOID, ObjectIdGetDatum(oid)},
              {TEXTARRAYOID, PG_GETARG_DATUM(1)},
              {TEXTOID, PG_GETARG_DATUM(2), owner == nullptr},
              {INTERVALOID, PG_GETARG_DATUM(3), PG_ARGISNULL(3)},
              {TEXTOID, CStringGetTextDatum(on_truncate)},
              {TEXTOID, CStringGetTextDatum(replication)},
              {INT2ARRAYOID, numbers},
              {INT2OID, Int16GetDatum(owner_number), owner == nullptr},
              {INT4OID, PG_GETARG_DATUM(7), PG_ARGISNULL(7)},
              {FLOAT8OID, PG_GETARG_DATUM(8), PG_ARGISNULL(8)}});
  ListCell *cell;
  foreach (cell, find_all_inheritors(oid, ShareRowExclusiveLock, nullptr))
    if (lfirst_oid(cell) != oid) WatchedByParent(lfirst_oid(cell), oid, ERROR);
  Watch watch;
  if (!ReadWatch(oid, &watch)) elog(ERROR, "the settings of table %u cannot be read back", oid);
  MakeTriggers(watch);
  if (create_index) SeeToIndexes(watch);
  ForgetWatched(oid);
  pg::CloseSql(&session);
  PG_RETURN_VOID();
}

// unwatch(relation regclass) -> boolean
Datum imagekit_unwatch(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  namespace pg = imagekit::pg;
  Oid oid = PG_GETARG_OID(0);
  Relation relation = OpenOwnTable(oid);
  relation_close(relation, NoLock);
  pg::SqlSession session;
  pg::OpenSql(&session);
  bool watched = Forget(oid) || HasOwnTriggers(oid);
  RejectIfCovered(oid, "unwatch");
  DropTriggers(oid);
  (void)DropReferenceIndexes(oid);
  ForgetWatched(oid);
  pg::CloseSql(&session);
  PG_RETURN_BOOL(watched);
}
}
