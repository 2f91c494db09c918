// The drain's loop. Database work is in short transactions; none is open while ImageKit is waited for, and in a procedure no
// snapshot is held. Each turn moves every file as far as it can go:
//
//   [take in, claim, moved rows, resolve]  look up  judge  ([still used?]  delete)  [settle]     [ ] a transaction
//
// A drain that ends anywhere in between loses nothing: what it claimed is given back by the next one, and a file that was
// deleted but not settled is then found to be gone.

#include "worker/drain.h"

#include "outbox/backlog.h"
#include "pg/bridge.h"
#include "pg/process.h"
#include "pg/settings.h"
#include "worker/arming.h"
#include "worker/hand.h"
#include "worker/pause.h"

namespace imagekit::worker {

void Begin(Step *step, const Drain *drain) {
  step->drain = drain;
  (void)pg::ObeyReload();  // also in a procedure, however long it runs: the kill switch must reach it
  if (drain->procedure) {
    EnsurePortalSnapshotExists();
  } else {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
  }
  (void)pg::HoldExtension();  // OpenSql() says when it is gone
  pg::OpenSql(&step->sql);
  if (drain->procedure) pg::PlanForLittle();  // the worker always does
}

void End(Step *step) {
  pg::CloseSql(&step->sql);
  if (step->drain->procedure) {
    SPI_commit();
  } else {
    PopActiveSnapshot();
    CommitTransactionCommand();
    // At most once a second. Autovacuum is to know what a drain of millions leaves dead, and not at its end.
    pgstat_report_stat(false);
  }
}

namespace {

// Files that would wait longer for their account's pace go back to the queue.
constexpr int64 kLongestPace = 2000;  // ms

// After so long the drain lets what it has in hand run out, where another database waits for the worker's place.
constexpr Ticks kSharedTurn = 5000;  // ms

// Whoever waits for the drain to end, or for it to begin anew, does not wait for a request that hangs: so long for what is in
// hand to be done, and so long for answers after that. Other databases, which only want the place, do: no request takes longer
// than request_timeout, and one that were given up each time the turn is over would be made for ever.
constexpr Ticks kLongestClosing = 5000;  // ms
constexpr Ticks kLongestAnswer = 2000;   // ms

// Purges that have been sent are waited for so long, when there is nothing else; ImageKit may have put them off for minutes.
constexpr Ticks kLongestPurge = 10000;  // ms

// The proof, and the operator's word, asked again right before each delete: after the proof, which may take long. The
// transaction stays open until what was proven is on the wire, and so does the lock that whoever says stop waits for.
void Prove(void *argument, Batch *batch) {
  auto *hand = static_cast<Hand *>(argument);
  Drain *drain = hand->drain;
  MemoryContext before = CurrentMemoryContext;
  Begin(&hand->proof, drain);
  KeepReferenced(batch);
  LockWire();
  (void)pg::ObeyReload();
  const char *stopped = !settings::enabled ? "imagekit_cleanup.enabled is off" : WhyDisarmed();
  for (int i = 0; stopped != nullptr && i < batch->count; i++)
    if (IsAt(batch->files[i], Stage::kProving)) Decide(batch, &batch->files[i], Fate::kReleased, stopped);
  HaltPaused(&drain->sender);
  ReleaseHalted(batch, &drain->sender);
  ReleaseWhenChanged(batch, &drain->sender);
  MemoryContextSwitchTo(before);
}

void Sent(void *argument) {
  MemoryContext before = CurrentMemoryContext;
  UnlockWire();
  End(&static_cast<Hand *>(argument)->proof);
  MemoryContextSwitchTo(before);
}

// Only when an account is about to be stopped: the history may be long.
void MarkDeletedBefore(void *argument, Batch *batch, const SenderAccount *entry) {
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, static_cast<Hand *>(argument)->drain);
  outbox::MarkDeletedBefore(batch, *entry->account);
  End(&step);
  MemoryContextSwitchTo(before);
}

// Purging the CDN, when there is nothing else to claim.
bool PurgeInTurn(Hand *hand) {
  Drain *drain = hand->drain;
  if (!hand->dry || hand->closing || NextPurgeAt(drain->purging, drain->sender) > GetCurrentTimestamp()) return false;
  Step step;
  Begin(&step, drain);
  HaltPaused(&drain->sender);
  if (settings::enabled && WhyDisarmed() == nullptr)
    PurgeSome(&drain->purging, drain->sender, drain->parent);
  else
    hand->closing = true;
  End(&step);
  hand->purged_by = NowTicks() + kLongestPurge;
  return Purges(drain->purging);
}

// A delete that is not on the wire yet: no transaction may come between its proof and ImageKit, as it may have to wait for a
// lock, a disk or a standby.
bool Sending(const Hand &hand) {
  const ApiClient *client = hand.drain->sender.client;
  return client != nullptr && client->Sending();
}

bool Turn(Hand *hand, Answer *answer) {
  MemoryContext before = MemoryContextSwitchTo(hand->batch.context);
  hand->flow.more_to_come = !hand->dry && !hand->closing;
  hand->flow.letting_go = hand->letting_go;
  bool moved = hand->drain->sender.client != nullptr && MoveOn(&hand->flow, answer);
  const bool sending = Sending(*hand);
  moved |= !sending && SettleDecided(hand);
  MemoryContextSwitchTo(before);
  moved |= !sending && PurgeInTurn(hand);
  return moved;
}

// What is on the wire may be done or not: its files go back in doubt, their attempt uncounted.
void GiveUpAnswers(Hand *hand) {
  hand->drain->sender.client->Abandon();
  ForgetPurges(&hand->drain->purging);
  ListCell *cell;
  foreach (cell, hand->drain->sender.accounts) static_cast<SenderAccount *>(lfirst(cell))->probing = false;
  for (int i = 0; i < hand->batch.count; i++) {
    QueuedFile *file = &hand->batch.files[i];
    if (file->stage == Stage::kFree || file->answers_due == 0) continue;
    file->in_doubt |= IsAt(*file, Stage::kSent);
    file->answers_due = 0;
    Decide(&hand->batch, file, Fate::kReleased, nullptr);
  }
}

void CloseInTime(Hand *hand, Ticks now) {
  if (!hand->closing) return;
  if (hand->closing_since == 0) {
    hand->closing_since = now;
    hand->hurried = hand->letting_go;
  }
  hand->hurried |= outbox::DrainIsWanted();
  hand->letting_go |= now - hand->closing_since >= kLongestClosing;
  if (!hand->letting_go || !hand->hurried || hand->claims == NIL) return;
  if (hand->letting_go_since == 0) hand->letting_go_since = now;
  if (now - hand->letting_go_since >= kLongestAnswer) GiveUpAnswers(hand);
}

// $1: so many of the backlog are counted at most. What is in the journal may be due or not.
constexpr char kLeft[] =
    "SELECT (SELECT pg_catalog.count(*) FROM (SELECT FROM imagekit.backlog b WHERE b.state IN ('waiting', 'retrying')"
    "        AND b.due_at OPERATOR(pg_catalog.<=) pg_catalog.now() AND NOT EXISTS"
    "        (SELECT FROM imagekit.pauses p WHERE p.server OPERATOR(pg_catalog.=) b.server) LIMIT $1) AS l)"
    " OPERATOR(pg_catalog.+) (SELECT COALESCE(pg_catalog.sum(o.files), 0) FROM imagekit.outbox o"
    "        WHERE o.origin OPERATOR(pg_catalog.<>) 'M')";

void SayHowFar(const Hand &hand) {
  constexpr int64 kMostCounted = 1000000;
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, hand.drain);
  pg::RunSql(kLeft, SPI_OK_SELECT, {{INT8OID, Int64GetDatum(kMostCounted)}});
  bool null;
  const int64 left = DatumGetInt64(pg::Field(0, 1, &null));
  End(&step);
  MemoryContextSwitchTo(before);
  const Tally &tally = hand.drain->tally;
  int64 total = Done(tally) + Failed(tally) + left;
  ListCell *cell;
  foreach (cell, hand.claims) total += static_cast<Claim *>(lfirst(cell))->files;
  const bool limited = total > hand.drain->most;
  SayProgress(Done(tally), Failed(tally), limited ? hand.drain->most : total, !limited && left >= kMostCounted);
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
  if (hand.heed) wait = Min(wait, Max(hand.heed_at - NowTicks(), Ticks{0}));
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
    const Ticks now = NowTicks();
    hand->closing |= !drain->procedure && hand->share_at <= now && OthersWait();
    hand->closing |= hand->claims != NIL && outbox::DrainIsWanted();
    CloseInTime(hand, now);
    if (drain->procedure && IsTimeToSay(&drain->progress)) SayHowFar(*hand);
    bool moved = false;
    if (!Sending(*hand) && (first || WantsMore(*hand))) {
      hand->woken = false;
      moved = ClaimFiles(hand, first);
      first = false;
    }
    HeedPauses(hand);
    moved |= Turn(hand, answer);
    const bool purging = Purges(drain->purging) && NowTicks() < hand->purged_by;
    if (hand->claims == NIL && (hand->closing || (!WantsMore(*hand) && !purging))) break;
    bool woken = false;
    if (drain->sender.client != nullptr)
      WaitForImageKit(&hand->waiter, drain->sender.client, moved ? 0 : LongestWait(*hand), &woken);
    hand->woken |= woken;
    hand->heed |= woken || (drain->procedure && NowTicks() >= hand->heed_at + kLookAgain);
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
  hand.share_at = NowTicks() + kSharedTurn;
  PG_TRY();
  {
    hand.batch.context = AllocSetContextCreate(drain->parent, "imagekit batch", ALLOCSET_DEFAULT_SIZES);
    outbox::MakeSlots(&hand.batch);
    hand.flow = {&hand.batch,  &drain->sender, Prove, Sent,  MarkDeletedBefore, &hand,
                 kLongestPace, kLongestFound,  true,  false, &drain->purging};
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
