// Watched tables through DDL: event triggers follow renames, see to the triggers of new partitions and children, and say
// what is not watched any more.
//
// They run within other people's commands, so they never fail them: what goes wrong is a WARNING. Where they do not run
// (event_triggers = off), columns are still found by their numbers, and only what is new is missed.

#include "capture/ddl.h"

#include "capture/own_trigger.h"
#include "capture/reference_index.h"
#include "capture/triggers.h"
#include "capture/watch.h"
#include "capture/watched_relation.h"
#include "pg/attempt.h"
#include "pg/sql.h"

namespace imagekit::capture {

namespace {

constexpr char kRewrite[] =
    "WITH numbers AS ("
    "  INSERT INTO imagekit.watch_columns (relation, columns, owner) VALUES ($1::pg_catalog.regclass, $4, $5)"
    "  ON CONFLICT (relation) DO UPDATE SET columns = excluded.columns, owner = excluded.owner) "
    "UPDATE imagekit.watch_config SET sources = $2, owner = $3, "
    "since = CASE WHEN $6 THEN pg_catalog.clock_timestamp() ELSE since END "
    "WHERE relation OPERATOR(pg_catalog.=) $1::pg_catalog.regclass";

constexpr char kLess[] =
    "UPDATE imagekit.watch_config SET since = pg_catalog.clock_timestamp() "
    "WHERE relation OPERATOR(pg_catalog.=) $1::pg_catalog.regclass";

// Watched tables whose triggers are in the plain form only for the command that is under way.
List *made_way = NIL;
// And those that lost their index for it.
List *lost_index = NIL;

void Remember(List **tables, Oid table) {
  MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
  *tables = lappend_oid(*tables, table);
  MemoryContextSwitchTo(before);
}

// A table's settings, made anew from what they are now.
struct Rewriting {
  bool changed;
  bool less;  // not all is watched any more that was
  int count;
  const char **sources;
  Datum *numbers;
  AttrNumber owner;
};

AttrNumber NumberOf(Oid relation, const char *column) {
  if (column == nullptr) return InvalidAttrNumber;
  return get_attnum(relation, column);
}

void FollowSource(const Watch &watch, const WatchedSource &entry, Relation relation, Rewriting *rewriting) {
  const Source &source = entry.source;
  if (entry.dropped) {
    ereport(WARNING, (errmsg("source \"%s\" of watched table \"%s\" is not watched any more", source.text,
                             RelationGetRelationName(relation)),
                      errdetail("Its column has been dropped. Images that only that column used are not queued.")));
    rewriting->changed = rewriting->less = true;
    return;
  }
  ResolvedSource resolved;
  // Once told is enough.
  bool usable = ResolveSource(source, relation, entry.captured ? WARNING : DEBUG1, &resolved);
  if (usable && !entry.captured)
    ereport(NOTICE, (errmsg("source \"%s\" of watched table \"%s\" is captured again", source.text,
                            RelationGetRelationName(relation))));
  AttrNumber column = NumberOf(watch.relation, source.column);
  int at = rewriting->count++;
  rewriting->sources[at] = entry.renamed ? FormatSource(source) : source.text;
  rewriting->numbers[2 * at] = Int16GetDatum(usable ? column : static_cast<AttrNumber>(-column));
  rewriting->numbers[2 * at + 1] = Int16GetDatum(NumberOf(watch.relation, source.file_id_column));
  rewriting->changed |= entry.renamed || usable != entry.captured;
  rewriting->less |= entry.captured && !usable;
}

void FollowOwner(const Watch &watch, Rewriting *rewriting) {
  rewriting->changed |= watch.owner_renamed || watch.owner_dropped;
  if (watch.owner_dropped)
    ereport(WARNING, (errmsg("owner column \"%s\" of watched table \"%s\" has been dropped", watch.owner,
                             get_rel_name(watch.relation)),
                      errdetail("Whose row it was is not recorded any more.")));
  else
    rewriting->owner = NumberOf(watch.relation, watch.owner);
}

void FollowColumns(const Watch &watch, Relation relation) {
  Rewriting rewriting = {};
  rewriting.changed = !watch.numbered;
  rewriting.sources = static_cast<const char **>(palloc(sizeof(char *) * (watch.count + 1)));
  rewriting.numbers = static_cast<Datum *>(palloc(sizeof(Datum) * 2 * (watch.count + 1)));
  for (int i = 0; i < watch.count; i++) FollowSource(watch, watch.sources[i], relation, &rewriting);
  FollowOwner(watch, &rewriting);
  if (!rewriting.changed) return;
  bool no_owner = watch.owner == nullptr || watch.owner_dropped;
  pg::RunSql(kRewrite, SPI_OK_UPDATE,
             {{OIDOID, ObjectIdGetDatum(watch.relation)},
              {TEXTARRAYOID, pg::TextArray(rewriting.sources, rewriting.count)},
              {TEXTOID, no_owner ? 0 : CStringGetTextDatum(watch.owner), no_owner},
              {INT2ARRAYOID, pg::Int2Array(rewriting.numbers, 2 * rewriting.count)},
              {INT2OID, Int16GetDatum(rewriting.owner), no_owner},
              {BOOLOID, BoolGetDatum(rewriting.less)}});
  ForgetWatched(watch.relation);
  if (rewriting.count == 0)
    ereport(WARNING, (errmsg("nothing of table \"%s\" is watched any more", RelationGetRelationName(relation)),
                      errdetail("None of its sources is left."),
                      errhint("Call imagekit.watch() with the sources it has now, or imagekit.unwatch().")));
}

}  // namespace

void FollowTable(Oid table, const Alteration &alteration) {
  Watch watch;
  if (!ReadWatch(table, &watch)) return;
  // Without a lock: what the command has changed it has locked itself, and all else is read from the catalogs only. Who
  // waits for a table that others have locked might wait for somebody who waits for this command.
  Relation relation = RelationIdGetRelation(table);
  if (relation == nullptr) return;
  FollowColumns(watch, relation);
  RelationClose(relation);
  (void)ReadWatch(table, &watch);
  // Only newcomers get triggers. Those of a table that is just being restored come from the dump.
  List *below = find_all_inheritors(table, NoLock, nullptr);
  ListCell *cell;
  foreach (cell, alteration.newcomers)
    if (list_member_oid(below, lfirst_oid(cell))) {
      if (lfirst_oid(cell) != table) WatchedByParent(lfirst_oid(cell), table, WARNING);
      AddTriggers(watch, lfirst_oid(cell));
    }
  // From plain back to focused only where way was made for this command: else when imagekit.watch() is called again.
  if (list_member_oid(made_way, table))
    FormTriggers(watch, false);
  else if (MayChangeUnseen(table))
    FormTriggers(watch, true);
  if (list_member_oid(lost_index, table)) SeeToIndexes(watch);
}

void ConcludeNothing(Oid table) { pg::RunSql(kLess, SPI_OK_UPDATE, {{OIDOID, ObjectIdGetDatum(table)}}); }

namespace {

// What a command leaves without a watched table above it.
void StopWatching(Oid relation) {
  if (WatchedAbove(relation) != NIL || !HasOwnTriggers(relation)) return;
  DropTriggers(relation);
  ereport(NOTICE, (errmsg("table \"%s\" is not watched any more", get_rel_name(relation)),
                   errdetail("It was watched as a partition or child of another table."),
                   errhint("Call imagekit.watch() to have it watched by itself.")));
}

// --- ddl_command_start: what PostgreSQL would refuse because of our triggers. ---------------------------------------------

// ATTACH PARTITION copies the row trigger, and would fail on one that is there already.
void MakeWayForCopy(const Alteration &alteration) {
  if (!alteration.attach || alteration.newcomers == NIL) return;
  // As ATTACH PARTITION itself locks, parent first.
  LockRelationOid(linitial_oid(alteration.tables), ShareUpdateExclusiveLock);
  List *above = WatchedAbove(linitial_oid(alteration.tables));
  ListCell *cell;
  if (above != NIL)
    foreach (cell, alteration.newcomers) WatchedByParent(lfirst_oid(cell), linitial_oid(above), WARNING);
}

bool NamesAny(const Watch &watch, List *columns) {
  for (int i = 0; i < watch.count; i++)
    if (list_member(columns, makeString(watch.sources[i].source.column))) return true;
  return false;
}

// A column that a trigger names can be neither dropped nor given another type, and one of an index keeps its kind of type.
void MakeWayForColumns(const Alteration &alteration) {
  ListCell *cell, *table;
  foreach (cell, ConcernedTables(alteration)) {
    Watch watch;
    if (!ReadWatch(lfirst_oid(cell), &watch) || !NamesAny(watch, alteration.columns)) continue;
    // The locks that ALTER TABLE is about to take, in its order: the table first.
    foreach (table, alteration.tables) {
      LockRelationOid(lfirst_oid(table), AccessExclusiveLock);
      (void)find_all_inheritors(lfirst_oid(table), AccessExclusiveLock, nullptr);
    }
    FormTriggers(watch, true);
    Remember(&made_way, watch.relation);
    // Its operator class goes with the type.
    if (DropReferenceIndexes(watch.relation)) Remember(&lost_index, watch.relation);
  }
}

// A restored table whose columns nobody has numbered yet: from now on its columns may be renamed.
void NumberColumns(const Alteration &alteration) {
  ListCell *cell;
  foreach (cell, ConcernedTables(alteration)) {
    Watch watch;
    if (ReadWatch(lfirst_oid(cell), &watch) && !watch.numbered) FollowTable(lfirst_oid(cell), Alteration{});
  }
}

void MakeWay(void *argument) {
  auto *alteration = static_cast<Alteration *>(argument);
  pg::SqlSession session;
  pg::OpenSql(&session);
  NumberColumns(*alteration);
  MakeWayForCopy(*alteration);
  MakeWayForColumns(*alteration);
  pg::CloseSql(&session);
}

// --- ddl_command_end -----------------------------------------------------------------------------------------------------

// One watched table at a time: what goes wrong with one must not undo what was done for the others.
struct Following {
  const Alteration *alteration;
  Oid table;
};

void Follow(void *argument) {
  auto *following = static_cast<Following *>(argument);
  pg::SqlSession session;
  pg::OpenSql(&session);
  FollowTable(following->table, *following->alteration);
  if (following->alteration->parted != NIL) ConcludeNothing(following->table);
  pg::CloseSql(&session);
}

void Part(void *argument) {
  auto *alteration = static_cast<Alteration *>(argument);
  pg::SqlSession session;
  pg::OpenSql(&session);
  ListCell *cell;
  foreach (cell, alteration->parted) StopWatching(lfirst_oid(cell));
  pg::CloseSql(&session);
}

bool OwnsAll(List *tables) {
  ListCell *cell;
  foreach (cell, tables)
    if (!pg::OwnsRelation(lfirst_oid(cell), GetUserId())) return false;
  return true;
}

}  // namespace

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_before_ddl);
IMAGEKIT_SQL_FUNCTION(imagekit_after_ddl);

