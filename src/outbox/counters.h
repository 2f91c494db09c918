// imagekit.counters: what was done for each account, added up for ever. The views imagekit.metrics and others read it.
// imagekit.counters_by_day: the same for each day.
//
// A process counts in its own memory and writes now and then: an update for each settlement would cost a dead row each, all of
// which every later update had to go past while an old snapshot keeps them. What a process had not written when it crashes or
// is terminated is not counted.

#ifndef IMAGEKIT_OUTBOX_COUNTERS_H
#define IMAGEKIT_OUTBOX_COUNTERS_H

#include "worker/batch.h"
#include "worker/sender.h"

namespace imagekit::outbox {

/// What becomes of the files that are settling. Needs an open SqlSession.
void CountFiles(const worker::Batch &batch);

/// What the sender's client has counted of its requests. Before it goes, and before the two below.
void CountRequests(const worker::Sender &sender);

/// When it is time to write what this process has counted; kNever: nothing was.
worker::Ticks CountersDueAt();

/// Writes it, and forgets it. Needs an open SqlSession. Waits for nobody.
void WriteCounters();

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_COUNTERS_H
