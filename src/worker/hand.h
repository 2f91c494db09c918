// What the drain's loop, its claims and its settlements share.

#ifndef IMAGEKIT_WORKER_HAND_H
#define IMAGEKIT_WORKER_HAND_H

#include "pg/sql.h"
#include "worker/drain.h"
#include "worker/shared_state.h"
#include "worker/steps.h"

namespace imagekit::worker {

/// A short transaction with SQL open in it. In a procedure, one is always open: it is committed at the end, and the next
/// begins.
struct Step {
  const Drain *drain;
  pg::SqlSession sql;
};
void Begin(Step *step, const Drain *drain);
void End(Step *step);

/// What a round has in hand. What is measured within the process is in Ticks, which no change of the clock moves.
struct Hand {
  Drain *drain;
  Round *round;
  Batch batch;
  Flow flow;
  List *claims;                           // Claim *
  int64 limit;                            // files that may still be claimed
  bool closing;                           // no more are claimed
  bool letting_go;                        // and what is not on the wire goes back
  bool hurried;                           // and after a while what is on it, too
  bool orphans_left;                      // of a dead drain, in another session's hands
  bool dry;                               // the last claim took all there was
  TimestampTz claim_at;                   // not before
  Ticks purged_by;                        // purges are not waited for any longer
  Ticks share_at;                         // from then on the place is for others who wait for it
  Ticks closing_since, letting_go_since;  // 0: it is not
  Waiter waiter;
  bool woken;
  Step proof;     // open from the proof until what was proven is on the wire
  bool heed;      // accounts may have been paused since that was last looked at
  Ticks heed_at;  // not before: commits may wake without end
};

/// Looks which accounts are paused, when that may have changed: what is in hand of them goes back, also where there is no room to
/// claim more.
void HeedPauses(Hand *hand);

/// Claims what there is room for; `first`: of this round. True when that was anything.
bool ClaimFiles(Hand *hand, bool first);

/// Settles what has been decided, when it is enough or has waited. True when that was anything.
bool SettleDecided(Hand *hand);

/// How long what is decided waits for others at most, in ms.
constexpr int64 kSettleAfter = 50;

/// How long the next look is put off where nothing wakes (a procedure), or what is due is in another session's hands, in ms.
constexpr int64 kLookAgain = 500;

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_HAND_H
