// DROP DATABASE, RENAME, SET TABLESPACE and CREATE DATABASE ... TEMPLATE fail while anybody is connected to the database: they
// wait for 5 s, and before PostgreSQL 19 nobody tells a background worker to go. So the session that runs such a command
// does. The worker of that database stops at once, whatever it is doing (it holds nothing, and what it had claimed comes back),
// and no other is started before the session's transaction is over; then the database gets one as ever. That end comes in any
// case: an error, a cancelled or a terminated session end the transaction, and the death of the server's processes takes the
// shared memory with them.
//
// Three more things of which nobody else would tell the worker: which databases there are, that a prepared transaction was committed,
// and that an account's options or keys are others, by which an audit may be due.

#include "worker/database_commands.h"

#include "pg/sql.h"
#include "worker/shared_state.h"

namespace imagekit::worker {

namespace {

ProcessUtility_hook_type next_hook = nullptr;

// Those that this session's transaction has set aside.
List *set_aside = NIL;
bool databases_change = false;
bool accounts_change = false;

void SetAsideUntilEnd(const char *name) {
  Oid database = name == nullptr ? InvalidOid : get_database_oid(name, true);
  // The command says itself what is wrong. Whoever may not do it shall not stop a worker by trying.
  if (!OidIsValid(database) || !pg::OwnsDatabase(database, GetUserId())) return;
  MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
  set_aside = lappend_oid(set_aside, database);
  MemoryContextSwitchTo(before);
  SetAside(database);
}

void OnTransaction(XactEvent event, void *) {
  if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE) return;
  if (set_aside == NIL && !databases_change && !accounts_change) return;
  ListCell *cell;
  foreach (cell, set_aside) EndAside(lfirst_oid(cell));
  list_free(set_aside);
  set_aside = NIL;
  if (databases_change) DatabasesChanged();
  if (accounts_change && event == XACT_EVENT_COMMIT) WakeForAccounts(MyDatabaseId);
  if (accounts_change && event == XACT_EVENT_PREPARE) NoteAccountsPrepared(MyDatabaseId);
  databases_change = accounts_change = false;
}

const char *TextOption(List *options, const char *name) {
  ListCell *cell;
  foreach (cell, options) {
    auto *option = lfirst_node(DefElem, cell);
    if (strcmp(option->defname, name) == 0 && option->arg != nullptr) return defGetString(option);
  }
  return nullptr;
}

// DROP OWNED locks what it drops as it finds it: a table of the extension, perhaps, before the extension. A worker goes the
// other way, and one of the two would end as the victim of a deadlock. The extension first, for both.
void LockExtensionOf(List *roles) {
  Oid extension = get_extension_oid("imagekit_cleanup", true);
  if (!OidIsValid(extension)) return;
  Oid owner = pg::ExtensionOwner();
  ListCell *cell;
  foreach (cell, roles) {
    Oid role = get_rolespec_oid(lfirst_node(RoleSpec, cell), true);
    if (role != owner || !has_privs_of_role(GetUserId(), role)) continue;
    LockDatabaseObject(ExtensionRelationId, extension, 0, AccessExclusiveLock);
    return;
  }
}

void Before(Node *command) {
  switch (nodeTag(command)) {
    case T_DropdbStmt:
      SetAsideUntilEnd(castNode(DropdbStmt, command)->dbname);
      break;
    case T_RenameStmt:
      if (castNode(RenameStmt, command)->renameType != OBJECT_DATABASE) return;
      SetAsideUntilEnd(castNode(RenameStmt, command)->subname);
      break;
    case T_AlterDatabaseStmt:  // SET TABLESPACE; and what makes a template of it
      SetAsideUntilEnd(castNode(AlterDatabaseStmt, command)->dbname);
      break;
    case T_CreatedbStmt:
      SetAsideUntilEnd(TextOption(castNode(CreatedbStmt, command)->options, "template"));
      break;
    case T_DropOwnedStmt:
      LockExtensionOf(castNode(DropOwnedStmt, command)->roles);
      return;
    case T_CreateForeignServerStmt:
    case T_AlterForeignServerStmt:
    case T_CreateUserMappingStmt:
    case T_AlterUserMappingStmt:
      accounts_change = accounts_change || OidIsValid(get_extension_oid("imagekit_cleanup", true));
      return;
    default:
      return;
  }
  databases_change = true;
}

bool CommitsPrepared(Node *command) {
  return IsA(command, TransactionStmt) && castNode(TransactionStmt, command)->kind == TRANS_STMT_COMMIT_PREPARED;
}

void OnUtility(PlannedStmt *statement, const char *text, bool read_only_tree, ProcessUtilityContext context,
               ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination,
               QueryCompletion *completion) {
  Node *command = statement->utilityStmt;
  // What ends a transaction may find an aborted one, in which nothing can be looked up; and its tree goes with it.
  bool commits_prepared = CommitsPrepared(command);
  if (IsTransactionState()) Before(command);
  (next_hook != nullptr ? next_hook : standard_ProcessUtility)(statement, text, read_only_tree, context, params,
                                                               environment, destination, completion);
  if (commits_prepared) WakeForPrepared(MyDatabaseId);
}

}  // namespace

void WatchDatabaseCommands() {
  next_hook = ProcessUtility_hook;
  ProcessUtility_hook = OnUtility;
  RegisterXactCallback(OnTransaction, nullptr);
}

}  // namespace imagekit::worker
