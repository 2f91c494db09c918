// Watched tables through DDL: event triggers follow renames, see to the triggers of new partitions and children, and say
// what is not watched any more.
//
// They run within other people's commands, so they never fail them: what goes wrong is a WARNING. Where they do not run
// (event_triggers = off), columns are still found by their numbers, and only what is new is missed.

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
    "UPDATE imagekit.watch_config SET sources = $2, owner = $3 "
    "WHERE relation OPERATOR(pg_catalog.=) $1::pg_catalog.regclass";

// A table's settings, made anew from what they are now.
struct Rewriting {
  bool changed;
  int count;
  const char **sources;
  Datum *numbers;
  AttrNumber owner;
};

AttrNumber NumberOf(Oid relation, const char *column) {
  return column == nullptr ? InvalidAttrNumber : get_attnum(relation, column);
}

void FollowSource(const Watch &watch, const WatchedSource &entry, Relation relation, Rewriting *rewriting) {
  const Source &source = entry.source;
  if (entry.dropped) {
    ereport(WARNING, (errmsg("source \"%s\" of watched table \"%s\" is not watched any more", source.text,
                             RelationGetRelationName(relation)),
                      errdetail("Its column has been dropped. Images that only that column used are not queued.")));
    rewriting->changed = true;
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
              {INT2ARRAYOID, PointerGetDatum(construct_array(rewriting.numbers, 2 * rewriting.count, INT2OID,
                                                             sizeof(int16), true, TYPALIGN_SHORT))},
              {INT2OID, Int16GetDatum(rewriting.owner), no_owner}});
  ForgetWatched(watch.relation);
  if (rewriting.count == 0)
    ereport(WARNING, (errmsg("nothing of table \"%s\" is watched any more", RelationGetRelationName(relation)),
                      errdetail("None of its sources is left."),
                      errhint("Call imagekit.watch() with the sources it has now, or imagekit.unwatch().")));
}

// What a command may have done to watched tables.
struct Alteration {
  Oid table;       // ALTER TABLE's
  Oid attached;    // the partition it attaches
  List *parted;    // what it takes off a partitioned table or a parent
  bool structure;  // there may be new partitions or children
  bool columns;    // it drops columns, or changes their types
};

bool Exists(Oid table) { return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(table)); }

void FollowTable(Oid table, const Alteration &alteration) {
  // A table that somebody else is changing is not the one this command has changed.
  if (!ConditionalLockRelationOid(table, AccessShareLock)) return;
  Watch watch;
  if (Exists(table) && ReadWatch(table, &watch)) {
    Relation relation = table_open(table, NoLock);
    FollowColumns(watch, relation);
    table_close(relation, NoLock);
    (void)ReadWatch(table, &watch);
    // Only new ones get triggers. Those of a table that is just being restored come from the dump.
    if (alteration.structure) {
      ListCell *cell;
      foreach (cell, find_all_inheritors(table, NoLock, nullptr))
        if (lfirst_oid(cell) != table) WatchedByParent(lfirst_oid(cell), table, WARNING);
      AddTriggers(watch);
    }
    if (alteration.columns)
      FormTriggers(watch, false);
    else if (NeedsPlainForm(table))
      FormTriggers(watch, true);
  }
  UnlockRelationOid(table, AccessShareLock);
}

// What a command leaves without a watched table above it.
void StopWatching(Oid relation) {
  if (!OidIsValid(relation) || WatchedAbove(relation) != NIL || !HasOwnTriggers(relation)) return;
  DropTriggers(relation);
  ereport(NOTICE, (errmsg("table \"%s\" is not watched any more", get_rel_name(relation)),
                   errdetail("It was watched as a partition or child of another table."),
                   errhint("Call imagekit.watch() to have it watched by itself.")));
}

Oid NamedTable(const RangeVar *name) { return RangeVarGetRelid(name, NoLock, true); }

