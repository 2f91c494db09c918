// CALL imagekit.drain(): the worker's work in a session.

#include "outbox/backlog.h"
#include "outbox/counters.h"
#include "pg/sql.h"
#include "worker/arming.h"
#include "worker/hand.h"

namespace imagekit::worker {

namespace {

constexpr char kStopped[] =
    "SELECT pg_catalog.string_agg(pg_catalog.format('Nothing is sent for server \"%s\": %s.', s.server, s.cause), "
    "E'\\n'"
    "  ORDER BY s.server) FROM imagekit.status s WHERE s.state OPERATOR(pg_catalog.=) 'stopped'";

// Until nothing is due. Waits its turn when the worker is at it, without a snapshot.
void DrainAll(Drain *drain) {
  for (int64 done = 0; done < drain->most;) {
    CHECK_FOR_INTERRUPTS();
    const Round round = DrainRound(drain, drain->most - done);
    done += round.files;
    if (round.busy) {
      SPI_commit();
      outbox::WaitForDrainLock();
      continue;
    }
    if (round.idle || round.next_due > GetCurrentTimestamp()) return;
  }
}

void WriteCounts(const Drain *drain) {
  outbox::CountRequests(drain->sender);
  if (outbox::CountersDueAt() == kNever) return;
  Step step;
  Begin(&step, drain);
  outbox::WriteCounters();
  End(&step);
}

void SayWhatCameOfIt(const Drain *drain) {
  MemoryContext before = CurrentMemoryContext;
  Step step;
  Begin(&step, drain);
  pg::RunSql(kStopped, SPI_OK_SELECT);
  char *stopped = pg::FieldText(0, 1, before);
  End(&step);
  MemoryContextSwitchTo(before);
  SaySummary(drain->tally, stopped);
}

}  // namespace

}  // namespace imagekit::worker

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_drain);

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
  drain->most = most;
  drain->parent = AllocSetContextCreate(PortalContext, "imagekit drain", ALLOCSET_DEFAULT_SIZES);
  StartProgress(&drain->progress);
  if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
  DrainAll(drain);
  WriteCounts(drain);
  SayWhatCameOfIt(drain);
  SPI_finish();
  PG_RETURN_VOID();
}
}
