// The standby: what this instance must know before a failover, so that it may go on after it.

#ifndef IMAGEKIT_WORKER_STANDBY_H
#define IMAGEKIT_WORKER_STANDBY_H

#include "pg/server.h"

namespace imagekit::worker {

/// Before recovery begins, from _PG_init: a server that is started to be restored to a point in time is no standby any
/// more.
void ForgetStandbyWhenRestoring();

/// In recovery, by the launcher, again and again: writes down which timeline is being streamed from a primary. Cheap when
/// that is known already.
void NoteStreaming();

/// True when this instance, of that mark, has been a streaming standby of every timeline from `armed` up to the one that
/// it has left by its promotion to `current`.
bool Succeeds(const char *mark, TimeLineID armed, TimeLineID current);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_STANDBY_H
