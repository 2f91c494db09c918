// The drain: rounds of claim, check, send and settle, in the worker or in a session's CALL imagekit.drain().

#ifndef IMAGEKIT_WORKER_DRAIN_H
#define IMAGEKIT_WORKER_DRAIN_H

#include "worker/sender.h"

namespace imagekit::worker {

/// Where a review of the moved rows stands, so that those that cannot be decided do not hold up the others.
struct MovesPlace {
  ItemPointerData after;  // zero: at the beginning
  bool undecided;         // any since the beginning
};

struct Drain {
  bool procedure;        // in CALL imagekit.drain(): transactions are the procedure's
  MemoryContext parent;  // outlives every transaction
  Sender sender;
  int rounds_without_moves;
  TimestampTz moves_again_at;  // after a review that left some undecided
  MovesPlace moves_place;
};

struct Round {
  bool busy;             // another process is draining this database
  int files;             // worked on in this round
  bool idle;             // nothing was taken in and nothing claimed, so another round at once would do the same
  TimestampTz next_due;  // DT_NOEND: nothing waits
};

/// Most files of one round.
constexpr int kRoundFiles = 50;

/// One round of at most `limit` files. Outside a transaction (worker), or in a procedure with its SPI connection on top.
/// Raises what the database raises; what was claimed is taken back by the next drain.
Round DrainRound(Drain *drain, int limit);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_DRAIN_H
