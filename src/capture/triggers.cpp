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

// Those of ours that a table needs; a foreign table is not truncated by us or anybody here.
bool Needs(Oid relation, const char *trigger) {
  return trigger == kRowTrigger || get_rel_relkind(relation) != RELKIND_FOREIGN_TABLE;
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

void Create(Oid relation, const char *name) {
  bool row = name == kRowTrigger;
  RunDdl(psprintf("CREATE TRIGGER %s %s ON %s FOR EACH %s EXECUTE FUNCTION imagekit.%s()", name,
                  row ? "AFTER DELETE OR UPDATE" : "BEFORE TRUNCATE", QualifiedName(relation),
                  row ? "ROW" : "STATEMENT", row ? "capture" : "capture_truncate"));
}

void SetState(Oid relation, const char *name, char state) {
  const char *when = state == TRIGGER_FIRES_ALWAYS ? "ALWAYS " : state == TRIGGER_FIRES_ON_REPLICA ? "REPLICA " : "";
  RunDdl(psprintf("ALTER TABLE ONLY %s ENABLE %sTRIGGER %s", QualifiedName(relation), when, name));
}

bool IsCopy(Oid relation, const char *name) {
  Relation open = table_open(relation, NoLock);
  const Trigger *trigger = FindTrigger(open, name);
  bool copy = trigger != nullptr && trigger->tgisclone;
  table_close(open, NoLock);
  return copy;
}

}  // namespace

void EnsureTriggers(const Watch &watch, bool all) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(watch.relation, all ? ShareRowExclusiveLock : NoLock, nullptr)) {
    Oid relation = lfirst_oid(cell);
    for (const char *name : kTriggers) {
      if (!Needs(relation, name)) continue;
      bool missing = !Exists(relation, name);
      if (missing) {
        LockRelationOid(relation, ShareRowExclusiveLock);
        Create(relation, name);
      }
      if ((missing || all) && StateOf(relation, name) != watch.replication) SetState(relation, name, watch.replication);
    }
  }
}

void DropTriggers(Oid relation) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, AccessExclusiveLock, nullptr)) {
    Oid below = lfirst_oid(cell);
    if (WatchedAbove(below) != NIL) continue;
    for (const char *name : kTriggers)
      if (Exists(below, name) && !IsCopy(below, name))
        RunDdl(psprintf("DROP TRIGGER %s ON %s", name, QualifiedName(below)));
  }
}

bool HasOwnTriggers(Oid relation) {
  for (const char *name : kTriggers)
    if (Exists(relation, name) && !IsCopy(relation, name)) return true;
  return false;
}

bool ChangingTriggers() { return changing; }

char *QualifiedName(Oid relation) {
  return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation));
}

}  // namespace imagekit::capture
