// Reads parse trees: table names in them are resolved as the command itself resolves them.

#include "capture/ddl_command.h"

#include "capture/watch_config.h"

namespace imagekit::capture {

namespace {

Oid NamedTable(const RangeVar *name) { return RangeVarGetRelid(name, NoLock, true); }

void ReadSteps(const AlterTableStmt *statement, Alteration *alteration) {
  ListCell *cell;
  foreach (cell, statement->cmds) {
    auto *step = static_cast<AlterTableCmd *>(lfirst(cell));
    switch (step->subtype) {
      case AT_AttachPartition:
        alteration->attached = NamedTable(reinterpret_cast<PartitionCmd *>(step->def)->name);
        alteration->structure = true;
        break;
      case AT_AddInherit:
        alteration->structure = true;
        break;
      case AT_DetachPartition:
      case AT_DetachPartitionFinalize:
        alteration->parted =
            lappend_oid(alteration->parted, NamedTable(reinterpret_cast<PartitionCmd *>(step->def)->name));
        break;
      case AT_DropInherit:
        alteration->parted = lappend_oid(alteration->parted, alteration->table);
        break;
      case AT_DropColumn:
      case AT_AlterColumnType:
        alteration->columns = true;
        break;
      default:
        break;
    }
  }
}

}  // namespace

Alteration ReadAlteration(const EventTriggerData &event) {
  Alteration alteration = {};
  Node *command = event.parsetree;
  if (command == nullptr) return alteration;
  switch (nodeTag(command)) {
    case T_AlterTableStmt: {
      auto *statement = reinterpret_cast<AlterTableStmt *>(command);
      if (statement->objtype == OBJECT_TABLE) {
        alteration.table = NamedTable(statement->relation);
        ReadSteps(statement, &alteration);
      } else {
        alteration.any = statement->objtype == OBJECT_TYPE;
      }
      break;
    }
    case T_RenameStmt: {
      auto *statement = reinterpret_cast<RenameStmt *>(command);
      if (statement->renameType == OBJECT_COLUMN) alteration.table = NamedTable(statement->relation);
      alteration.any = statement->renameType == OBJECT_ATTRIBUTE;  // of the type of typed tables
      break;
    }
    case T_CreateStmt:
      alteration.table = NamedTable(reinterpret_cast<CreateStmt *>(command)->relation);
      alteration.structure = true;
      break;
    case T_CreateSchemaStmt:
      alteration.any = alteration.structure = true;
      break;
    case T_CreateTrigStmt:
      alteration.table = NamedTable(reinterpret_cast<CreateTrigStmt *>(command)->relation);
      break;
    default:
      break;
  }
  return alteration;
}

List *ConcernedTables(const Alteration &alteration) {
  if (alteration.any) return WatchedTables();
  if (!OidIsValid(alteration.table)) return NIL;
  List *concerned = WatchedAbove(alteration.table);
  List *watched = WatchedTables();
  ListCell *cell;
  foreach (cell, find_all_inheritors(alteration.table, NoLock, nullptr))
    if (list_member_oid(watched, lfirst_oid(cell))) concerned = list_append_unique_oid(concerned, lfirst_oid(cell));
  return concerned;
}

bool IsPlainCreate(Node *command) {
  return command != nullptr && IsA(command, CreateStmt) && reinterpret_cast<CreateStmt *>(command)->inhRelations == NIL;
}

const char *TagOf(const EventTriggerData *event) { return GetCommandTagName(event->tag); }

EventTriggerData *EventOf(FunctionCallInfo fcinfo, const char *function) {
  if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("imagekit.%s() must be fired by an event trigger", function),
                    errhint("CREATE EXTENSION imagekit_cleanup makes the event trigger.")));
  return reinterpret_cast<EventTriggerData *>(fcinfo->context);
}

void WarnNotFollowed(const ErrorData *error, const EventTriggerData *event) {
  if (error == nullptr) return;
  ereport(WARNING,
          (errcode(error->sqlerrcode), errmsg("imagekit_cleanup could not follow %s: %s", TagOf(event), error->message),
           errdetail("The command itself is not affected."),
           errhint("Look at imagekit.watched, and call imagekit.watch() again for tables that were changed.")));
}

}  // namespace imagekit::capture
