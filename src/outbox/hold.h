// The hold: when a table loses an unusual number of files at once, they wait for an operator's word.
//
// What "unusual" is say the account's options hold_above, hold_fraction and hold_window, and watch() for one table. Asked
// when removals come into the backlog, before any of them can be claimed: a mistake's first file is as final as its last.
//
// imagekit.removals remembers what was counted: a row a minute and table for small transactions, and one for each large
// transaction, so that its tuples meet one decision however many rounds take them in. A row that says why is held; so is
// everything the table removes while such a row is within the window.

#ifndef IMAGEKIT_OUTBOX_HOLD_H
#define IMAGEKIT_OUTBOX_HOLD_H

#include "pg/server.h"

namespace imagekit::outbox {

/// Files that are about to enter the backlog together: a journal tuple's.
struct Removal {
  // Given
  Oid relation;
  uint64 transaction;
  int64 files;
  int64 total;  // the transaction's, of this table; kUncounted; 0: no transaction's, goes by the window alone
  TimestampTz written_at;  // when they were removed
  List *accounts;          // Oid; those the files belong to

  // Found out
  char *cause;  // why they are held, in words; NULL: they are not
};

/// The total of a transaction that had to write before its end. The journal is asked for it.
constexpr int64 kUncounted = -1;

/// From how many files on the share of a table's files counts.
constexpr int64 kFromFiles = 500;

/// A table's removals that have gone beyond what a window allows, and what is to be held for it.
struct Trip {
  Oid relation;
  TimestampTz from, to;
  char *cause;
};

// All of these need an open SqlSession, and the queue lock.

/// Counts `removals`, and decides which are held. While what they come from is still in the journal. Adds to *trips (Trip *)
/// those for which HoldWaiting() must be called once they are in the backlog.
void Judge(Removal *removals, int count, List **trips);

/// Holds what still waits of the windows that were found to be beyond their limit.
void HoldWaiting(List *trips);

/// Before a claim: holds what HoldWaiting() had to pass by, as somebody had it in his hands. Reads all that waits, so it takes a
/// twentieth of the time at most. True while anything is held: then no claim may take what it has not come to yet.
bool HoldAgain();

/// SQL: `r` is a removal that is held (imagekit.removals), and the file `b` (imagekit.backlog) is of it.
#define IMAGEKIT_HELD_REMOVAL_OF(B)                                                                      \
  "r.relation OPERATOR(pg_catalog.=) " B                                                                 \
  ".relation AND r.held_because IS NOT NULL"                                                             \
  " AND CASE WHEN r.transaction IS NULL THEN " B ".captured_at OPERATOR(pg_catalog.>=) r.since AND " B   \
  ".captured_at OPERATOR(pg_catalog.<) (r.since OPERATOR(pg_catalog.+) '1 minute'::pg_catalog.interval)" \
  " ELSE " B ".transaction OPERATOR(pg_catalog.=) r.transaction END"

/// After an operator's word: where nothing is held any more, counting begins anew, so that what was approved is not held
/// against what comes next.
void ForgetSettledHolds();

/// Forgets what no window reaches any more.
void PruneRemovals();

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_HOLD_H