// before_ddl(): event trigger on ddl_command_start
Datum imagekit_before_ddl(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  EventTriggerData *event = EventOf(fcinfo, "before_ddl");
  if (ChangingTriggers() || WatchedTables() == NIL) return Datum{0};
  Alteration alteration = ReadAlteration(*event);
  list_free(made_way);  // of a command that failed
  list_free(lost_index);
  made_way = lost_index = NIL;
  if (ConcernedTables(alteration) == NIL) return Datum{0};
  // Whoever may not change a table shall not unwatch it either; the command itself will tell.
  if (OwnsAll(alteration.tables) && OwnsAll(alteration.newcomers))
    WarnNotFollowed(imagekit::pg::Attempt(MakeWay, &alteration), event, InvalidOid);
  return Datum{0};
}

// after_ddl(): event trigger on ddl_command_end
Datum imagekit_after_ddl(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  EventTriggerData *event = EventOf(fcinfo, "after_ddl");
  if (ChangingTriggers() || WatchedTables() == NIL) return Datum{0};
  Alteration alteration = ReadAlteration(*event);
  if (alteration.parted != NIL) WarnNotFollowed(imagekit::pg::Attempt(Part, &alteration), event, InvalidOid);
  ListCell *cell;
  foreach (cell, ConcernedTables(alteration)) {
    Following following = {&alteration, lfirst_oid(cell)};
    WarnNotFollowed(imagekit::pg::Attempt(Follow, &following), event, following.table);
  }
  return Datum{0};
}
}
