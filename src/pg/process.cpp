#include "pg/process.h"

namespace imagekit::pg {

void TakeSignals() {
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  IgnoreSignal(SIGINT);
  // A reload between the fork and here is lost: the process has the settings of before, and PostgreSQL's own start of background
  // workers ignores SIGHUP until now. One that did not see imagekit_cleanup.enabled go off would go on deleting.
  ConfigReloadPending = true;
  BackgroundWorkerUnblockSignals();
}

bool ObeyReload() {
  if (!ConfigReloadPending) return false;
  ConfigReloadPending = false;
  ProcessConfigFile(PGC_SIGHUP);
  return true;
}

}  // namespace imagekit::pg