Alteration ReadAlteration(const EventTriggerData &event) {
  Alteration alteration = {};
  Node *command = event.parsetree;
  if (command == nullptr) return alteration;
  alteration.structure = IsA(command, CreateStmt) || IsA(command, CreateSchemaStmt);
  if (!IsA(command, AlterTableStmt)) return alteration;
  auto *statement = reinterpret_cast<AlterTableStmt *>(command);
  if (statement->objtype != OBJECT_TABLE) return alteration;
  alteration.table = NamedTable(statement->relation);
  ListCell *cell;
  foreach (cell, statement->cmds) {
    auto *step = static_cast<AlterTableCmd *>(lfirst(cell));
    switch (step->subtype) {
      case AT_AttachPartition:
        alteration.attached = NamedTable(reinterpret_cast<PartitionCmd *>(step->def)->name);
        alteration.structure = true;
        break;
      case AT_AddInherit:
        alteration.structure = true;
        break;
      case AT_DetachPartition:
      case AT_DetachPartitionFinalize:
        alteration.parted =
            lappend_oid(alteration.parted, NamedTable(reinterpret_cast<PartitionCmd *>(step->def)->name));
        break;
      case AT_DropInherit:
        alteration.parted = lappend_oid(alteration.parted, alteration.table);
        break;
      case AT_DropColumn:
      case AT_AlterColumnType:
        alteration.columns = true;
        break;
      default:
        break;
    }
  }
  return alteration;
}

// --- ddl_command_start: what PostgreSQL would refuse because of our triggers. ---------------------------------------------

// ATTACH PARTITION copies the row trigger, and would fail on one that is there already.
void MakeWayForCopy(const Alteration &alteration) {
  if (!OidIsValid(alteration.attached)) return;
  // As ATTACH PARTITION itself locks, parent first.
  LockRelationOid(alteration.table, ShareUpdateExclusiveLock);
  List *above = WatchedAbove(alteration.table);
  if (above != NIL) WatchedByParent(alteration.attached, linitial_oid(above), WARNING);
}

// A column that a trigger names can be neither dropped nor given another type.
void MakeWayForColumns(const Alteration &alteration) {
  if (!alteration.columns) return;
  // As ALTER TABLE itself locks.
  List *below = find_all_inheritors(alteration.table, AccessExclusiveLock, nullptr);
  List *concerned = list_concat_unique_oid(WatchedAbove(alteration.table), below);
  ListCell *cell;
  foreach (cell, concerned) {
    Watch watch;
    if (ReadWatch(lfirst_oid(cell), &watch)) FormTriggers(watch, true);
  }
}

// A restored table whose columns nobody has numbered yet: from now on its columns may be renamed.
void NumberColumns() {
  ListCell *cell;
  foreach (cell, WatchedTables()) {
    Oid table = lfirst_oid(cell);
    Watch watch;
    if (!Exists(table) || !ReadWatch(table, &watch) || watch.numbered) continue;
    FollowTable(table, Alteration{});
  }
}

void MakeWay(void *argument) {
  auto *alteration = static_cast<Alteration *>(argument);
  pg::SqlSession session;
  pg::OpenSql(&session);
  NumberColumns();
  if (OidIsValid(alteration->table)) {
    MakeWayForCopy(*alteration);
    MakeWayForColumns(*alteration);
  }
  pg::CloseSql(&session);
}

// --- ddl_command_end -----------------------------------------------------------------------------------------------------

void Follow(void *argument) {
  auto *alteration = static_cast<Alteration *>(argument);
  pg::SqlSession session;
  pg::OpenSql(&session);
  ListCell *cell;
  foreach (cell, alteration->parted) StopWatching(lfirst_oid(cell));
  foreach (cell, WatchedTables()) FollowTable(lfirst_oid(cell), *alteration);
  pg::CloseSql(&session);
}

// --- sql_drop ------------------------------------------------------------------------------------------------------------

constexpr char kDroppedTables[] =
    "WITH dropped AS (SELECT d.* FROM pg_catalog.pg_event_trigger_dropped_objects() d), "
    "tables AS (SELECT d.objid, d.object_identity, d.address_names FROM dropped d "
    "           WHERE d.object_type OPERATOR(pg_catalog.=) 'table'), "
    "numbers AS (DELETE FROM imagekit.watch_columns c USING tables t WHERE c.relation OPERATOR(pg_catalog.=) t.objid), "
    "forgotten AS (DELETE FROM imagekit.watch_config w USING tables t WHERE w.relation OPERATOR(pg_catalog.=) t.objid "
    "              RETURNING t.object_identity) "
    "SELECT f.object_identity FROM forgotten f "
    "UNION "
    "SELECT t.object_identity FROM tables t "  // partitions and children
    "JOIN dropped d ON d.object_type OPERATOR(pg_catalog.=) 'trigger' "
    "AND d.address_names[1:2] OPERATOR(pg_catalog.=) t.address_names "
    "AND d.address_names[3] OPERATOR(pg_catalog.=) 'imagekit_capture' "
    "WHERE NOT EXISTS (SELECT FROM forgotten) "
    "ORDER BY 1";

