// The drain's loop. Database work is in short transactions; none is open while ImageKit is waited for, and in a procedure no
// snapshot is held. Each turn moves every file as far as it can go:
//
//   [take in, claim, moved rows, resolve]  look up  judge  ([still used?]  delete)  [settle]     [ ] a transaction
//
// A drain that ends anywhere in between loses nothing: what it claimed is given back by the next one, and a file that was
// deleted but not settled is then found to be gone.

#include "worker/drain.h"

#include "outbox/backlog.h"
#include "outbox/hold.h"
#include "pg/bridge.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/arming.h"
#include "worker/shared_state.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Of moved rows: each look reads all of the watched tables, so it is for as many as may be, and takes a twentieth of the time.
constexpr int kMovesPerLook = 100;
constexpr int kMovesShare = 20;

// Files that would wait longer for their account's pace go back to the queue. What was found longer ago is looked up anew.
constexpr int64 kLongestPace = 2000;    // ms
constexpr int64 kLongestFound = 15000;  // ms

// After so long the drain lets what it has in hand run out, so that the worker looks about; sooner where another database
// waits for its place.
constexpr int kLongestTurn = 60000;  // ms
constexpr int kSharedTurn = 5000;    // ms

// So many files are settled at once; fewer, when they have waited.
constexpr int kSettleAtOnce = 200;
constexpr int64 kSettleAfter = 50;     // ms
constexpr int64 kSettlePartly = 1000;  // ms: files of a claim that has others in hand

// How often the history is pruned, and how long the first look for more is put off where nothing wakes (a procedure).
constexpr int64 kTendEvery = 10000;  // ms
constexpr int64 kLookAgain = 500;    // ms

// Purges that have been sent are waited for so long, when there is nothing else; ImageKit may have put them off for minutes.
constexpr int64 kLongestPurge = 10000;  // ms

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

// What a round has in hand.
struct Hand {
  Drain *drain;
  Round *round;
  Batch batch;
  Flow flow;
  List *claims;           // Claim *
  int64 limit;            // files that may still be claimed
  bool closing;           // no more are claimed
  bool letting_go;        // and what is not on the wire goes back
  bool dry;               // the last claim took all there was
  TimestampTz claim_at;   // not before
  TimestampTz purged_by;  // purges are not waited for any longer
  TimestampTz share_at;   // from then on the place is for others who wait for it
  TimestampTz close_at;
  Waiter waiter;
  bool woken;
};

TimestampTz In(int64 ms) { return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms); }

// Claiming -------------------------------------------------------------------------------------------------------------

// True when another look at once may find more.
bool ReviewMovesInTurn(Drain *drain) {
  constexpr int64 kAgainAfter = 5 * USECS_PER_SEC;
  const TimestampTz begun = GetCurrentTimestamp();
  if (begun < drain->moves_at) return false;
  const MovesReview review = ReviewMoves(&drain->sender, kMovesPerLook, &drain->moves_place);
  const int64 took = GetCurrentTimestamp() - begun;
  drain->moves_at = begun + took +
                    (review == MovesReview::kUndecided ? Max(kAgainAfter, took * kMovesShare)
                     : review == MovesReview::kDone    ? took
                                                       : took * kMovesShare);
  return review == MovesReview::kDone;
}

// Those that wait for a transaction are asked about before anything is looked up for them: it may take days.
void AskAboutWaiting(Batch *batch) {
  bool any = false;
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!IsAt(*file, Stage::kClaimed) || file->last_error == nullptr ||
        strncmp(file->last_error, kWaits, strlen(kWaits)) != 0)
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
    if (entry->pause_written && outbox::InHand(hand->batch, entry) == 0) {
      entry->pause_cause = nullptr;
      entry->pause_written = false;
      entry->failures = 0;
    }
  }
}

// True when there is more to be forgotten.
bool TendHistory(Drain *drain) {
  const TimestampTz now = GetCurrentTimestamp();
  if (now >= drain->tended_at && now < TimestampTzPlusMilliseconds(drain->tended_at, kTendEvery)) return false;
  if (outbox::PruneHistory()) return true;
  drain->tended_at = now;
  return false;
}

