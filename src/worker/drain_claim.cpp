// The drain's claims: what comes into its hands, and what is looked after in the same transaction.

#include "outbox/backlog.h"
#include "pg/settings.h"
#include "worker/arming.h"
#include "worker/hand.h"
#include "worker/pause.h"

namespace imagekit::worker {

namespace {

// Of moved rows: each look reads all of the watched tables, so it is for as many as may be, and takes a twentieth of the time.
constexpr int kMovesPerLook = 100;

constexpr Ticks kTendEvery = 10000;  // ms: the history is pruned

TimestampTz In(int64 ms) { return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms); }

// True when another look at once may find more.
bool ReviewMovesInTurn(Drain *drain) {
  constexpr Ticks kAgainAfter = 5000;  // ms
  const Ticks begun = NowTicks();
  if (begun < drain->moves_at) return false;
  const MovesReview review = ReviewMoves(&drain->sender, kMovesPerLook, &drain->moves_place);
  const Ticks took = NowTicks() - begun + 1;
  drain->moves_at = begun + took +
                    (review == MovesReview::kUndecided ? Max(kAgainAfter, RestAfterLook(took))
                     : review == MovesReview::kDone    ? took
                                                       : RestAfterLook(took));
  return review == MovesReview::kDone;
}

// Those that wait for a transaction, or for a table that cannot be searched, are asked about before anything is looked up for
// them: it may take days.
void AskAboutWaiting(Batch *batch) {
  bool any = false;
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!IsAt(*file, Stage::kClaimed) || !(Begins(file->last_error, kWaits) || Begins(file->last_error, kCannotTell)))
      continue;
    file->stage = Stage::kProving;
    any = true;
  }
  if (any) KeepReferenced(batch);
  for (int i = 0; i < batch->count; i++)
    if (IsAt(batch->files[i], Stage::kProving)) batch->files[i].stage = Stage::kClaimed;
}

void LogParked(const Batch &batch, const Claim *claim) {
  for (int i = 0; i < batch.count; i++)
    if (batch.files[i].claim == claim && batch.files[i].stage == Stage::kClaimed &&
        batch.files[i].fate == Fate::kParked)
      LogError(batch.files[i], batch.files[i].detail);
}

// What was stopped and is known to be so can be tried again, once nothing of it is in hand.
void ForgetPauses(Hand *hand) {
  ListCell *cell;
  foreach (cell, hand->drain->sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->pause_cause != nullptr && entry->pause_written && outbox::InHand(hand->batch, entry) == 0) {
      pfree(entry->pause_cause);
      entry->pause_cause = nullptr;
      entry->pause_written = false;
    }
  }
}

// True when there is more to be forgotten.
bool TendHistory(Drain *drain) {
  const Ticks now = NowTicks();
  if (drain->tended_at != 0 && now < drain->tended_at + kTendEvery) return false;
  if (outbox::PruneHistory()) return true;
  drain->tended_at = now;
  return false;
}

// So often at most are the pauses looked at by themselves.
constexpr Ticks kHeedEvery = 50;  // ms

void Heeded(Hand *hand) {
  HaltPaused(&hand->drain->sender);
  hand->heed = false;
  hand->heed_at = NowTicks() + kHeedEvery;
}

}  // namespace

void HeedPauses(Hand *hand) {
  const bool in_hand = hand->claims != NIL || Purges(hand->drain->purging);
  if (!hand->heed || !in_hand || NowTicks() < hand->heed_at) return;
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, hand->drain);
  Heeded(hand);
  End(&step);
  MemoryContextSwitchTo(before);
}

bool ClaimFiles(Hand *hand, bool first) {
  Drain *drain = hand->drain;
  Batch *batch = &hand->batch;
  if (!drain->procedure) (void)TakeWake();  // before looking: what is committed from here on wakes again
  Step step;
  Begin(&step, drain);
  // Before anything irreversible, what this rests on must be on disk: with synchronous_commit off, a crash could bring the
  // row back after its file has gone. Our commit record comes after the user's.
  ForceSyncCommit();
  outbox::LockQueue();
  if (first || hand->orphans_left)
    hand->orphans_left = outbox::TakeBackOrphans(hand->claims, &drain->claims_place).more;
  if (first) outbox::MendDueTimes();
  // In a procedure the operator's word may have come since the last time.
  const bool may_send = settings::enabled && WhyDisarmed() == nullptr;
  const ApiClient *client = drain->sender.client;
  hand->letting_go = Refresh(&drain->sender, drain->parent, hand->claims == NIL) || !may_send;
  if (drain->sender.client != client) ForgetPurges(&drain->purging);
  hand->closing |= hand->letting_go;
  outbox::Intake intake = {};
  bool moved = false;
  if (!hand->closing) {
    ForgetPauses(hand);
    Heeded(hand);
    outbox::NoteProblems(drain->sender);
    outbox::TryChangedAccounts(drain->sender);
    outbox::LimitDeletes(&drain->sender, *batch);
    intake = outbox::Claim(batch, &drain->sender, hand->limit, &drain->journal_place,
                           drain->procedure && hand->claims == NIL);
    if (intake.claim != nullptr && !hand->orphans_left) drain->claims_place.after = intake.claim->id;
    if (first || drain->sender.client != client) outbox::ReadMissingRuns(&drain->sender);
    moved = ReviewMovesInTurn(drain);
    Resolve(batch, &drain->sender);
    AskAboutWaiting(batch);
    if (intake.claim != nullptr) LogParked(*batch, intake.claim);
  }
  const bool any = intake.claim != nullptr || intake.taken_in > 0 || moved;
  hand->dry = !intake.more && !moved;
  // With more, it is asked when there is room again.
  hand->claim_at = outbox::NextDue(*batch, &drain->sender, drain->journal_place, drain->moves_at);
  if (hand->dry && (drain->procedure || hand->orphans_left)) hand->claim_at = Min(hand->claim_at, In(kLookAgain));
  // What is due and not to be had is in another session's hands.
  if (!any && hand->claim_at <= GetCurrentTimestamp()) hand->claim_at = In(kLookAgain);
  if (TendHistory(drain)) hand->claim_at = 0;
  End(&step);
  // Should this session end before it has settled them, the worker is awake to take them back.
  if (intake.claim != nullptr && drain->procedure) Wake(MyDatabaseId);
  if (intake.claim != nullptr) {
    MemoryContext before = MemoryContextSwitchTo(batch->context);
    hand->claims = lappend(hand->claims, intake.claim);
    MemoryContextSwitchTo(before);
    hand->limit -= intake.claim->files;
    hand->round->files += intake.claim->files;
    hand->closing |= hand->limit <= 0;
  }
  hand->round->idle &= !any;
  return any;
}

}  // namespace imagekit::worker
