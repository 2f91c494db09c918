// The worker's loop. It ends by itself: an idle worker would keep its database from being dropped or copied.
//
//   start ─► allowed? ──no──► leave (woken by enable())
//              │ yes
//              ▼
//            round ─► more due? ──yes──► round
//              ▲         │ no
//              │         ▼
//              └─woken─ wait (idle time-out) ─► leave (started again when the next file is due)
//
// An error ends the process, and the launcher starts another a second later: what was claimed comes back with its
// attempt counted.

#include "worker/worker.h"

#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/arming.h"
#include "worker/drain.h"
#include "worker/shared_state.h"

namespace imagekit::worker {

namespace {

// A database that may not send is looked at again after this without being woken.
constexpr int kDisarmedPoll = 10 * 60 * 1000;  // ms

bool MaySend() {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  bool may = settings::enabled && pg::HoldExtension() && SettleArming() == nullptr;
  PopActiveSnapshot();
  CommitTransactionCommand();
  return may;
}

TimestampTz Later(int ms) { return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms); }

// Sleeps until woken, or until `until`. True when woken.
bool Sleep(TimestampTz until, uint32 wait_event) {
  pgstat_report_stat(true);
  pgstat_report_activity(STATE_IDLE, nullptr);
  long timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
  int events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
  ResetLatch(MyLatch);
  CHECK_FOR_INTERRUPTS();
  return (events & WL_LATCH_SET) != 0;
}

void ObeyReload() {
  if (!ConfigReloadPending) return;
  ConfigReloadPending = false;
  ProcessConfigFile(PGC_SIGHUP);
}

// What ALTER DATABASE or postgresql.conf set for people's sessions must not make ours fail.
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
}

// Works until there is nothing to do; returns when the launcher shall look again.
TimestampTz WorkUntilIdle(Drain *drain) {
  uint32 wait_event = pg::WaitEventFor("ImageKitIdle");
  TimestampTz idle_since = GetCurrentTimestamp();
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    ObeyReload();
    (void)TakeWake();  // before looking: what is committed from here on wakes again
    // While the kill switch is off the launcher starts nobody, so a switch that was turned on again meanwhile is seen soon.
    if (!MaySend()) return Later(settings::enabled ? kDisarmedPoll : settings::poll_interval);
    pgstat_report_activity(STATE_RUNNING, "imagekit_cleanup: draining");
    Round round = DrainRound(drain, PG_INT64_MAX);
    TimestampTz now = GetCurrentTimestamp();
    if (round.files > 0) idle_since = now;
    if (!round.busy && !round.idle && round.next_due <= now) continue;

    // Another process has the drain, or somebody has locked the rows that are due: look again, but do not spin.
    TimestampTz due = round.busy ? Later(1000) : Max(round.next_due, Later(round.idle ? 500 : 0));
    TimestampTz leave_at = TimestampTzPlusMilliseconds(idle_since, settings::worker_idle_timeout);
    bool woken = Sleep(Min(due, leave_at), wait_event);
    if (!woken && due > GetCurrentTimestamp()) return Min(due, Later(settings::poll_interval));
  }
}

}  // namespace

}  // namespace imagekit::worker

extern "C" {

PGDLLEXPORT void imagekit_worker_main(Datum database);

void imagekit_worker_main(Datum database) {
  using namespace imagekit::worker;
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
  if (!PublishWorker(MyDatabaseId)) proc_exit(0);
  pgstat_report_appname(kWorkerType);
  PinSettings();

  Drain drain = {};
  drain.parent = TopMemoryContext;
  TimestampTz look_again_at;
  do look_again_at = WorkUntilIdle(&drain);
  while (!Leave(look_again_at));
  proc_exit(0);
}
}
