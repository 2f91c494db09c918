// When the first of each account's files in the backlog is due, and where its next claim begins. (The view imagekit.first_due
// says the former to those who do not claim.)
//
// PostgreSQL keeps the index entries of deleted rows until a vacuum comes, which in a table of millions is after some hundred
// thousand, or until an old transaction ends. A claim from the beginning of the index would walk past all of them, each time
// more. So for some seconds claims begin at the account's place, behind the last file of the claim before. What comes in before the
// place (a file given back, one whose grace is over) waits for the next claim from the beginning: that comes after those seconds, or
// as soon as a claim from the place gets less than it asked for.

#ifndef IMAGEKIT_OUTBOX_FIRST_DUE_H
#define IMAGEKIT_OUTBOX_FIRST_DUE_H

#include "worker/sender.h"

namespace imagekit::outbox {

struct FirstDue {
  Oid server;  // InvalidOid: of no account
  bool now;    // something is due
  // Of the first file. While the account has a place and something behind it is due, of the first behind it: a time that is over.
  TimestampTz at;
};

struct FirstDues {
  FirstDue *of;
  int count;
};

/// One for each server that has anything waiting: those that are no account any more first, then the sender's accounts. Needs an
/// open SqlSession.
FirstDues ReadFirstDue(const worker::Sender &sender);

/// The place from now on. It lasts for some seconds from when the account was given one after it had none, however often it moves
/// meanwhile; for longer when it took long (ms) to walk to it.
void BeginAt(worker::SenderAccount *entry, TimestampTz due_at, int64 id, worker::Ticks walked);
void BeginAtBeginning(worker::SenderAccount *entry);
/// The places that have lasted.
void ForgetOldPlaces(worker::Sender *sender);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_FIRST_DUE_H
