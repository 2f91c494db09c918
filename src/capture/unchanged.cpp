// Answers WHEN (true) of our row trigger, for the tables that a statement is about to write.

#include "capture/unchanged.h"

#include "capture/own_trigger.h"
#include "capture/row.h"

namespace imagekit::capture {

namespace {

ExecutorStart_hook_type previous_hook = nullptr;

// What a condition is asked about, and by what. In the statement's memory, as the table's description is.
struct Condition {
  ExprState state;  // first: the executor has a pointer to it
  Relation relation;
};

// NULL where the slot holds no row in a heap's form.
HeapTuple HeapRow(TupleTableSlot *slot) {
  return TTS_IS_HEAPTUPLE(slot) || TTS_IS_BUFFERTUPLE(slot) ? reinterpret_cast<HeapTupleTableSlot *>(slot)->tuple
                                                            : nullptr;
}

// By what the trigger would go by, and not by the columns it names: those may be others.
bool SameWatchedColumns(const WatchedRelation &watched, TupleTableSlot *before, TupleTableSlot *after) {
  for (int i = 0; i < watched.count; i++)
    if (!SameBytes(watched.sources[i].column, before, after)) return false;
  return true;
}

// The executor has put the old row and the new one where a WHEN condition finds its OLD and NEW.
Datum MayHaveLost(ExprState *state, ExprContext *context, bool *null) {
  TupleTableSlot *before = context->ecxt_innertuple, *after = context->ecxt_outertuple;
  *null = false;
  if (TupIsNull(before) || TupIsNull(after)) return BoolGetDatum(true);  // a DELETE
  HeapTuple old_row = HeapRow(before), new_row = HeapRow(after);
  if (old_row != nullptr && new_row != nullptr && SameRow(old_row, new_row)) return BoolGetDatum(false);
  return BoolGetDatum(!SameWatchedColumns(*LookUp(reinterpret_cast<Condition *>(state)->relation), before, after));
}

// A constant that somebody else has put there is theirs. Its bytes are printed in the machine's order.
bool SaysTrue(const char *condition) {
  return strncmp(condition, "{CONST ", 7) == 0 && strstr(condition, ":constisnull false") != nullptr &&
         (strstr(condition, ":constvalue 1 [ 1 0 ") != nullptr || strstr(condition, " 0 1 ]") != nullptr);
}

bool IsOurs(const Trigger &trigger) {
  return TRIGGER_FOR_ROW(trigger.tgtype) && TRIGGER_FOR_AFTER(trigger.tgtype) && TRIGGER_FOR_UPDATE(trigger.tgtype) &&
         trigger.tgqual != nullptr && SaysTrue(trigger.tgqual) && IsCaptureFunction(trigger.tgfoid);
}

void AnswerFor(ResultRelInfo *target) {
  TriggerDesc *triggers = target->ri_TrigDesc;
  if (triggers == nullptr || !triggers->trig_update_after_row || target->ri_TrigWhenExprs == nullptr) return;
  for (int i = 0; i < triggers->numtriggers; i++) {
    if (target->ri_TrigWhenExprs[i] != nullptr || !IsOurs(triggers->triggers[i])) continue;
    auto *condition = static_cast<Condition *>(palloc0(sizeof(Condition)));
    NodeSetTag(&condition->state, T_ExprState);
    condition->state.flags = EEO_FLAG_IS_QUAL;
    condition->state.evalfunc = MayHaveLost;
    condition->relation = target->ri_RelationDesc;
    target->ri_TrigWhenExprs[i] = &condition->state;
  }
}

void OnExecutorStart(QueryDesc *query, int flags) {
  if (previous_hook != nullptr)
    previous_hook(query, flags);
  else
    standard_ExecutorStart(query, flags);
  EState *executor = query->estate;
  if (executor == nullptr || executor->es_opened_result_relations == NIL || (flags & EXEC_FLAG_EXPLAIN_ONLY) != 0)
    return;
  MemoryContext before = MemoryContextSwitchTo(executor->es_query_cxt);
  ListCell *cell;
  foreach (cell, executor->es_opened_result_relations) AnswerFor(static_cast<ResultRelInfo *>(lfirst(cell)));
  MemoryContextSwitchTo(before);
}

}  // namespace

void InitializeUnchanged() {
  previous_hook = ExecutorStart_hook;
  ExecutorStart_hook = OnExecutorStart;
}

}  // namespace imagekit::capture
