// CREATE, ALTER and DROP TRIGGER for watched tables and what is below them.

#include "capture/triggers.h"

#include "pg/sql.h"

namespace imagekit::capture {

namespace {

constexpr const char *kTriggers[] = {kRowTrigger, kTruncateTrigger};

bool changing = false;

void RunDdl(const char *sql) {
  changing = true;
  PG_TRY();
  { pg::RunSql(sql, SPI_OK_UTILITY); }
  PG_FINALLY();
  { changing = false; }
  PG_END_TRY();
}

const Trigger *FindTrigger(Relation relation, const char *name) {
  for (int i = 0; relation->trigdesc != nullptr && i < relation->trigdesc->numtriggers; i++)
    if (strcmp(relation->trigdesc->triggers[i].tgname, name) == 0) return &relation->trigdesc->triggers[i];
  return nullptr;
}

// 'D' when the table has no such trigger; the lock is the caller's affair.
char StateOf(Oid relation, const char *name) {
  Relation open = table_open(relation, NoLock);
  const Trigger *trigger = FindTrigger(open, name);
  char state = trigger == nullptr ? TRIGGER_DISABLED : trigger->tgenabled;
  table_close(open, NoLock);
  return state;
}

bool Exists(Oid relation, const char *name) { return OidIsValid(get_trigger_oid(relation, name, true)); }

// " OF image, thumb", or "" for the plain form.
char *ColumnList(const Watch &watch) {
  StringInfoData list;
  initStringInfo(&list);
  for (int i = 0; i < watch.count; i++) {
    const WatchedSource &source = watch.sources[i];
    bool listed = source.dropped || !source.captured;
    for (int j = 0; j < i && !listed; j++) listed = strcmp(watch.sources[j].source.column, source.source.column) == 0;
    if (!listed) appendStringInfo(&list, "%s%s", list.len == 0 ? " OF " : ", ", quote_identifier(source.source.column));
  }
  return list.data;
}

bool MayChangeUnseen(const FormData_pg_trigger &trigger) {
  return TRIGGER_FOR_ROW(trigger.tgtype) && TRIGGER_FOR_BEFORE(trigger.tgtype) && TRIGGER_FOR_UPDATE(trigger.tgtype);
}

// Looks through a table's triggers in the catalog; no lock on the table needed.
bool AnyTrigger(Oid relation, bool (*is)(const FormData_pg_trigger &trigger)) {
  Relation triggers = table_open(TriggerRelationId, AccessShareLock);
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
  SysScanDesc scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, nullptr, 1, &key);
  bool found = false;
  HeapTuple tuple;
  while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
    found = is(*reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple)));
  systable_endscan(scan);
  table_close(triggers, AccessShareLock);
  return found;
}

bool IsFocused(const FormData_pg_trigger &trigger) {
  return strcmp(NameStr(trigger.tgname), kRowTrigger) == 0 && trigger.tgattr.dim1 > 0;
}

void CreateRowTrigger(Oid relation, const char *columns) {
  RunDdl(
      psprintf("CREATE OR REPLACE TRIGGER %s AFTER DELETE OR UPDATE%s ON %s "
               "FOR EACH ROW EXECUTE FUNCTION imagekit.capture()",
               kRowTrigger, columns, QualifiedName(relation)));
}

void CreateTruncateTrigger(Oid relation) {
  RunDdl(
      psprintf("CREATE OR REPLACE TRIGGER %s BEFORE TRUNCATE ON %s "
               "FOR EACH STATEMENT EXECUTE FUNCTION imagekit.capture_truncate()",
               kTruncateTrigger, QualifiedName(relation)));
}

// Temporary children are not watched: the worker cannot read them.
bool CanBeWatched(Oid relation) { return get_rel_persistence(relation) != RELPERSISTENCE_TEMP; }

// A foreign table is not truncated by us or anybody here.
bool CanBeTruncated(Oid relation) { return get_rel_relkind(relation) != RELKIND_FOREIGN_TABLE; }

