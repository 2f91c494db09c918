// One flag a transaction, and the latch at its commit. Not NOTIFY, which would make all commits of a database queue up.

#include "worker/wake.h"

#include "worker/shared_state.h"

namespace imagekit::worker {

namespace {

bool wake_at_commit = false;

void OnTransaction(XactEvent event, void *) {
  if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE) return;
  if (event == XACT_EVENT_COMMIT && wake_at_commit) Wake(MyDatabaseId);
  if (event == XACT_EVENT_PREPARE && wake_at_commit) NotePrepared(MyDatabaseId);
  wake_at_commit = false;
}

}  // namespace

void WakeAtCommit() { wake_at_commit = true; }

void InitializeWake() { RegisterXactCallback(OnTransaction, nullptr); }

}  // namespace imagekit::worker