// Claims what there is room for. True when that was anything.
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
  if (first) outbox::TakeBackOrphans();
  // In a procedure the operator's word may have come since the last time.
  const bool may_send = settings::enabled && WhyDisarmed() == nullptr;
  const ApiClient *client = drain->sender.client;
  hand->letting_go = Refresh(&drain->sender, drain->parent, hand->claims == NIL) || !may_send;
  if (drain->sender.client != client) ForgetPurges(&drain->purging);
  hand->closing |= hand->letting_go || (hand->claims != NIL && outbox::DrainIsWanted());
  outbox::Intake intake = {};
  bool moved = false;
  if (!hand->closing) {
    ForgetPauses(hand);
    outbox::NoteProblems(drain->sender);
    outbox::TryChangedAccounts(drain->sender);
    outbox::LimitDeletes(&drain->sender, *batch);
    outbox::HoldAgain();
    intake = outbox::Claim(batch, &drain->sender, hand->limit, &drain->journal_place);
    if (first) outbox::ReadMissingRuns(&drain->sender);
    moved = ReviewMovesInTurn(drain);
    Resolve(batch, &drain->sender);
    AskAboutWaiting(batch);
    if (intake.claim != nullptr) LogParked(*batch, intake.claim);
  }
  const bool any = intake.claim != nullptr || intake.taken_in > 0 || moved;
  hand->dry = !intake.more && !moved;
  // With more, it is asked when there is room again.
  hand->claim_at = outbox::NextDue(*batch, drain->sender, drain->journal_place, drain->moves_at);
  if (hand->dry && drain->procedure) hand->claim_at = Min(hand->claim_at, In(kLookAgain));
  // What is due and not to be had is in another session's hands.
  if (!any && hand->claim_at <= GetCurrentTimestamp()) hand->claim_at = In(kLookAgain);
  if (TendHistory(drain)) hand->claim_at = 0;
  End(&step);
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

// The proof, and the operator's word, asked again right before each delete -----------------------------------------------

void Prove(void *argument, Batch *batch) {
  auto *drain = static_cast<Drain *>(argument);
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, drain);
  const char *stopped = !settings::enabled ? "imagekit_cleanup.enabled is off" : WhyDisarmed();
  if (stopped != nullptr) {
    for (int i = 0; i < batch->count; i++)
      if (IsAt(batch->files[i], Stage::kProving)) Decide(batch, &batch->files[i], Fate::kReleased, stopped);
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

// Settling -------------------------------------------------------------------------------------------------------------

// Chooses what is settled now: whole claims, and part of one whose other files take their time. False: nothing yet.
bool ChooseSettled(Hand *hand) {
  Batch *batch = &hand->batch;
  const TimestampTz now = GetCurrentTimestamp();
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
    due |= claim->decided == claim->files && TimestampDifferenceMilliseconds(claim->decided_at, now) >= kSettleAfter;
    due |= claim->decided > 0 && TimestampDifferenceMilliseconds(claim->decided_at, now) >= kSettlePartly;
  }
  for (int i = 0; due && i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!Decided(*file)) continue;
    file->settling = file->claim->decided == file->claim->files ||
                     TimestampDifferenceMilliseconds(file->claim->decided_at, now) >= kSettlePartly;
    any |= file->settling;
  }
  return any;
}

bool AnyUnwitnessed(const Batch &batch) {
  for (int i = 0; i < batch.count; i++)
    if (batch.files[i].unwitnessed) return true;
  return false;
}

// Frees the slots of what was settled, and the claims that have none left.
void LetGo(Hand *hand) {
  for (int i = 0; i < hand->batch.count; i++) {
    QueuedFile *file = &hand->batch.files[i];
    if (!file->settling) continue;
    file->claim->files--;
    file->claim->decided_at = 0;
    *file = QueuedFile{};
    file->stage = Stage::kFree;
  }
  Batch *batch = &hand->batch;
  batch->first_free = 0;
  while (batch->count > 0 && batch->files[batch->count - 1].stage == Stage::kFree) batch->count--;
  List *kept = NIL;
  MemoryContext before = MemoryContextSwitchTo(hand->batch.context);
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

bool SettleDecided(Hand *hand) {
  Batch *batch = &hand->batch;
  if (hand->claims == NIL || !ChooseSettled(hand)) return false;
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, hand->drain);
  if (AnyUnwitnessed(*batch)) KeepReferenced(batch);
  outbox::Settle(*batch, hand->claims, &hand->drain->sender);
  End(&step);
  MemoryContextSwitchTo(before);
  LetGo(hand);
  // What was put back, and what an account that is well again has, may be due; so may purges.
  hand->claim_at = hand->drain->purging.due_at = 0;
  return true;
}