constexpr char kDroppedTriggers[] =
    "SELECT d.object_identity FROM pg_catalog.pg_event_trigger_dropped_objects() d "
    "WHERE d.object_type OPERATOR(pg_catalog.=) 'trigger' AND d.original "
    "AND d.address_names[3] OPERATOR(pg_catalog.=) ANY ('{imagekit_capture,imagekit_capture_truncate}')";

void TellDropped(void *argument) {
  bool of_a_trigger = *static_cast<bool *>(argument);
  pg::SqlSession session;
  pg::OpenSql(&session);
  uint64 count = pg::RunSql(of_a_trigger ? kDroppedTriggers : kDroppedTables, SPI_OK_SELECT);
  for (uint64 i = 0; i < count; i++) {
    const char *what = pg::FieldText(i, 1, CurrentMemoryContext);
    if (of_a_trigger)
      ereport(WARNING, (errmsg("trigger %s is gone", what),
                        errdetail("Images that rows of this table stop using are not all queued any more."),
                        errhint("Call imagekit.watch() to make it anew, or imagekit.unwatch() to stop watching.")));
    else
      ereport(NOTICE, (errmsg("watched table %s is dropped", what),
                       errdetail("Images that its rows used at the end are not queued and stay at ImageKit."),
                       errhint("To have a table's images deleted, TRUNCATE it before DROP TABLE.")));
  }
  pg::CloseSql(&session);
}

void Warn(const ErrorData *error, const char *command) {
  if (error == nullptr) return;
  ereport(WARNING,
          (errcode(error->sqlerrcode), errmsg("imagekit_cleanup could not follow %s: %s", command, error->message),
           errdetail("The command itself is not affected."),
           errhint("Look at imagekit.watched, and call imagekit.watch() again for tables that were changed.")));
}

const char *TagOf(const EventTriggerData *event) { return GetCommandTagName(event->tag); }

EventTriggerData *EventOf(FunctionCallInfo fcinfo, const char *function) {
  if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("imagekit.%s() must be fired by an event trigger", function),
                    errhint("CREATE EXTENSION imagekit_cleanup makes the event trigger.")));
  return reinterpret_cast<EventTriggerData *>(fcinfo->context);
}

// A table that is no partition and no child concerns no watched one.
bool IsPlainCreate(Node *command) {
  return command != nullptr && IsA(command, CreateStmt) && reinterpret_cast<CreateStmt *>(command)->inhRelations == NIL;
}

}  // namespace

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_before_ddl);
IMAGEKIT_SQL_FUNCTION(imagekit_after_ddl);
IMAGEKIT_SQL_FUNCTION(imagekit_after_drop);

// before_ddl(): event trigger on ddl_command_start
Datum imagekit_before_ddl(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  EventTriggerData *event = EventOf(fcinfo, "before_ddl");
  if (ChangingTriggers() || WatchedTables() == NIL) return Datum{0};
  Alteration alteration = ReadAlteration(*event);
  if (OidIsValid(alteration.table) && !imagekit::pg::OwnsRelation(alteration.table, GetUserId()))
    return Datum{0};  // whoever may not change it shall not unwatch it either; ALTER TABLE will tell
  if (OidIsValid(alteration.attached) && !imagekit::pg::OwnsRelation(alteration.attached, GetUserId())) return Datum{0};
  Warn(imagekit::pg::Attempt(MakeWay, &alteration), TagOf(event));
  return Datum{0};
}

// after_ddl(): event trigger on ddl_command_end
Datum imagekit_after_ddl(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  EventTriggerData *event = EventOf(fcinfo, "after_ddl");
  if (ChangingTriggers() || IsPlainCreate(event->parsetree) || WatchedTables() == NIL) return Datum{0};
  Alteration alteration = ReadAlteration(*event);
  Warn(imagekit::pg::Attempt(Follow, &alteration), TagOf(event));
  return Datum{0};
}

// after_drop(): event trigger on sql_drop
Datum imagekit_after_drop(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  EventTriggerData *event = EventOf(fcinfo, "after_drop");
  if (ChangingTriggers() || WatchedTables() == NIL) return Datum{0};
  bool of_a_trigger = strcmp(TagOf(event), "DROP TRIGGER") == 0;
  Warn(imagekit::pg::Attempt(TellDropped, &of_a_trigger), TagOf(event));
  return Datum{0};
}
}
