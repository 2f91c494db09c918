// Reads parse trees: table names in them are resolved as the command itself resolves them.

#include "capture/ddl_command.h"

#include "capture/watch_config.h"

namespace imagekit::capture {

namespace {

void Add(List **tables, const RangeVar *name) {
  Oid table = RangeVarGetRelid(name, NoLock, true);
  if (OidIsValid(table)) *tables = list_append_unique_oid(*tables, table);
}

const RangeVar *PartitionOf(const AlterTableCmd *step) { return reinterpret_cast<PartitionCmd *>(step->def)->name; }

void ReadSteps(const AlterTableStmt *statement, Alteration *alteration) {
  ListCell *cell;
  foreach (cell, statement->cmds) {
    auto *step = static_cast<AlterTableCmd *>(lfirst(cell));
    switch (step->subtype) {
      case AT_AttachPartition:
        Add(&alteration->newcomers, PartitionOf(step));
        alteration->attach = true;
        break;
      case AT_AddInherit:
        Add(&alteration->newcomers, statement->relation);
        break;
      case AT_DetachPartition:
      case AT_DetachPartitionFinalize:
        Add(&alteration->parted, PartitionOf(step));
        break;
      case AT_DropInherit:
        Add(&alteration->parted, statement->relation);
        Add(&alteration->tables, reinterpret_cast<RangeVar *>(step->def));
        break;
      case AT_DropColumn:
      case AT_AlterColumnType:
        alteration->columns = lappend(alteration->columns, makeString(step->name));
        break;
      default:
        break;
    }
  }
}

// CREATE TABLE ... OF type: the tables follow their type.
void AddTypedTables(const RangeVar *type, Alteration *alteration) {
  Oid composite = RangeVarGetRelid(type, NoLock, true);
  ListCell *cell;
  foreach (cell, WatchedTables()) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(cell)));
    if (!HeapTupleIsValid(tuple)) continue;
    Oid of_type = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->reloftype;
    ReleaseSysCache(tuple);
    if (OidIsValid(of_type) && OidIsValid(composite) && of_type == get_rel_type_id(composite))
      alteration->tables = lappend_oid(alteration->tables, lfirst_oid(cell));
  }
}

void ReadCreate(const CreateStmt *statement, const char *schema, Alteration *alteration) {
  if (statement->inhRelations == NIL) return;  // concerns no table but itself
  RangeVar *name = statement->relation;
  if (name->schemaname == nullptr && schema != nullptr) name = makeRangeVar(pstrdup(schema), name->relname, -1);
  Add(&alteration->newcomers, name);
}

}  // namespace

Alteration ReadAlteration(const EventTriggerData &event) {
  Alteration alteration = {};
  Node *command = event.parsetree;
  if (command == nullptr) return alteration;
  switch (nodeTag(command)) {
    case T_AlterTableStmt: {
      auto *statement = reinterpret_cast<AlterTableStmt *>(command);
      if (statement->objtype == OBJECT_TABLE) Add(&alteration.tables, statement->relation);
      if (statement->objtype == OBJECT_TYPE) AddTypedTables(statement->relation, &alteration);
      if (alteration.tables != NIL) ReadSteps(statement, &alteration);
      break;
    }
    case T_RenameStmt: {
      auto *statement = reinterpret_cast<RenameStmt *>(command);
      if (statement->renameType == OBJECT_COLUMN) Add(&alteration.tables, statement->relation);
      if (statement->renameType == OBJECT_ATTRIBUTE) AddTypedTables(statement->relation, &alteration);
      break;
    }
    case T_CreateStmt:
      ReadCreate(reinterpret_cast<CreateStmt *>(command), nullptr, &alteration);
      break;
    case T_CreateSchemaStmt: {
      auto *statement = reinterpret_cast<CreateSchemaStmt *>(command);
      ListCell *cell;
      foreach (cell, statement->schemaElts)
        if (IsA(lfirst(cell), CreateStmt))
          ReadCreate(static_cast<CreateStmt *>(lfirst(cell)), statement->schemaname, &alteration);
      break;
    }
    case T_CreateTrigStmt:
      Add(&alteration.tables, reinterpret_cast<CreateTrigStmt *>(command)->relation);
      break;
    default:
      break;
  }
  return alteration;
}

List *ConcernedTables(const Alteration &alteration) {
  List *watched = WatchedTables();
  List *concerned = NIL;
  if (watched == NIL) return NIL;
  ListCell *named, *cell;
  foreach (named, list_concat_unique_oid(list_copy(alteration.tables), alteration.newcomers)) {
    concerned = list_concat_unique_oid(concerned, WatchedAbove(lfirst_oid(named)));
    foreach (cell, find_all_inheritors(lfirst_oid(named), NoLock, nullptr))
      if (list_member_oid(watched, lfirst_oid(cell))) concerned = list_append_unique_oid(concerned, lfirst_oid(cell));
  }
  return concerned;
}

const char *TagOf(const EventTriggerData *event) { return GetCommandTagName(event->tag); }

EventTriggerData *EventOf(FunctionCallInfo fcinfo, const char *function) {
  if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("imagekit.%s() must be fired by an event trigger", function),
                    errhint("CREATE EXTENSION imagekit_cleanup makes the event trigger.")));
  return reinterpret_cast<EventTriggerData *>(fcinfo->context);
}

void WarnNotFollowed(const ErrorData *error, const EventTriggerData *event, Oid table) {
  if (error == nullptr) return;
  const char *name = get_rel_name(table);
  ereport(WARNING,
          (errcode(error->sqlerrcode), errmsg("imagekit_cleanup could not follow %s: %s", TagOf(event), error->message),
           name == nullptr ? errdetail("The command itself is not affected.")
                           : errdetail("It concerns watched table \"%s\". The command itself is not affected.", name),
           errhint("Look at imagekit.watched, and call imagekit.watch() again for tables that were changed.")));
}

}  // namespace imagekit::capture
