// The worker's loop. It ends by itself, so that few processes serve many databases.
//
//   start ─► allowed? ──no──► leave (woken by enable())
//              │ yes
//              ▼
//            round ─► more due? ──yes──► round
//              ▲         │ no
//              │         ▼
//              └─woken─ wait (idle time-out) ─► leave (started again when the next file is due)
//
// An error ends the process, and the launcher starts another a second later, or longer when it fails again: what was
// claimed comes back with its attempt counted. So it is when the worker is stopped.
//
// Times are shared_state.h's Ticks, also here: the wall clock may jump. Only what is compared with the queue's own times
// is of its clock.

#include "worker/worker.h"

#include "audit/schedule.h"
#include "outbox/counters.h"
#include "outbox/first_due.h"
#include "pg/process.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/arming.h"
#include "worker/drain.h"
#include "worker/shared_state.h"

namespace imagekit::worker {

namespace {

// A database in which nothing waits is looked at again after this without being woken; so is one that may not send.
// Everything that makes work wakes: this is for what nobody has thought of, and for what is to be forgotten in time.
constexpr Ticks kUnaskedLook = 3600 * 1000;

// With others waiting for a place, a worker that always finds work goes to the end of the queue after this.
constexpr Ticks kTurn = 5000;

// Between looks at a queue in which all is due later: they grow from poll_interval to this. Whatever makes a file due earlier
// wakes, but for a hand in the table.
constexpr Ticks kLongestPoll = 600 * 1000;

// What waits for more than its time (a key, an account that is stopped, another session); anything; prepared transactions.
// What is paused is waited for by nobody: resume() wakes.
constexpr char kWhatWaits[] =
    "WITH open AS MATERIALIZED (SELECT NOT EXISTS (SELECT FROM imagekit.pauses) OR EXISTS ("
    "  SELECT FROM pg_catalog.pg_foreign_server s"
    "  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw"
    "  WHERE w.fdwname OPERATOR(pg_catalog.=) 'imagekit'"
    "  AND NOT EXISTS (SELECT FROM imagekit.pauses p WHERE p.server OPERATOR(pg_catalog.=) s.oid)) AS any) "
    "SELECT o.any AND EXISTS (SELECT FROM imagekit.outbox) OR EXISTS (SELECT FROM imagekit.claims) OR EXISTS ("
    "  SELECT FROM imagekit.first_due d WHERE d.due_at OPERATOR(pg_catalog.<=) pg_catalog.now()"
    "  AND NOT EXISTS (SELECT FROM imagekit.pauses p WHERE p.server OPERATOR(pg_catalog.=) d.server)), "
    "o.any AND (EXISTS (SELECT FROM imagekit.first_due) OR EXISTS (SELECT FROM imagekit.purges)), "
    "EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts"
    "  WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()) "
    "FROM open o";

enum class Standing { kNoExtension, kMayNot, kMay };

Standing ReadStanding() {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  Standing standing = !pg::HoldExtension()                             ? Standing::kNoExtension
                      : settings::enabled && SettleArming() == nullptr ? Standing::kMay
                                                                       : Standing::kMayNot;
  PopActiveSnapshot();
  CommitTransactionCommand();
  return standing;
}

Ticks Later(Ticks wait) { return NowTicks() + wait; }

// When to look again unasked, with something due at `due`.
Ticks LookAgainAt(Ticks due, bool stuck, bool waits) {
  const Ticks poll = settings::poll_interval;
  if (stuck) return Min(due, Later(poll));
  if (waits) return Min(due, Later(Max(poll, Min(poll << Min(QuietLooks(), 10), kLongestPoll))));
  return Min(due, Later(Max(poll, kUnaskedLook)));
}

// What to leave behind, when the next file is due at `due`.
Parting PartingAt(Ticks due, bool quiet) {
  Parting parting = {kNever, false, quiet};
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  if (pg::HoldExtension()) {
    pg::SqlSession session;
    pg::OpenSql(&session);
    pg::RunSql(kWhatWaits, SPI_OK_SELECT);
    bool null;
    bool stuck = DatumGetBool(pg::Field(0, 1, &null)), waits = DatumGetBool(pg::Field(0, 2, &null));
    parting.prepared = DatumGetBool(pg::Field(0, 3, &null));
    pg::CloseSql(&session);
    parting.look_again_at = LookAgainAt(due, stuck || parting.prepared, waits);
  }
  PopActiveSnapshot();
  CommitTransactionCommand();
  return parting;
}

// What was counted and has not come to imagekit.counters with a settlement.
void WriteCounts(const Drain &drain) {
  outbox::CountRequests(drain.sender);
  if (outbox::CountersDueAt() == kNever) return;
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  if (pg::HoldExtension()) {
    pg::SqlSession session;
    pg::OpenSql(&session);
    outbox::WriteCounters();
    pg::CloseSql(&session);
  }
  PopActiveSnapshot();
  CommitTransactionCommand();
}

// Starts what is due of the accounts' audits; when to look again. Soon after one was started it may not have noted so yet.
Ticks OrderAudits() {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  Ticks next = kNever;
  if (pg::HoldExtension()) {
    pg::SqlSession session;
    pg::OpenSql(&session);
    next = audit::OrderDueAudits();
    pg::CloseSql(&session);
  }
  PopActiveSnapshot();
  CommitTransactionCommand();
  return Max(Min(next, Later(kUnaskedLook)), Later(settings::poll_interval));
}

// Sleeps until woken, or until `until`. True when woken.
bool Sleep(Ticks until, uint32 wait_event) {
  pgstat_report_stat(true);
  pgstat_report_activity(STATE_IDLE, nullptr);
  long timeout = static_cast<long>(Max(until - NowTicks(), Ticks{0}));
  int events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
  ResetLatch(MyLatch);
  CHECK_FOR_INTERRUPTS();
  return (events & WL_LATCH_SET) != 0;
}

// Works until there is nothing to do: then true. False when others are to have the place.
bool WorkUntilIdle(Drain *drain, Ticks turn_ends, Ticks *audits_at, Parting *parting) {
  uint32 wait_event = pg::WaitEventFor("ImageKitIdle");
  Ticks idle_since = NowTicks();
  bool quiet = true;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    (void)pg::ObeyReload();
    (void)TakeWake();  // before looking: what is committed from here on wakes again
    Standing standing = ReadStanding();
    *parting = {kNever, false, quiet};
    if (standing == Standing::kNoExtension) return true;
    // While the kill switch is off the launcher starts nobody, so a switch that was turned on again meanwhile is seen soon.
    parting->look_again_at = Later(settings::enabled ? kUnaskedLook : Ticks{settings::poll_interval});
    if (standing == Standing::kMayNot) return true;
    if (TakeAuditsChanged() || *audits_at <= NowTicks()) *audits_at = OrderAudits();
    pgstat_report_activity(STATE_RUNNING, "imagekit_cleanup: draining");
    Round round = DrainRound(drain, PG_INT64_MAX);
    if (round.files > 0) idle_since = NowTicks();
    quiet &= round.files == 0;
    if (!round.busy && !round.idle && round.next_due <= GetCurrentTimestamp()) {
      if (OthersWait() && NowTicks() >= turn_ends) return false;
      continue;
    }

    // Another process has the drain, or somebody has locked the rows that are due: look again, but do not spin.
    Ticks due = round.busy ? Later(1000) : Max(InTicks(round.next_due), Later(round.idle ? 500 : 0));
    due = Min(due, *audits_at);
    // Who comes next would look from the beginning, too.
    Ticks leave_at = OthersWait()
                         ? NowTicks()
                         : Max(idle_since + settings::worker_idle_timeout, outbox::LooksAgainAt(drain->sender));
    outbox::CountRequests(drain->sender);
    const Ticks write_at = outbox::CountersDueAt();
    bool woken = Sleep(Min(Min(due, leave_at), write_at), wait_event);
    if (write_at <= NowTicks()) WriteCounts(*drain);
    if (woken || due <= NowTicks() || NowTicks() < leave_at) continue;
    *parting = PartingAt(due, quiet);
    parting->look_again_at = Min(parting->look_again_at, *audits_at);
    return true;
  }
}

emit_log_hook_type next_log_hook = nullptr;
bool (*was_set_aside)() = nullptr;

void LogQuietly(ErrorData *error) {
  if (error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN && was_set_aside()) error->output_to_server = false;
  if (next_log_hook != nullptr) next_log_hook(error);
}

void Work() {
  Drain drain = {};
  drain.parent = TopMemoryContext;
  Ticks turn_ends = Later(kTurn), audits_at = 0;
  Parting parting;
  do {
    const bool idle = WorkUntilIdle(&drain, turn_ends, &audits_at, &parting);
    WriteCounts(drain);
    if (!idle) return MakeWay();
  } while (!Leave(parting));
}

}  // namespace

