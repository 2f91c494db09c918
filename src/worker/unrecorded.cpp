#include "worker/unrecorded.h"

#include "pg/settings.h"

namespace imagekit::worker {

namespace {

// Of one level of subtransactions.
struct Deleted {
  int level;
  int64 files;     // ImageKit has said so
  int64 in_doubt;  // it was asked to, and has not said
};

// Innermost last, in TopTransactionContext; NIL in most transactions there are.
List *levels = NIL;
bool registered = false;

Deleted *Innermost() { return levels == NIL ? nullptr : static_cast<Deleted *>(llast(levels)); }

void Say(int64 files, int64 in_doubt) {
  const int64 counted = files > 0 ? files : in_doubt;
  if (counted == 0) return;
  const char *may_have = in_doubt == 0 ? ""
                         : files == 0  ? " It was asked to delete them, and has not said that it did."
                                       : psprintf(" It was asked to delete %lld more, and has not said that it did.",
                                                  static_cast<long long>(in_doubt));
  ereport(WARNING,
          (files > 0 ? errmsg_plural("%lld file stays deleted from ImageKit, though the transaction is rolled back",
                                     "%lld files stay deleted from ImageKit, though the transaction is rolled back",
                                     static_cast<unsigned long>(counted), static_cast<long long>(counted))
                     : errmsg_plural("%lld file may be deleted from ImageKit, though the transaction is rolled back",
                                     "%lld files may be deleted from ImageKit, though the transaction is rolled back",
                                     static_cast<unsigned long>(counted), static_cast<long long>(counted)),
           errdetail("ImageKit knows no rollback; imagekit.history does not have them.%s", may_have),
           settings::log_deletions
               ? errhint("The server log has a line \"Successfully deleted ImageKit file\" for each that was deleted.")
               : 0));
}

void OnTransaction(XactEvent event, void *) {
  if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE) return;
  Deleted all = {};
  ListCell *cell;
  foreach (cell, levels) {
    const auto *level = static_cast<Deleted *>(lfirst(cell));
    all.files += level->files;
    all.in_doubt += level->in_doubt;
  }
  levels = NIL;  // its memory goes with the transaction
  if (event == XACT_EVENT_ABORT) Say(all.files, all.in_doubt);
}

void OnSubtransaction(SubXactEvent event, SubTransactionId, SubTransactionId, void *) {
  Deleted *innermost = Innermost();
  const int level = GetCurrentTransactionNestLevel();
  if (innermost == nullptr || innermost->level < level) return;
  if (event == SUBXACT_EVENT_COMMIT_SUB) {
    innermost->level = level - 1;
    const int count = list_length(levels);
    auto *outer = count < 2 ? nullptr : static_cast<Deleted *>(list_nth(levels, count - 2));
    if (outer == nullptr || outer->level < level - 1) return;
    outer->files += innermost->files;
    outer->in_doubt += innermost->in_doubt;
    levels = list_delete_last(levels);
  } else if (event == SUBXACT_EVENT_ABORT_SUB) {
    const Deleted gone = *innermost;
    levels = list_delete_last(levels);
    Say(gone.files, gone.in_doubt);
  }
}

Deleted *OfThisLevel() {
  const int level = GetCurrentTransactionNestLevel();
  Deleted *innermost = Innermost();
  if (innermost != nullptr && innermost->level == level) return innermost;
  MemoryContext before = MemoryContextSwitchTo(TopTransactionContext);
  auto *deleted = static_cast<Deleted *>(palloc0(sizeof(Deleted)));
  deleted->level = level;
  levels = lappend(levels, deleted);
  MemoryContextSwitchTo(before);
  return deleted;
}

}  // namespace

void NoteDeletedByHand(const Batch &batch) {
  if (!registered) {
    RegisterXactCallback(OnTransaction, nullptr);
    RegisterSubXactCallback(OnSubtransaction, nullptr);
    registered = true;
  }
  Deleted *deleted = OfThisLevel();
  for (int i = 0; i < batch.count; i++) {
    const QueuedFile &file = batch.files[i];
    if (file.fate == Fate::kDeleted)
      deleted->files++;
    else if (OutcomeOf(file.fate) == nullptr && (file.in_doubt || IsAt(file, Stage::kSent)))
      deleted->in_doubt++;
  }
}

}  // namespace imagekit::worker
