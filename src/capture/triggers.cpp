// CREATE and DROP TRIGGER for watched tables and what is below them.

#include "capture/triggers.h"

#include "capture/own_trigger.h"
#include "pg/sql.h"

namespace imagekit::capture {

namespace {

bool changing = false;

void RunDdl(const char *sql) {
  changing = true;
  PG_TRY();
  { pg::RunSql(sql, SPI_OK_UTILITY); }
  PG_FINALLY();
  { changing = false; }
  PG_END_TRY();
}

void AddColumns(List **columns, const Watch &watch) {
  for (int i = 0; i < watch.count; i++) {
    const WatchedSource &source = watch.sources[i];
    if (source.dropped || !source.captured) continue;
    String *column = makeString(source.source.column);
    if (!list_member(*columns, column)) *columns = lappend(*columns, column);
  }
}

// What any watched table above has for a source; NIL for the plain form.
List *ColumnsFor(Oid relation, bool plain) {
  if (plain || MayChangeUnseen(relation)) return NIL;
  List *columns = NIL;
  ListCell *cell;
  foreach (cell, WatchedAbove(relation)) {
    Watch watch;
    if (ReadWatch(lfirst_oid(cell), &watch)) AddColumns(&columns, watch);
  }
  return columns;
}

// " OF image, thumb"; or "", the plain form.
const char *FormOf(Oid relation, bool plain) {
  StringInfoData list;
  initStringInfo(&list);
  ListCell *cell;
  foreach (cell, ColumnsFor(relation, plain))
    appendStringInfo(&list, "%s%s", list.len == 0 ? " OF " : ", ", quote_identifier(strVal(lfirst(cell))));
  return list.data;
}

Bitmapset *NumbersFor(Oid relation, bool plain) {
  Bitmapset *numbers = nullptr;
  ListCell *cell;
  foreach (cell, ColumnsFor(relation, plain)) {
    AttrNumber number = get_attnum(relation, strVal(lfirst(cell)));
    if (number > 0) numbers = bms_add_member(numbers, number);
  }
  return numbers;
}

// The name the trigger has, or shall have.
const char *NameFor(Oid relation, TriggerKind kind, const OwnTrigger &own) {
  if (own.exists) return quote_identifier(pstrdup(NameStr(own.name)));
  if (OidIsValid(get_trigger_oid(relation, UsualName(kind), true)))
    ereport(ERROR,
            (errcode(ERRCODE_DUPLICATE_OBJECT),
             errmsg("trigger \"%s\" for relation \"%s\" exists already and is not ours", UsualName(kind),
                    get_rel_name(relation)),
             errhint("Rename it: ALTER TRIGGER %s ON %s RENAME TO ...", UsualName(kind), QualifiedName(relation))));
  return UsualName(kind);
}

void Create(Oid relation, TriggerKind kind, const char *columns) {
  const char *name = NameFor(relation, kind, FindOwnTrigger(relation, kind));
  if (kind == TriggerKind::kRow)
    RunDdl(
        psprintf("CREATE OR REPLACE TRIGGER %s AFTER DELETE OR UPDATE%s ON %s "
                 "FOR EACH ROW WHEN (true) EXECUTE FUNCTION imagekit.capture()",
                 name, columns, QualifiedName(relation)));
  else
    RunDdl(
        psprintf("CREATE OR REPLACE TRIGGER %s BEFORE TRUNCATE ON %s "
                 "FOR EACH STATEMENT EXECUTE FUNCTION imagekit.capture_truncate()",
                 name, QualifiedName(relation)));
}

// Temporary children are not watched: the worker cannot read them.
bool CanBeWatched(Oid relation) { return get_rel_persistence(relation) != RELPERSISTENCE_TEMP; }

// A foreign table is not truncated by us or anybody here.
bool CanBeTruncated(Oid relation) { return get_rel_relkind(relation) != RELKIND_FOREIGN_TABLE; }

// True when a table has a row trigger to itself, and it is in another form than it should be, or names other columns.
bool IsInOtherForm(Oid relation, bool plain) {
  OwnTrigger own = FindOwnTrigger(relation, TriggerKind::kRow);
  return own.exists && !own.copy && !bms_equal(own.columns, NumbersFor(relation, plain));
}

bool AnyInOtherForm(List *tables, bool plain) {
  ListCell *cell;
  foreach (cell, tables)
    if (IsInOtherForm(lfirst_oid(cell), plain)) return true;
  return false;
}

}  // namespace

void MakeTriggers(const Watch &watch) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(watch.relation, ShareRowExclusiveLock, nullptr)) {
    Oid relation = lfirst_oid(cell);
    if (!CanBeWatched(relation)) continue;
    if (!FindOwnTrigger(relation, TriggerKind::kRow).copy) Create(relation, TriggerKind::kRow, FormOf(relation, false));
    if (CanBeTruncated(relation)) Create(relation, TriggerKind::kTruncate, "");
    for (TriggerKind kind : kTriggerKinds) SetState(relation, kind, watch.replication);
  }
}

