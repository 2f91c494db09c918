// One round, as a story. Database work is in short transactions; between them, while ImageKit is asked, none is
// open in the worker, and in a procedure no snapshot is held.
//
//   [take in, claim, moved rows, resolve]  look up  [deleted before?]  ([still used?]  delete)*  [settle]
//
// A round that ends anywhere in between loses nothing: what it claimed is given back by the next drain, and a file that
// was deleted but not settled is then found to be gone.

#include "worker/drain.h"

#include "outbox/backlog.h"
#include "outbox/hold.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/arming.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Journal tuples taken in at once: some hundreds of URLs, so that a transaction stays short.
constexpr int kTuplesPerRound = 10;
// Of moved rows. As each look reads all of the watched tables, it is for as many as may be, and while there are removals to
// be done, only now and then.
constexpr int kMovesPerLook = 100;
constexpr int kRoundsPerLook = 8;

// A file that would wait longer for its account's pace goes back to the queue, and so does what is left of a round that
// takes longer: what was looked up must not grow old.
constexpr int kLongestPace = 2000;    // ms
constexpr int kLongestRound = 15000;  // ms

// A short transaction with SQL open in it. In a procedure, one is always open: it is committed at the end, and the next
// begins.
struct Step {
  const Drain *drain;
  pg::SqlSession sql;
};

void Begin(Step *step, const Drain *drain) {
  step->drain = drain;
  // Also in a procedure, however long it runs: the kill switch must reach it.
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
  }
  if (drain->procedure) {
    EnsurePortalSnapshotExists();
  } else {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
  }
  (void)pg::HoldExtension();  // OpenSql() says when it is gone
  pg::OpenSql(&step->sql);
}

void End(Step *step) {
  pg::CloseSql(&step->sql);
  if (step->drain->procedure) {
    SPI_commit();
  } else {
    PopActiveSnapshot();
    CommitTransactionCommand();
  }
}

// True when there were any, and another round at once may find more.
bool ReviewMovesInTurn(Drain *drain, bool nothing_else) {
  constexpr int64 kAgainAfter = 5 * USECS_PER_SEC;
  if (!nothing_else && ++drain->rounds_without_moves < kRoundsPerLook) return false;
  if (GetCurrentTimestamp() < drain->moves_again_at) return false;
  drain->rounds_without_moves = 0;
  MovesReview review = ReviewMoves(&drain->sender, kMovesPerLook, &drain->moves_place);
  drain->moves_again_at = review == MovesReview::kUndecided ? GetCurrentTimestamp() + kAgainAfter : 0;
  return review == MovesReview::kDone;
}

// Those that wait for a transaction are asked about before anything is looked up for them: it may take days.
bool AnyWaits(const Batch &batch) {
  for (int i = 0; i < batch.count; i++)
    if (batch.files[i].waits && Open(batch.files[i])) return true;
  return false;
}

void ClaimBatch(Drain *drain, Batch *batch, Round *round, int limit) {
  Step step;
  Begin(&step, drain);
  // Before anything irreversible, what this rests on must be on disk: with synchronous_commit off, a crash could bring the
  // row back after its file has gone. Our commit record comes after the user's.
  ForceSyncCommit();
  outbox::LockQueue();
  outbox::TakeBackOrphans();
  // In a procedure the operator's word may have come since the last round.
  if (!settings::enabled || WhyDisarmed() != nullptr) limit = 0;
  uint64 taken_in = outbox::TakeIn(kTuplesPerRound);
  Refresh(&drain->sender, drain->parent);
  ListCell *cell;
  foreach (cell, drain->sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    entry->pause_cause = nullptr;
    entry->answered = false;
  }
  outbox::TryChangedAccounts(drain->sender);
  outbox::LimitDeletes(&drain->sender);
  outbox::HoldAgain();
  outbox::Claim(batch, drain->sender, outbox::Probing(drain->sender) ? Min(limit, 1) : Min(limit, kRoundFiles));
  outbox::ReadMissingRuns(&drain->sender);
  bool moves = ReviewMovesInTurn(drain, batch->count < limit);
  Resolve(batch, &drain->sender);
  if (AnyWaits(*batch)) KeepReferenced(batch);
  for (int i = 0; i < batch->count; i++)
    if (batch->files[i].fate == Fate::kParked) LogError(batch->files[i], batch->files[i].detail);
  round->files = batch->count;
  round->idle = taken_in == 0 && !moves && batch->count == 0;
  End(&step);
}

// The proof, and the operator's word, asked again right before each slice of deletes.
void ProveSlice(void *argument, Batch *batch) {
  auto *drain = static_cast<Drain *>(argument);
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, drain);
  const char *stopped = !settings::enabled ? "imagekit_cleanup.enabled is off" : WhyDisarmed();
  if (stopped != nullptr) {
    for (int i = 0; i < batch->count; i++)
      if (Open(batch->files[i])) Decide(batch, &batch->files[i], Fate::kReleased, stopped);
  } else {
    KeepReferenced(batch);
  }
  End(&step);
  MemoryContextSwitchTo(before);
}

// Only when an account is about to be stopped: the history may be long.
void MarkDeletedBefore(void *argument, Batch *batch, const SenderAccount *entry) {
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, static_cast<Drain *>(argument));
  outbox::MarkDeletedBefore(batch, *entry->account);
  End(&step);
  MemoryContextSwitchTo(before);
}

void SettleBatch(Drain *drain, Batch *batch, Round *round) {
  Step step;
  Begin(&step, drain);
  DecideDoubles(batch);
  outbox::Settle(*batch, drain->sender);
  round->next_due = outbox::NextDue(drain->sender, drain->moves_again_at);
  End(&step);
}

// Not inlined, as it is called from a PG_TRY.
pg_noinline void RunRound(Drain *drain, Round *round, int limit) {
  Batch batch = {};
  batch.context = AllocSetContextCreate(drain->parent, "imagekit batch", ALLOCSET_DEFAULT_SIZES);
  ClaimBatch(drain, &batch, round, limit);
  MemoryContext before = MemoryContextSwitchTo(batch.context);
  LookUpFiles(&batch, &drain->sender);
  DoubtMissing(&batch, &drain->sender, MarkDeletedBefore, drain);
  ConcludeMissing(&batch, &drain->sender);
  DeleteProven(&batch, &drain->sender, kLongestPace, kLongestRound, ProveSlice, drain);
  SettleBatch(drain, &batch, round);
  MemoryContextSwitchTo(before);
  MemoryContextDelete(batch.context);
}

}  // namespace

Round DrainRound(Drain *drain, int limit) {
  // Static: locals that change between setjmp and longjmp would be lost.
  static Round round;
  round = {false, 0, false, DT_NOEND};
  if (!outbox::TryDrainLock()) {
    round.busy = true;
    return round;
  }
  PG_TRY();
  { RunRound(drain, &round, limit); }
  PG_FINALLY();
  { outbox::ReleaseDrainLock(); }
  PG_END_TRY();
  return round;
}

}  // namespace imagekit::worker
