// The journal's tuples: into a claim, where nothing stands in the way, else into the backlog, a row a URL.

#ifndef IMAGEKIT_OUTBOX_TAKE_IN_H
#define IMAGEKIT_OUTBOX_TAKE_IN_H

#include "outbox/backlog.h"

namespace imagekit::outbox {

/// What may come straight into a claim.
struct JournalRoom {
  List *open;  // accounts (Oid) whose files may
  List *all;   // accounts there are
  int files;   // that are wanted; the last tuple may go beyond
  int most;    // that there is room for
  bool one;    // none is wanted, but one account is to be tried: a tuple may come into the backlog for that
};

/// Takes what lies next in the journal. Adds to `intake`, and moves `place`.
void TakeFromJournal(worker::Batch *batch, worker::Claim *claim, const JournalRoom &room, worker::JournalPlace *place,
                     Intake *intake);

/// Says in the log that a tuple of the journal is damaged: once a process. imagekit.pending shows it.
void SayDamaged(const ItemPointerData &place);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_TAKE_IN_H
