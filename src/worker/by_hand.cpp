// delete_file() and delete_files(): the same steps as the drain's, within the caller's statement.
//
// Many files are led to their fate part by part, each of as many as a drain would have in hand: what is looked up is deleted
// soon after, so that the look-up still holds.

#include <set>
#include <string>
#include <tuple>

#include "outbox/backlog.h"
#include "outbox/counters.h"
#include "outbox/purges.h"
#include "pg/bridge.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/arming.h"
#include "worker/pause.h"
#include "worker/progress.h"
#include "worker/steps.h"
#include "worker/unrecorded.h"
#include "worker/wake.h"

namespace imagekit::worker {

namespace {

const char *OutcomeWord(Fate fate) {
  const char *settled = OutcomeOf(fate);
  return settled != nullptr ? settled : "failed";
}

// Somebody waits for the answer, so the account's pace is waited for as well, though not for ever.
constexpr int64 kLongestPace = 60 * 1000;          // ms
constexpr Ticks kLongestSilence = 10 * 60 * 1000;  // ms without any file's fate

// One call.
struct Call {
  Batch all;
  Sender *sender;
  Progress progress;
};

// Of the part that is under way.
struct Part {
  Batch batch;
  int *places;  // of its files among all
};

int CountDecided(const Batch &batch) {
  int decided = 0;
  for (int i = 0; i < batch.count; i++) decided += batch.files[i].fate != Fate::kOpen;
  return decided;
}

bool AnyOpen(const Batch &batch) {
  for (int i = 0; i < batch.count; i++)
    if (Open(batch.files[i]) || batch.files[i].answers_due > 0) return true;
  return false;
}

void SayHowFar(const Batch &all, const Batch &part) {
  Tally tally = {};
  for (const Batch *batch : {&all, &part})
    for (int i = 0; i < batch->count; i++)
      if (batch->files[i].fate != Fate::kOpen) Count(&tally, batch->files[i].fate);
  const int64 failed = Failed(tally) + tally.files[static_cast<int>(Fate::kReleased)];
  SayProgress(Done(tally), failed, all.count, false);
}

// Not inlined, as it is called from a PG_TRY.
pg_noinline void LeadOn(Call *call, Flow *flow, Waiter *waiter) {
  auto *answer = pg::Own<Answer>(flow->batch->context);
  Ticks until = NowTicks() + kLongestSilence;
  int decided = 0;
  while (AnyOpen(*flow->batch)) {
    CHECK_FOR_INTERRUPTS();
    const bool moved = MoveOn(flow, answer);
    const int now_decided = CountDecided(*flow->batch);
    if (now_decided > decided) until = NowTicks() + kLongestSilence;
    decided = now_decided;
    flow->letting_go = NowTicks() >= until;
    if (IsTimeToSay(&call->progress)) SayHowFar(call->all, *flow->batch);
    bool woken = false;
    if (AnyOpen(*flow->batch))
      WaitForImageKit(waiter, flow->sender->client, moved ? 0 : static_cast<long>(MoveOnAfter(*flow, 1000)), &woken);
  }
}

void Prove(void *argument, Batch *batch) {
  auto *sender = static_cast<Sender *>(argument);
  KeepReferenced(batch);
  LockWire();
  HaltPaused(sender);
  ReleaseHalted(batch, sender);
  ReleaseWhenChanged(batch, sender);
}

void Sent(void *) { UnlockWire(); }

// Interrupted, requests may be under way whose answers nobody will see.
pg_noinline void LeadOnAndNote(Call *call, Flow *flow) {
  // Static: locals that change between setjmp and longjmp would be lost. Calls do not nest: nothing here runs users' code.
  static Waiter waiter;
  waiter = {};
  PG_TRY();
  { LeadOn(call, flow, &waiter); }
  PG_CATCH();
  {
    FreeWaiter(&waiter);
    NoteDeletedByHand(*flow->batch);
    PG_RE_THROW();
  }
  PG_END_TRY();
  FreeWaiter(&waiter);
  NoteDeletedByHand(*flow->batch);
}

// All steps for the files of a part, within the caller's transaction; ImageKit is asked meanwhile.
void LeadPart(Call *call, Batch *part) {
  Flow flow = {part,         call->sender,  Prove, Sent,  nullptr, call->sender,
               kLongestPace, kLongestFound, false, false, nullptr};
  MemoryContext before = MemoryContextSwitchTo(part->context);
  LeadOnAndNote(call, &flow);
  KeepReferenced(part);  // what was deleted a moment ago
  MemoryContextSwitchTo(before);
  for (int i = 0; i < part->count; i++)
    if (part->files[i].fate == Fate::kReleased && part->files[i].detail == nullptr)
      part->files[i].detail = MemoryContextStrdup(part->context, "it was not deleted in time: ImageKit is silent");
}

// The next part: files from `*next` on that are open, as many of each account as a drain would have in hand.
Part TakePart(Call *call, int *next) {
  Part part = {};
  Batch *all = &call->all;
  part.batch.context = AllocSetContextCreate(all->context, "imagekit part", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(part.batch.context);
  ListCell *cell;
  int most = 0;
  foreach (cell, call->sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    entry->room = outbox::MostInHand(*entry->account);
    most += entry->room;
  }
  part.batch.files = static_cast<QueuedFile *>(palloc0(sizeof(QueuedFile) * (most + 1)));
  part.places = static_cast<int *>(palloc(sizeof(int) * (most + 1)));
  for (; *next < all->count; (*next)++) {
    const QueuedFile &file = all->files[*next];
    if (!Open(file)) continue;
    SenderAccount *entry = FindAccount(call->sender, file.account->server);
    if (entry->room-- <= 0) break;
    QueuedFile *copy = &part.batch.files[part.batch.count];
    *copy = file;
    copy->stage = Stage::kNew;
    part.places[part.batch.count++] = *next;
  }
  MemoryContextSwitchTo(before);
  return part;
}

void PutBack(Batch *all, const Part &part) {
  for (int i = 0; i < part.batch.count; i++) {
    QueuedFile *file = &all->files[part.places[i]];
    const QueuedFile &led = part.batch.files[i];
    file->fate = led.fate;
    file->detail = led.detail == nullptr ? nullptr : MemoryContextStrdup(all->context, led.detail);
    file->file_id = led.file_id == nullptr ? nullptr : MemoryContextStrdup(all->context, led.file_id);
  }
}

void MakeFiles(Batch *all, char **urls, int count, Oid role) {
  all->count = count;
  all->files = static_cast<QueuedFile *>(MemoryContextAllocExtended(
      all->context, sizeof(QueuedFile) * (static_cast<Size>(count) + 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
  for (int i = 0; i < count; i++) {
    QueuedFile *file = &all->files[i];
    file->url = urls[i];
    file->captured_at = GetCurrentTimestamp();
    file->attempts = 1;
    file->by_hand = file->settling = true;
    file->origin = 'H';
    file->transaction = GetTopFullTransactionId();
    file->role = role;
  }
}

// What several elements name is recorded and counted once, by the first of them: each has its answer all the same.
void SettleOnce(Batch *all) {
  pg::CallCxx([&] {
    std::set<std::tuple<const account::Account *, Fate, std::string>> seen;
    for (int i = 0; i < all->count; i++) {
      QueuedFile *file = &all->files[i];
      const char *what = file->file_id != nullptr ? file->file_id : file->path != nullptr ? file->path : file->url;
      file->settling = seen.emplace(file->account, file->fate, what).second;
    }
  });
}

// What was done is recorded in the history, and comes back with the batch.
void DeleteNow(Batch *batch, char **urls, int count) {
  Call call = {};
  call.all.context = AllocSetContextCreate(CurrentMemoryContext, "imagekit batch", ALLOCSET_DEFAULT_SIZES);
  StartProgress(&call.progress);
  pg::SqlSession session;
  pg::OpenSql(&session);
  MakeFiles(&call.all, urls, count, session.saved_role);
  // The keys live in the sender, and go with the call.
  call.sender = static_cast<Sender *>(MemoryContextAllocZero(call.all.context, sizeof(Sender)));
  (void)Refresh(call.sender, call.all.context);
  HaltPaused(call.sender);
  Resolve(&call.all, call.sender);
  for (int next = 0;;) {
    Part part = TakePart(&call, &next);
    if (part.batch.count > 0) {
      Resolve(&part.batch, call.sender);
      LeadPart(&call, &part.batch);
      PutBack(&call.all, part);
      DecideDoubles(&call.all);
    }
    const bool last = part.batch.count == 0;
    MemoryContextDelete(part.batch.context);
    if (last) break;
  }
  outbox::QueuePurges(call.all);  // of all spellings: each is a page's of its own
  SettleOnce(&call.all);
  outbox::Record(call.all);
  outbox::CountFiles(call.all);
  outbox::CountRequests(*call.sender);
  outbox::WriteCounters();
  WakeAtCommit();
  pg::CloseSql(&session);
  *batch = call.all;
}

}  // namespace

void RequireMayDelete(const char *what) {
  PreventCommandIfReadOnly(what);
  PreventCommandDuringRecovery(what);
  (void)pg::HoldExtension();
  const char *why = !settings::enabled ? "imagekit_cleanup.enabled is off" : SettleArming();
  if (why != nullptr)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("this database may not delete images"),
                    errdetail("%s.", why), errhint("Run SELECT imagekit.enable(); if it is the one that should.")));
}

}  // namespace imagekit::worker

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_delete_file);
IMAGEKIT_SQL_FUNCTION(imagekit_delete_files);

// delete_file(url text) -> boolean
Datum imagekit_delete_file(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  RequireMayDelete("imagekit.delete_file()");
  char *url = text_to_cstring(PG_GETARG_TEXT_PP(0));
  Batch batch = {};
  DeleteNow(&batch, &url, 1);
  const QueuedFile &file = batch.files[0];
  bool gone = file.fate == Fate::kDeleted || file.fate == Fate::kNotFound;
  if (!gone)
    ereport(WARNING,
            (errmsg("image was not deleted: %s", url), errdetail("%s: %s.", OutcomeWord(file.fate), file.detail)));
  PG_RETURN_BOOL(gone);
}

// delete_files(urls text[]) -> TABLE (url text, outcome text, detail text)
Datum imagekit_delete_files(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  RequireMayDelete("imagekit.delete_files()");
  Datum *elements;
  bool *nulls;
  int given, count = 0;
  deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &given);
  auto **urls = static_cast<char **>(palloc_extended(sizeof(char *) * (given + 1), MCXT_ALLOC_HUGE));
  for (int i = 0; i < given; i++)
    if (!nulls[i]) urls[count++] = TextDatumGetCString(elements[i]);
  Batch batch = {};
  DeleteNow(&batch, urls, count);

  // A row for each element, in their order.
  InitMaterializedSRF(fcinfo, 0);
  auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  const QueuedFile *file = batch.files;
  for (int i = 0; i < given; i++) {
    const char *outcome = nulls[i] ? "failed" : OutcomeWord(file->fate);
    const char *detail = nulls[i] ? "the URL is NULL" : file->detail;
    Datum values[3] = {elements[i], CStringGetTextDatum(outcome),
                       detail == nullptr ? Datum{0} : CStringGetTextDatum(detail)};
    bool row_nulls[3] = {nulls[i], false, detail == nullptr};
    tuplestore_putvalues(result->setResult, result->setDesc, values, row_nulls);
    if (!nulls[i]) file++;
  }
  return Datum{0};
}
}
