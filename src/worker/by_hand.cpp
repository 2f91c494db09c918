// delete_file(), delete_files() and CALL drain(): the same steps as the worker's, in a session.

#include "outbox/backlog.h"
#include "outbox/counters.h"
#include "outbox/journal.h"
#include "outbox/purges.h"
#include "pg/bridge.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/arming.h"
#include "worker/hand.h"
#include "worker/wake.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

const char *OutcomeWord(Fate fate) {
  const char *settled = OutcomeOf(fate);
  return settled != nullptr ? settled : "failed";
}

// Somebody waits for the answer, so the account's pace is waited for as well, though not for ever.
constexpr int64 kLongestPace = 60 * 1000;       // ms
constexpr int64 kLongestCall = 10 * 60 * 1000;  // ms

bool AnyOpen(const Batch &batch) {
  for (int i = 0; i < batch.count; i++)
    if (Open(batch.files[i]) || batch.files[i].answers_due > 0) return true;
  return false;
}

// Not inlined, as it is called from a PG_TRY.
pg_noinline void LeadOn(Flow *flow, Waiter *waiter) {
  auto *answer = pg::Own<Answer>(flow->batch->context);
  const TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kLongestCall);
  while (AnyOpen(*flow->batch)) {
    CHECK_FOR_INTERRUPTS();
    const bool moved = MoveOn(flow, answer);
    flow->letting_go = GetCurrentTimestamp() >= until;
    bool woken = false;
    if (AnyOpen(*flow->batch))
      WaitForImageKit(waiter, flow->sender->client, moved ? 0 : static_cast<long>(MoveOnAfter(*flow, 1000)), &woken);
  }
}

void Prove(void *argument, Batch *batch) {
  KeepReferenced(batch);
  ReleaseWhenChanged(batch, static_cast<Sender *>(argument));
}

// All steps for the given URLs, within the caller's transaction; ImageKit is asked meanwhile. What was done is recorded
// in the history, and comes back with the batch.
void DeleteNow(Batch *batch, char **urls, int count) {
  batch->context = AllocSetContextCreate(CurrentMemoryContext, "imagekit batch", ALLOCSET_DEFAULT_SIZES);
  batch->count = count;
  batch->files = static_cast<QueuedFile *>(MemoryContextAllocZero(batch->context, sizeof(QueuedFile) * (count + 1)));
  pg::SqlSession session;
  pg::OpenSql(&session);
  for (int i = 0; i < count; i++) {
    QueuedFile *file = &batch->files[i];
    file->url = urls[i];
    file->captured_at = GetCurrentTimestamp();
    file->attempts = 1;
    file->by_hand = file->settling = true;
    file->origin = 'H';
    file->transaction = GetTopFullTransactionId();
    file->role = session.saved_role;
  }
  // The keys live in the sender, and go with the call.
  auto *sender = static_cast<Sender *>(MemoryContextAllocZero(batch->context, sizeof(Sender)));
  (void)Refresh(sender, batch->context);
  Resolve(batch, sender);
  // Static: locals that change between setjmp and longjmp would be lost. Calls do not nest: nothing here runs users' code.
  static Waiter waiter;
  static Flow flow;
  waiter = {};
  flow = {batch, sender, Prove, nullptr, sender, kLongestPace, 0, false, false, nullptr};
  MemoryContext before = MemoryContextSwitchTo(batch->context);
  PG_TRY();
  { LeadOn(&flow, &waiter); }
  PG_FINALLY();
  { FreeWaiter(&waiter); }
  PG_END_TRY();
  KeepReferenced(batch);  // what was deleted a moment ago
  MemoryContextSwitchTo(before);
  outbox::Record(*batch);
  outbox::QueuePurges(*batch);
  outbox::CountFiles(*batch);
  outbox::CountRequests(*sender);
  outbox::WriteCounters();
  WakeAtCommit();
  pg::CloseSql(&session);
}

// A delete cannot be taken back, so it must be possible to record it; and a standby's rows are no proof.
void RequireMayDelete(const char *what) {
  PreventCommandIfReadOnly(what);
  PreventCommandDuringRecovery(what);
  (void)pg::HoldExtension();
  const char *why = !settings::enabled ? "imagekit_cleanup.enabled is off" : SettleArming();
  if (why != nullptr)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("this database may not delete images"),
                    errdetail("%s.", why), errhint("Run SELECT imagekit.enable(); if it is the one that should.")));
}

void WriteCounts(const Drain *drain) {
  outbox::CountRequests(drain->sender);
  if (outbox::CountersDueAt() == kNever) return;
  Step step;
  Begin(&step, drain);
  outbox::WriteCounters();
  End(&step);
}

// Until nothing is due. Waits its turn when the worker is at it, without a snapshot.
void DrainAll(Drain *drain, int64 most) {
  for (int64 done = 0; done < most;) {
    CHECK_FOR_INTERRUPTS();
    const Round round = DrainRound(drain, most - done);
    done += round.files;
    if (round.busy) {
      SPI_commit();
      outbox::WaitForDrainLock();
      continue;
    }
    if (round.idle || round.next_due > GetCurrentTimestamp()) return;
  }
}

}  // namespace

}  // namespace imagekit::worker

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_delete_file);
IMAGEKIT_SQL_FUNCTION(imagekit_delete_files);
IMAGEKIT_SQL_FUNCTION(imagekit_drain);

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
  auto **urls = static_cast<char **>(palloc(sizeof(char *) * (given + 1)));
  for (int i = 0; i < given; i++)
    if (!nulls[i]) urls[count++] = TextDatumGetCString(elements[i]);
  Batch batch = {};
  DeleteNow(&batch, urls, count);

  InitMaterializedSRF(fcinfo, 0);
  auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  for (int i = 0; i < count; i++) {
    const QueuedFile &file = batch.files[i];
    Datum values[3] = {CStringGetTextDatum(file.url), CStringGetTextDatum(OutcomeWord(file.fate)),
                       file.detail == nullptr ? Datum{0} : CStringGetTextDatum(file.detail)};
    bool row_nulls[3] = {false, false, file.detail == nullptr};
    tuplestore_putvalues(result->setResult, result->setDesc, values, row_nulls);
  }
  return Datum{0};
}

// drain(max_files integer)
Datum imagekit_drain(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  if (fcinfo->context == nullptr || !IsA(fcinfo->context, CallContext) ||
      reinterpret_cast<CallContext *>(fcinfo->context)->atomic)
    ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
                    errmsg("imagekit.drain() cannot run inside a transaction block"),
                    errdetail("It commits between its steps, so that nothing is held while ImageKit is asked."),
                    errhint("CALL it on its own, outside BEGIN ... COMMIT and outside functions.")));
  int64 most = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT32(0);
  if (most < 0)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_files must not be negative"),
                    errhint("Leave it out to drain all that is due.")));
  RequireMayDelete("imagekit.drain()");

  auto *drain = static_cast<Drain *>(MemoryContextAllocZero(PortalContext, sizeof(Drain)));
  drain->procedure = true;
  drain->parent = AllocSetContextCreate(PortalContext, "imagekit drain", ALLOCSET_DEFAULT_SIZES);
  if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
  DrainAll(drain, most);
  WriteCounts(drain);
  SPI_finish();
  PG_RETURN_VOID();
}
}
