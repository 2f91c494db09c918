// The drain: claims files, leads each to its fate, and settles them, in the worker or in a session's CALL imagekit.drain().
//
// The state machine is drawn in README.md here.

#ifndef IMAGEKIT_WORKER_DRAIN_H
#define IMAGEKIT_WORKER_DRAIN_H

#include "worker/progress.h"
#include "worker/purge.h"
#include "worker/sender.h"

namespace imagekit::worker {

/// Where a review of the moved rows stands, so that those that cannot be decided do not hold up the others.
struct MovesPlace {
  ItemPointerData after;  // zero: at the beginning
  bool undecided;         // any since the beginning
};

/// Where in the journal the drain has come to. What lies before has been taken, but for what came into free room there: it
/// is looked at from the beginning again when the end is reached.
struct JournalPlace {
  ItemPointerData after;  // zero: at the beginning
  Ticks again_at;         // from the beginning then; 0: no need
  Ticks began_at, took;   // the last look from the beginning
  bool left;              // it was not looked into, for want of room, or of an account that can be sent to
};

/// Which claims a dead drain can have left: those after the drain's own last one, as when that was written, nothing else was
/// left. PostgreSQL keeps the rows of all that were settled for as long as an old transaction may see them, a row a file where
/// files come one by one; so all are looked through now and then only.
struct ClaimsPlace {
  int64 after;     // imagekit.claims.id
  Ticks again_at;  // from the beginning then
};

struct Drain {
  bool procedure;        // in CALL imagekit.drain(): transactions are the procedure's
  MemoryContext parent;  // outlives every transaction
  Sender sender;
  Ticks moves_at;  // the moved rows are reviewed then
  MovesPlace moves_place;
  JournalPlace journal_place;
  ClaimsPlace claims_place;
  Purging purging;
  Ticks tended_at;  // when history and counts were last pruned
  Tally tally;      // of what was settled
  int64 most;       // in CALL imagekit.drain(): files in all; and what it says meanwhile
  Progress progress;
};

struct Round {
  bool busy;             // another process is draining this database
  int64 files;           // claimed in this round
  bool idle;             // nothing was taken in and nothing claimed, so another round at once would do the same
  TimestampTz next_due;  // DT_NOEND: nothing waits
};

/// Drains until nothing is due, `limit` files are done, or others shall have their turn. Outside a transaction (worker), or
/// in a procedure with its SPI connection on top. Raises what the database raises; what was claimed is taken back by the
/// next drain.
Round DrainRound(Drain *drain, int64 limit);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_DRAIN_H
