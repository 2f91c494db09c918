// Reads and writes pg_trigger.

#include "capture/own_trigger.h"

namespace imagekit::capture {

namespace {

Oid FunctionOf(TriggerKind kind) {
  const char *name = kind == TriggerKind::kRow ? "capture" : "capture_truncate";
  return LookupFuncName(list_make2(makeString(pstrdup("imagekit")), makeString(pstrdup(name))), 0, nullptr, true);
}

// Calls `take` for each trigger of a table until it says that it has enough.
template <typename Take>
void ForEachTrigger(Relation triggers, Oid relation, Take take) {
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
  SysScanDesc scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, nullptr, 1, &key);
  HeapTuple tuple;
  while (HeapTupleIsValid(tuple = systable_getnext(scan)))
    if (take(tuple, *reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple)))) break;
  systable_endscan(scan);
}

bool HasBeforeUpdate(Oid relation) {
  bool found = false;
  Relation triggers = table_open(TriggerRelationId, AccessShareLock);
  ForEachTrigger(triggers, relation, [&](HeapTuple, const FormData_pg_trigger &trigger) {
    return found = TRIGGER_FOR_ROW(trigger.tgtype) && TRIGGER_FOR_BEFORE(trigger.tgtype) &&
                   TRIGGER_FOR_UPDATE(trigger.tgtype);
  });
  table_close(triggers, AccessShareLock);
  return found;
}

}  // namespace

const char *UsualName(TriggerKind kind) {
  return kind == TriggerKind::kRow ? "imagekit_capture" : "imagekit_capture_truncate";
}

bool IsCaptureFunction(Oid function) {
  HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(tuple)) return false;
  const FormData_pg_proc &found = *reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
  bool ours = found.prolang == ClanguageId && strcmp(NameStr(found.proname), "capture") == 0 &&
              found.pronamespace == get_namespace_oid("imagekit", true);
  // Functions in C are made by superusers only.
  if (ours) {
    bool null;
    Datum source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &null);
    ours = !null && strcmp(TextDatumGetCString(source), "imagekit_capture") == 0;
  }
  ReleaseSysCache(tuple);
  return ours;
}

OwnTrigger FindOwnTrigger(Oid relation, TriggerKind kind) {
  OwnTrigger own = {};
  Oid function = FunctionOf(kind);
  Relation triggers = table_open(TriggerRelationId, AccessShareLock);
  ForEachTrigger(triggers, relation, [&](HeapTuple, const FormData_pg_trigger &trigger) {
    if (trigger.tgfoid != function) return false;
    own.exists = true;
    own.name = trigger.tgname;
    own.copy = OidIsValid(trigger.tgparentid);
    for (int i = 0; i < trigger.tgattr.dim1; i++) own.columns = bms_add_member(own.columns, trigger.tgattr.values[i]);
    own.state = trigger.tgenabled;
    return true;
  });
  table_close(triggers, AccessShareLock);
  return own;
}

bool MayChangeUnseen(Oid relation) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, NoLock, nullptr))
    if (HasBeforeUpdate(lfirst_oid(cell))) return true;
  return false;
}

void SetState(Oid relation, TriggerKind kind, char state) {
  Oid function = FunctionOf(kind);
  HeapTuple changed = nullptr;
  Relation triggers = table_open(TriggerRelationId, RowExclusiveLock);
  ForEachTrigger(triggers, relation, [&](HeapTuple tuple, const FormData_pg_trigger &trigger) {
    if (trigger.tgfoid != function) return false;
    if (trigger.tgenabled != state) changed = heap_copytuple(tuple);
    return true;
  });
  if (changed != nullptr) {
    reinterpret_cast<Form_pg_trigger>(GETSTRUCT(changed))->tgenabled = state;
    CatalogTupleUpdate(triggers, &changed->t_self, changed);
    CacheInvalidateRelcacheByRelid(relation);
  }
  table_close(triggers, RowExclusiveLock);
  CommandCounterIncrement();
}

}  // namespace imagekit::capture