// As ALTER TABLE ... ENABLE TRIGGER does it, which would refuse a table with pending trigger events, or one that a cursor of
// this session reads.
void SetState(Oid relation, const char *name, char state) {
  Relation triggers = table_open(TriggerRelationId, RowExclusiveLock);
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
  ScanKeyInit(&keys[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
  SysScanDesc scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, nullptr, 2, keys);
  HeapTuple found = systable_getnext(scan);
  if (HeapTupleIsValid(found)) {
    HeapTuple changed = heap_copytuple(found);
    reinterpret_cast<Form_pg_trigger>(GETSTRUCT(changed))->tgenabled = state;
    CatalogTupleUpdate(triggers, &changed->t_self, changed);
    CacheInvalidateRelcacheByRelid(relation);
  }
  systable_endscan(scan);
  table_close(triggers, RowExclusiveLock);
  CommandCounterIncrement();
}

void SetStates(Oid relation, char state) {
  for (const char *name : kTriggers)
    if (Exists(relation, name) && StateOf(relation, name) != state) SetState(relation, name, state);
}

bool IsCopy(Oid relation, const char *name) {
  Relation open = table_open(relation, NoLock);
  const Trigger *trigger = FindTrigger(open, name);
  bool copy = trigger != nullptr && trigger->tgisclone;
  table_close(open, NoLock);
  return copy;
}

}  // namespace

// Triggers that are disabled now count as well: nobody tells us when they are enabled in one session.
bool NeedsPlainForm(Oid table) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(table, NoLock, nullptr))
    if (AnyTrigger(lfirst_oid(cell), MayChangeUnseen)) return true;
  return false;
}

void MakeTriggers(const Watch &watch) {
  const char *columns = NeedsPlainForm(watch.relation) ? "" : ColumnList(watch);
  ListCell *cell;
  foreach (cell, find_all_inheritors(watch.relation, ShareRowExclusiveLock, nullptr)) {
    Oid relation = lfirst_oid(cell);
    if (!CanBeWatched(relation)) continue;
    if (!IsCopy(relation, kRowTrigger)) CreateRowTrigger(relation, columns);
    if (CanBeTruncated(relation)) CreateTruncateTrigger(relation);
    SetStates(relation, watch.replication);
  }
}

void AddTriggers(const Watch &watch, Oid newcomer) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(newcomer, NoLock, nullptr)) {
    Oid relation = lfirst_oid(cell);
    if (!CanBeWatched(relation)) continue;
    bool row = !Exists(relation, kRowTrigger);
    bool truncate = CanBeTruncated(relation) && !Exists(relation, kTruncateTrigger);
    if (!row && !truncate) continue;
    LockRelationOid(relation, ShareRowExclusiveLock);
    // Dropped, while we waited for the lock?
    if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation))) continue;
    if (row) CreateRowTrigger(relation, NeedsPlainForm(watch.relation) ? "" : ColumnList(watch));
    if (truncate) CreateTruncateTrigger(relation);
    SetStates(relation, watch.replication);
  }
}

void FormTriggers(const Watch &watch, bool plain) {
  // One that is not there, or was dropped, is not made by the way.
  if (!Exists(watch.relation, kRowTrigger)) return;
  bool focus = !plain && !NeedsPlainForm(watch.relation) && ColumnList(watch)[0] != '\0';
  if (AnyTrigger(watch.relation, IsFocused) == focus) return;
  // What was seen without a lock is looked at again: a BEFORE UPDATE trigger may just be on its way.
  LockRelationOid(watch.relation, ShareRowExclusiveLock);
  List *tables = find_all_inheritors(watch.relation, ShareRowExclusiveLock, nullptr);
  if (!Exists(watch.relation, kRowTrigger)) return;
  const char *columns = plain || NeedsPlainForm(watch.relation) ? "" : ColumnList(watch);
  List *states = NIL;
  ListCell *cell, *state;
  foreach (cell, tables) states = lappend_int(states, StateOf(lfirst_oid(cell), kRowTrigger));
  // Replacing a trigger replaces its copies, and enables them all.
  foreach (cell, tables)
    if (CanBeWatched(lfirst_oid(cell)) && !IsCopy(lfirst_oid(cell), kRowTrigger))
      CreateRowTrigger(lfirst_oid(cell), columns);
  forboth (cell, tables, state, states)
    if (StateOf(lfirst_oid(cell), kRowTrigger) != lfirst_int(state))
      SetState(lfirst_oid(cell), kRowTrigger, static_cast<char>(lfirst_int(state)));
}

void DropOwnTriggers(Oid relation) {
  for (const char *name : kTriggers)
    if (Exists(relation, name) && !IsCopy(relation, name))
      RunDdl(psprintf("DROP TRIGGER %s ON %s", name, QualifiedName(relation)));
}

void DropTriggers(Oid relation) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, AccessExclusiveLock, nullptr))
    if (WatchedAbove(lfirst_oid(cell)) == NIL) DropOwnTriggers(lfirst_oid(cell));
}

bool HasOwnTriggers(Oid relation) {
  for (const char *name : kTriggers)
    if (Exists(relation, name) && !IsCopy(relation, name)) return true;
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