// Purging the CDN, when there is nothing else to claim.
bool PurgeInTurn(Hand *hand) {
  Drain *drain = hand->drain;
  if (!hand->dry || hand->closing || NextPurgeAt(drain->purging, drain->sender) > GetCurrentTimestamp()) return false;
  Step step;
  Begin(&step, drain);
  if (settings::enabled && WhyDisarmed() == nullptr)
    PurgeSome(&drain->purging, drain->sender, drain->parent);
  else
    hand->closing = true;
  End(&step);
  hand->purged_by = In(kLongestPurge);
  return Purges(drain->purging);
}

// One turn -------------------------------------------------------------------------------------------------------------

bool Turn(Hand *hand, Answer *answer) {
  MemoryContext before = MemoryContextSwitchTo(hand->batch.context);
  hand->flow.more_to_come = !hand->dry && !hand->closing;
  hand->flow.letting_go = hand->letting_go;
  bool moved = hand->drain->sender.client != nullptr && MoveOn(&hand->flow, answer);
  moved |= SettleDecided(hand);
  MemoryContextSwitchTo(before);
  moved |= PurgeInTurn(hand);
  return moved;
}

bool WantsMore(const Hand &hand) {
  const Sender &sender = hand.drain->sender;
  if (hand.closing) return false;
  if (outbox::HasRoom(hand.batch, sender, true)) return true;
  return (hand.woken || hand.claim_at <= GetCurrentTimestamp()) && outbox::HasRoom(hand.batch, sender, false);
}

// How long nothing happens by itself, in ms.
long LongestWait(const Hand &hand) {
  int64 wait = kLookAgain;
  if (!hand.closing && outbox::HasRoom(hand.batch, hand.drain->sender, false))
    wait = Min(wait, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), hand.claim_at));
  for (int i = 0; i < hand.batch.count; i++)
    if (Decided(hand.batch.files[i])) wait = Min(wait, kSettleAfter);
  return static_cast<long>(MoveOnAfter(hand.flow, wait));
}

// Not inlined, as it is called from a PG_TRY.
pg_noinline void RunRound(Hand *hand) {
  Drain *drain = hand->drain;
  auto *answer = pg::Own<Answer>(hand->batch.context);
  drain->purging.due_at = 0;
  bool first = true;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    const TimestampTz now = GetCurrentTimestamp();
    hand->closing |= hand->close_at <= now || (!drain->procedure && hand->share_at <= now && OthersWait());
    bool moved = false;
    if (first || WantsMore(*hand)) {
      hand->woken = false;
      moved = ClaimFiles(hand, first);
      first = false;
    }
    moved |= Turn(hand, answer);
    const bool purging = Purges(drain->purging) && GetCurrentTimestamp() < hand->purged_by;
    if (hand->claims == NIL && (hand->closing || (!WantsMore(*hand) && !purging))) break;
    if (drain->sender.client != nullptr)
      WaitForImageKit(&hand->waiter, drain->sender.client, moved ? 0 : LongestWait(*hand), &hand->woken);
  }
  hand->round->next_due =
      hand->closing ? GetCurrentTimestamp() : Min(hand->claim_at, NextPurgeAt(drain->purging, drain->sender));
}

}  // namespace

Round DrainRound(Drain *drain, int64 limit) {
  // Static: locals that change between setjmp and longjmp would be lost.
  static Round round;
  static Hand hand;
  round = {false, 0, true, DT_NOEND};
  if (!outbox::TryDrainLock()) {
    round.busy = true;
    return round;
  }
  hand = {};
  hand.drain = drain;
  hand.round = &round;
  hand.limit = limit;
  hand.share_at = In(kSharedTurn);
  hand.close_at = In(kLongestTurn);
  PG_TRY();
  {
    hand.batch.context = AllocSetContextCreate(drain->parent, "imagekit batch", ALLOCSET_DEFAULT_SIZES);
    outbox::MakeSlots(&hand.batch);
    hand.flow = {&hand.batch,   &drain->sender, Prove, MarkDeletedBefore, drain, kLongestPace,
                 kLongestFound, true,           false, &drain->purging};
    RunRound(&hand);
    MemoryContextDelete(hand.batch.context);
  }
  PG_CATCH();
  {
    FreeWaiter(&hand.waiter);
    if (drain->sender.client != nullptr) drain->sender.client->Abandon();
    outbox::ReleaseDrainLock();
    PG_RE_THROW();
  }
  PG_END_TRY();
  FreeWaiter(&hand.waiter);
  outbox::ReleaseDrainLock();
  return round;
}

}  // namespace imagekit::worker
