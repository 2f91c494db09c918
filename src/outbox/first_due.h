// When the first of each account's files in the backlog is due, and where its next claim begins.
//
// PostgreSQL keeps the index entries of deleted rows until a vacuum comes, which in a table of millions is after some hundred
// thousand. A claim that began at the beginning of the index would walk past all of them, each time more. So for some seconds
// claims begin where the last one ended. What comes in before that place (a file given back, a grace that is over) waits for
// the next claim from the beginning: that comes after those seconds, or as soon as nothing behind the place is due.

#ifndef IMAGEKIT_OUTBOX_FIRST_DUE_H
#define IMAGEKIT_OUTBOX_FIRST_DUE_H

#include "worker/sender.h"

namespace imagekit::outbox {

struct FirstDue {
  Oid server;      // InvalidOid: of no account
  TimestampTz at;  // of the first file; where there is one behind the account's place that is due, of that
  bool now;
};

struct FirstDues {
  FirstDue *of;
  int count;
};

/// One for each of the sender's accounts that has anything waiting. Of those that are no account any more, at least one for
/// as long as there are any. Needs an open SqlSession.
FirstDues ReadFirstDue(const worker::Sender &sender);

/// The place lasts some seconds.
void BeginAt(worker::SenderAccount *entry, TimestampTz due_at, int64 id);
void BeginAtBeginning(worker::SenderAccount *entry);
/// Forgets the places that have lasted.
void ForgetOldPlaces(const worker::Sender &sender);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_FIRST_DUE_H
