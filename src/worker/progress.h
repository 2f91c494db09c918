// What long work says to the session that waits for it: how far it is, and what came of it. The worker says nothing.

#ifndef IMAGEKIT_WORKER_PROGRESS_H
#define IMAGEKIT_WORKER_PROGRESS_H

#include "worker/batch.h"

namespace imagekit::worker {

/// How many files have met which fate.
struct Tally {
  int64 files[static_cast<int>(Fate::kReleased) + 1];
};
void Count(Tally *tally, Fate fate);

/// Those that came to an end, and those that did not though they were tried.
int64 Done(const Tally &tally);
int64 Failed(const Tally &tally);

/// When something is to be said next. Begins with StartProgress().
struct Progress {
  Ticks say_at;
};
void StartProgress(Progress *progress);
/// True once every ten seconds.
bool IsTimeToSay(Progress *progress);

/// "imagekit_cleanup: 12,000 of 40,000 files done, 3 failed". `more`: of more than `total`.
void SayProgress(int64 done, int64 failed, int64 total, bool more);

/// What a drain has done. `stopped`, may be NULL: why nothing is sent for some accounts, in words.
void SaySummary(const Tally &tally, const char *stopped);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_PROGRESS_H