void AddTriggers(const Watch &watch, Oid newcomer) {
  List *tables = find_all_inheritors(newcomer, NoLock, nullptr);
  bool added = false;
  ListCell *cell;
  foreach (cell, tables) {
    Oid relation = lfirst_oid(cell);
    if (!CanBeWatched(relation)) continue;
    // There is one where the newcomer is watched for another parent as well.
    bool row = !FindOwnTrigger(relation, TriggerKind::kRow).exists || IsInOtherForm(relation, false);
    bool truncate = CanBeTruncated(relation) && !FindOwnTrigger(relation, TriggerKind::kTruncate).exists;
    if (!row && !truncate) continue;
    LockRelationOid(relation, ShareRowExclusiveLock);
    // Dropped, while we waited for the lock?
    if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation))) continue;
    if (row) Create(relation, TriggerKind::kRow, FormOf(relation, false));
    if (truncate) Create(relation, TriggerKind::kTruncate, "");
    added = true;
  }
  // A trigger is made enabled, and so are its copies.
  if (added)
    foreach (cell, tables)
      for (TriggerKind kind : kTriggerKinds) SetState(lfirst_oid(cell), kind, watch.replication);
}

void FormTriggers(const Watch &watch, bool plain) {
  if (!AnyInOtherForm(find_all_inheritors(watch.relation, NoLock, nullptr), plain)) return;
  // What was seen without a lock is looked at again: a BEFORE UPDATE trigger may just be on its way.
  LockRelationOid(watch.relation, ShareRowExclusiveLock);
  List *tables = find_all_inheritors(watch.relation, ShareRowExclusiveLock, nullptr);
  List *states = NIL;
  ListCell *cell, *state;
  foreach (cell, tables) states = lappend_int(states, FindOwnTrigger(lfirst_oid(cell), TriggerKind::kRow).state);
  foreach (cell, tables)
    if (CanBeWatched(lfirst_oid(cell)) && IsInOtherForm(lfirst_oid(cell), plain))
      Create(lfirst_oid(cell), TriggerKind::kRow, FormOf(lfirst_oid(cell), plain));
  // Replacing a trigger replaces its copies, and enables them all.
  forboth (cell, tables, state, states)
    SetState(lfirst_oid(cell), TriggerKind::kRow, static_cast<char>(lfirst_int(state)));
}

void DropOwnTriggers(Oid relation) {
  for (TriggerKind kind : kTriggerKinds) {
    OwnTrigger own = FindOwnTrigger(relation, kind);
    if (own.exists && !own.copy)
      RunDdl(psprintf("DROP TRIGGER %s ON %s", NameFor(relation, kind, own), QualifiedName(relation)));
  }
}

void DropTriggers(Oid relation) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, AccessExclusiveLock, nullptr))
    if (WatchedAbove(lfirst_oid(cell)) == NIL) DropOwnTriggers(lfirst_oid(cell));
}

bool HasOwnTriggers(Oid relation) {
  for (TriggerKind kind : kTriggerKinds) {
    OwnTrigger own = FindOwnTrigger(relation, kind);
    if (own.exists && !own.copy) return true;
  }
  return false;
}

bool ChangingTriggers() { return changing; }

char *QualifiedName(Oid relation) {
  const char *name = get_rel_name(relation);
  if (name == nullptr)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table with oid %u does not exist any more", relation)));
  return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), name);
}

}  // namespace imagekit::capture
