// One round, as a story. Database work is in three short transactions; between them, while ImageKit is asked, none is
// open in the worker, and in a procedure no snapshot is held.
//
//   [take in, claim, resolve]  look up  [still used?]  delete  [settle]
//
// A round that ends anywhere in between loses nothing: what it claimed is given back by the next drain, and a file that
// was deleted but not settled is then found to be gone.

#include "worker/drain.h"

#include "outbox/backlog.h"
#include "pg/sql.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Journal tuples taken in at once: some hundreds of URLs, so that a transaction stays short.
constexpr int kTuplesPerRound = 10;

// A short transaction with SQL open in it. In a procedure, one is always open: it is committed at the end, and the next
// begins.
struct Step {
  const Drain *drain;
  pg::SqlSession sql;
};

void Begin(Step *step, const Drain *drain) {
  step->drain = drain;
  if (drain->procedure) {
    EnsurePortalSnapshotExists();
  } else {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
  }
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

void ClaimBatch(Drain *drain, Batch *batch, Round *round, int limit) {
  Step step;
  Begin(&step, drain);
  outbox::TakeBackOrphans();
  (void)outbox::TakeIn(kTuplesPerRound);
  Refresh(&drain->sender, drain->parent);
  ListCell *cell;
  foreach (cell, drain->sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    entry->pause_cause = nullptr;
    entry->answered = false;
  }
  outbox::Claim(batch, drain->sender, outbox::Probing(drain->sender) ? 1 : Min(limit, kRoundFiles));
  Resolve(batch, &drain->sender);
  for (int i = 0; i < batch->count; i++)
    if (batch->files[i].fate == Fate::kParked) LogError(batch->files[i], batch->files[i].detail);
  round->files = batch->count;
  End(&step);
}

void CheckReferences(Drain *drain, Batch *batch) {
  Step step;
  Begin(&step, drain);
  KeepReferenced(batch);
  End(&step);
}

void SettleBatch(Drain *drain, Batch *batch, Round *round) {
  Step step;
  Begin(&step, drain);
  DecideDoubles(batch);
  outbox::Settle(*batch, drain->sender);
  round->next_due = outbox::NextDue(drain->sender);
  End(&step);
}

// Not inlined, as it is called from a PG_TRY.
pg_noinline void RunRound(Drain *drain, Round *round, int limit) {
  Batch batch = {};
  batch.context = AllocSetContextCreate(drain->parent, "imagekit batch", ALLOCSET_DEFAULT_SIZES);
  ClaimBatch(drain, &batch, round, limit);
  MemoryContext before = MemoryContextSwitchTo(batch.context);
  LookUpFiles(&batch, &drain->sender);
  CheckReferences(drain, &batch);
  MemoryContextSwitchTo(batch.context);
  DeleteFiles(&batch, &drain->sender);
  SettleBatch(drain, &batch, round);
  MemoryContextSwitchTo(before);
  MemoryContextDelete(batch.context);
}

}  // namespace

Round DrainRound(Drain *drain, int limit) {
  // Static: locals that change between setjmp and longjmp would be lost.
  static Round round;
  round = {false, 0, DT_NOEND};
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
