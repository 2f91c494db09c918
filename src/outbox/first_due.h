// When the first of each account's files in the backlog is due, and where its next claim begins. (The view imagekit.first_due
// says the former to those who do not claim.)
//
// PostgreSQL keeps the index entries of deleted rows until a vacuum comes, which in a table of millions is after some hundred
// thousand, or until an old transaction ends. A look from the beginning of the index walks past all of them, each time more. So
// each account has a place: what was there when it was last looked for from the beginning lies behind it. Looks begin at the
// place, and claims do, which take it along. What comes in before it (a file that an operator lets go, one queued by a transaction
// that began earlier) or was passed over, as another session had it locked, waits for the next look from the beginning. That
// comes when nothing behind the place is due, but so that these looks take a twentieth of the time at most; and after some
// seconds (a minute at most) whatever is due, so that it is not behind a queue without end.

#ifndef IMAGEKIT_OUTBOX_FIRST_DUE_H
#define IMAGEKIT_OUTBOX_FIRST_DUE_H

#include "worker/sender.h"

namespace imagekit::outbox {

struct FirstDue {
  Oid server;  // InvalidOid: of no account
  bool now;    // something is due
  // Of the first file, or a time that is over when something is due; or earlier, when the next look from the beginning is to be made.
  TimestampTz at;
};

struct FirstDues {
  FirstDue *of;
  int count;
};

/// How to look: for what came in since the last time; from the beginning, however long that takes; once more after one of
/// these, in the same transaction, for what comes next.
enum class Look { kAnew, kThoroughly, kFurther };

/// One for each server that has anything waiting: those that are no account any more first, then the sender's accounts, which
/// all have a place from then on. Needs an open SqlSession.
FirstDues ReadFirstDue(worker::Sender *sender, Look look);

/// Behind what was claimed from there.
void MovePlace(worker::SenderAccount *entry, TimestampTz due_at, int64 id);
/// Files have come in that are due since `due_at`.
void IncludeFrom(worker::SenderAccount *entry, TimestampTz due_at);
void ForgetPlaces(worker::Sender *sender);
/// When what may lie before a place will have been looked for, of all accounts; a time that is over when there is none.
worker::Ticks LooksAgainAt(const worker::Sender &sender);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_FIRST_DUE_H