Ticks InTicks(TimestampTz at) {
  return at == DT_NOEND ? kNever : Later(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), at));
}

void HideShutdownIf(bool (*set_aside)()) {
  was_set_aside = set_aside;
  next_log_hook = emit_log_hook;
  emit_log_hook = LogQuietly;
}

void PinSettings() {
  constexpr struct {
    const char *name;
    const char *value;
  } kPinned[] = {
      {"default_transaction_read_only", "off"},
      {"default_transaction_isolation", "read committed"},
      {"default_transaction_deferrable", "off"},
      {"session_replication_role", "origin"},
      {"statement_timeout", "0"},
      {"lock_timeout", "0"},
      {"search_path", "pg_catalog, pg_temp"},
  };
  for (const auto &setting : kPinned) SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
  if (pg::kHasTransactionTimeout) SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
}

}  // namespace imagekit::worker

extern "C" {

PGDLLEXPORT void imagekit_worker_main(Datum database);

void imagekit_worker_main(Datum database) {
  using namespace imagekit::worker;
  imagekit::pg::TakeSignals();
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
  (void)imagekit::pg::ObeyReload();
  if (!PublishWorker(MyDatabaseId)) proc_exit(0);
  HideShutdownIf(WasSetAside);
  pgstat_report_appname(kWorkerType);
  PinSettings();
  imagekit::pg::AlwaysPlanForLittle();

  // An error ends the process, but its message is all that the log needs: exit status 1 would be a second one.
  PG_TRY();
  { Work(); }
  PG_CATCH();
  {
    HOLD_INTERRUPTS();
    EmitErrorReport();
  }
  PG_END_TRY();
  proc_exit(0);
}
}
