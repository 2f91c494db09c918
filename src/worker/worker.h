// A database's worker: started by the launcher, drains while there is work, leaves when there is none.

#ifndef IMAGEKIT_WORKER_WORKER_H
#define IMAGEKIT_WORKER_WORKER_H

namespace imagekit::worker {

/// backend_type and application_name in pg_stat_activity.
constexpr char kWorkerType[] = "imagekit_cleanup worker";

/// What ALTER DATABASE or postgresql.conf set for people's sessions must not make a process of ours fail.
void PinSettings();

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_WORKER_H
