// A database's worker: started by the launcher, drains while there is work, leaves when there is none.

#ifndef IMAGEKIT_WORKER_WORKER_H
#define IMAGEKIT_WORKER_WORKER_H

#include "pg/server.h"
#include "worker/shared_state.h"

namespace imagekit::worker {

/// backend_type and application_name in pg_stat_activity.
constexpr char kWorkerType[] = "imagekit_cleanup worker";

/// What ALTER DATABASE or postgresql.conf set for people's sessions must not make a process of ours fail.
void PinSettings();

/// A FATAL for which `set_aside` gives the reason is not written to the server log: this process makes way for a command that needs
/// the database for itself, which is no news. Once in a process.
void HideShutdownIf(bool (*set_aside)());

/// A time of the database as ours; kNever for infinity.
Ticks InTicks(TimestampTz at);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_WORKER_H
