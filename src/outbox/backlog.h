// The queue's bookkeeping, each function one short piece of a transaction: take in the journal, claim, settle.
//
//   journal tuple ──TakeIn──► backlog: waiting ──Claim──► claimed ──Settle──► history
//                        │        ▲  ▲                       │
//                        │        │  └── retrying / failed ◄─┘
//                        └► held ─┘ imagekit.approve()
//
// An attempt is counted when it is claimed, before anything is sent: a file that kills its worker cannot do so for ever.
// One drain a database works at a time (DrainLock), so whoever holds the lock knows that what is still claimed was left
// by a dead one.

#ifndef IMAGEKIT_OUTBOX_BACKLOG_H
#define IMAGEKIT_OUTBOX_BACKLOG_H

#include "worker/batch.h"
#include "worker/sender.h"

namespace imagekit::outbox {

/// This database's right to drain, as a session lock that a dead process cannot keep. False when another has it.
bool TryDrainLock();
void ReleaseDrainLock();

/// Who takes in and claims, and who takes back, one after the other: what the journal loses is then in the backlog for all to
/// see. A drain has it to the end of its transaction, an operator's function while it runs; row locks do the rest.
void LockQueue();
void UnlockQueue();

// All of these need an open SqlSession.

/// Gives back what a dead drain left claimed.
void TakeBackOrphans();

/// The same, unless a drain is at work.
void TakeBackOrphansOfNobody();

/// Moves up to `tuples` journal tuples into the backlog, a row a URL, those of a mass change as held. Returns how many tuples
/// were moved. Needs the queue lock.
uint64 TakeIn(int tuples);

/// What max_deletes_per_hour leaves each account for this round. One that has reached it is paused until an hour after
/// the deletion that makes room; one that has not, or is not limited any more, goes on. By hand there is no limit, but what is
/// deleted by hand counts.
void LimitDeletes(worker::Sender *sender);

/// Accounts that were stopped and have been changed since (options, key) are tried at once.
void TryChangedAccounts(const worker::Sender &sender);

/// Claims up to `limit` due files of accounts that can be sent to, or that no account knows any more. Fills `batch`.
void Claim(worker::Batch *batch, const worker::Sender &sender, int limit);

/// Writes down what became of each file, and of each account.
void Settle(const worker::Batch &batch, const worker::Sender &sender);

/// How the accounts' last look-ups and deletes went, from earlier rounds and processes.
void ReadMissingRuns(worker::Sender *sender);

void WriteMissingRuns(const worker::Sender &sender);

/// Marks those missing files of an account of which the history says that we deleted them lately.
void MarkDeletedBefore(worker::Batch *batch, const account::Account &account);

/// History only. `by`: the role that deletes by hand what was never queued.
void Record(const worker::Batch &batch, Oid by);

/// When there will be work next: now when the journal holds any; DT_NOEND when nothing waits.
/// Moved rows are not due before `moves_again_at`.
TimestampTz NextDue(const worker::Sender &sender, TimestampTz moves_again_at);

/// True when an account is being tried again after a stop: one file is enough to find out.
bool Probing(const worker::Sender &sender);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_BACKLOG_H
