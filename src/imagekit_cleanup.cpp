// imagekit_cleanup: the front door. What is set up when the library is loaded, in the order of the data's way:
//
//   accounts   src/account/   which URLs are ours, and the keys
//   capture    src/capture/   triggers: URLs a row stops using, buffered until the transaction commits
//   outbox     src/outbox/    the packed journal, the backlog, the history
//   worker     src/worker/    launcher and workers: resolve, look up, still used?, delete, settle
//   core       src/core/      what ImageKit is; knows nothing of PostgreSQL
//   bridge     src/pg/        where C++ and PostgreSQL meet
//
// Loaded by shared_preload_libraries, all of it works; loaded by a session's first use, everything but the background
// service, and CALL imagekit.drain() does its work.

#include "account/account.h"
#include "capture/buffer.h"
#include "capture/unchanged.h"
#include "capture/watched_relation.h"
#include "pg/server.h"
#include "pg/settings.h"
#include "worker/database_commands.h"
#include "worker/launcher.h"
#include "worker/pause.h"
#include "worker/shared_memory.h"
#include "worker/standby.h"
#include "worker/wake.h"

IMAGEKIT_MODULE_MAGIC("1.0")

extern "C" {

PGDLLEXPORT void _PG_init(void);

void _PG_init(void) {
  imagekit::settings::Define();
  imagekit::account::Initialize();
  imagekit::worker::InitializePauses();
  imagekit::capture::InitializeWatchedRelations();
  imagekit::capture::InitializeUnchanged();
  imagekit::capture::InitializeBuffer();
  imagekit::worker::InitializeWake();

  // pg_upgrade starts servers that must do nothing by themselves.
  if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade) return;
  imagekit::worker::ForgetStandbyWhenRestoring();
  imagekit::worker::RequestSharedMemory();
  imagekit::worker::WatchDatabaseCommands();
  imagekit::worker::RegisterLauncher();
}
}
