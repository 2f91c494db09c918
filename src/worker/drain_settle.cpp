// The drain's settlements: what has a fate goes to the history or back into the backlog, many files in a transaction.

#include "outbox/backlog.h"
#include "worker/hand.h"

namespace imagekit::worker {

namespace {

// So many files are settled at once; fewer, when they have waited.
constexpr int kSettleAtOnce = 200;
constexpr Ticks kSettlePartly = 1000;  // ms: files of a claim that has others in hand

// Chooses what is settled now: whole claims, and part of one whose other files take their time. False: nothing yet.
bool ChooseSettled(Hand *hand) {
  Batch *batch = &hand->batch;
  const Ticks now = NowTicks();
  ListCell *cell;
  foreach (cell, hand->claims) static_cast<Claim *>(lfirst(cell))->decided = 0;
  int decided = 0, in_hand = 0;
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (file->stage == Stage::kFree) continue;
    in_hand++;
    if (!Decided(*file)) continue;
    decided++;
    if (file->claim->decided++ == 0 && file->claim->decided_at == 0) file->claim->decided_at = now;
  }
  bool due = decided >= kSettleAtOnce || decided == in_hand, any = false;
  foreach (cell, hand->claims) {
    auto *claim = static_cast<Claim *>(lfirst(cell));
    due |= claim->decided == claim->files && now - claim->decided_at >= kSettleAfter;
    due |= claim->decided > 0 && now - claim->decided_at >= kSettlePartly;
  }
  for (int i = 0; due && i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!Decided(*file)) continue;
    file->settling = file->claim->decided == file->claim->files || now - file->claim->decided_at >= kSettlePartly;
    any |= file->settling;
  }
  return any;
}

// Frees the slots of what was settled, and the claims that have none left.
void LetGo(Hand *hand) {
  Batch *batch = &hand->batch;
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!file->settling) continue;
    Count(&hand->drain->tally, file->fate);
    file->claim->files--;
    file->claim->decided_at = 0;
    *file = QueuedFile{};
    file->stage = Stage::kFree;
  }
  batch->first_free = 0;
  while (batch->count > 0 && batch->files[batch->count - 1].stage == Stage::kFree) batch->count--;
  List *kept = NIL;
  MemoryContext before = MemoryContextSwitchTo(batch->context);
  ListCell *cell;
  foreach (cell, hand->claims) {
    auto *claim = static_cast<Claim *>(lfirst(cell));
    if (claim->files > 0)
      kept = lappend(kept, claim);
    else
      MemoryContextDelete(claim->context);
  }
  MemoryContextSwitchTo(before);
  list_free(hand->claims);
  hand->claims = kept;
}

}  // namespace

bool SettleDecided(Hand *hand) {
  Batch *batch = &hand->batch;
  if (hand->claims == NIL || !ChooseSettled(hand)) return false;
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, hand->drain);
  KeepReferenced(batch);  // what was deleted since the last proof
  outbox::Settle(*batch, hand->claims, &hand->drain->sender);
  End(&step);
  MemoryContextSwitchTo(before);
  LetGo(hand);
  // What was put back, and what an account that is well again has, may be due; so may purges.
  hand->claim_at = hand->drain->purging.due_at = 0;
  return true;
}

}  // namespace imagekit::worker
