// The queue's bookkeeping, each function one short piece of a transaction: take in the journal, claim, settle.
//
//   journal tuple ──────────Claim─────────► claims: many files a row ──Settle──► history
//         │                                   ▲                         │
//         │ held, not due, or more            │ Claim                   │ not settled
//         │ than there is room for            │                         ▼
//         └──────────TakeIn─────────► backlog: a row a file, waiting / retrying / held / failed
//
// A file that meets no obstacle goes from the journal to the history and is never a row by itself in between: its attempt is
// counted by the one row of imagekit.claims that its whole claim has, written before anything is sent, so that a file that
// kills its worker cannot do so for ever. One drain a database works at a time (DrainLock), so whoever holds the lock knows
// that what is still claimed was left by a dead one.

#ifndef IMAGEKIT_OUTBOX_BACKLOG_H
#define IMAGEKIT_OUTBOX_BACKLOG_H

#include "worker/batch.h"
#include "worker/drain.h"
#include "worker/sender.h"

namespace imagekit::outbox {

/// This database's right to drain, as a session lock that a dead process cannot keep. False when another has it.
bool TryDrainLock();
void ReleaseDrainLock();
/// Waits until the lock was free for a moment: it will soon be ours.
void WaitForDrainLock();
/// True when somebody waits so.
bool DrainIsWanted();

/// Who takes in and claims, and who takes back, one after the other: what the journal loses is then in the backlog for all to
/// see. A drain has it to the end of its transaction, an operator's function while it runs; row locks do the rest.
void LockQueue();
void UnlockQueue();

// All of these need an open SqlSession.

struct TakenBack {
  uint64 files;
  // There is more, in the hands of another session whose transaction is open. Should that be rolled back, nobody says so.
  bool more;
};

/// Gives back what a dead drain left claimed: all that is not of the drain's own claims. Waits for nobody. A place of zeros looks
/// at all there are.
TakenBack TakeBackOrphans(List *in_hand, worker::ClaimsPlace *place);

/// The same for who drains nothing, unless a drain is at work.
TakenBack TakeBackOrphansOfNobody();

/// A file that failed is due within retry_delay_max, also when the clock was put back since.
void MendDueTimes();

/// Moves up to `tuples` journal tuples into the backlog, a row a URL, those of a mass change as held. Returns how many tuples
/// were moved. Needs the queue lock.
uint64 TakeIn(int tuples);

/// What max_deletes_per_hour leaves each account. One that has reached it is paused until an hour after the deletion that
/// makes room; one that has not, or is not limited any more, goes on. By hand there is no limit, but what is deleted by hand
/// counts.
void LimitDeletes(worker::Sender *sender, const worker::Batch &batch);

/// Says what is wrong with the configuration of accounts, once.
void NoteProblems(const worker::Sender &sender);

/// Accounts that were stopped and have been changed since (options, key) are tried at once.
void TryChangedAccounts(const worker::Sender &sender);

/// Makes the slots of a drain's batch.
void MakeSlots(worker::Batch *batch);
/// Files of an account that are worth having in hand: as many as can be deleted in some seconds. What is claimed longer before is
/// only out of others' reach, and what is looked up longer before has to be looked up again.
int MostInHand(const account::Account &account);
/// True when it is worth claiming: an account may have a good part more in hand; `starved`: one that would have had more when
/// it was last asked.
bool HasRoom(const worker::Batch &batch, const worker::Sender &sender, bool starved);
/// Files of the account that are in hand.
int InHand(const worker::Batch &batch, const worker::SenderAccount *entry);

struct Intake {
  worker::Claim *claim;  // NULL: nothing was claimed
  uint64 taken_in;       // journal tuples that went into the backlog
  List *of_due;          // accounts of which some were due,
  TimestampTz due_from;  // not before this
  bool more;             // there may be more at this moment
};

/// Claims up to `limit` due files of accounts that can be sent to, or that no account knows any more: from the backlog, and
/// straight from the journal. They are new in `batch`. `thorough`: nothing of the backlog that is due is left for later looks,
/// however long this one takes. Needs the queue lock.
Intake Claim(worker::Batch *batch, worker::Sender *sender, int64 limit, worker::JournalPlace *place, bool thorough);

/// Writes down what became of each file that is settling, and of each account.
void Settle(const worker::Batch &batch, List *claims, worker::Sender *sender);

/// How the accounts' last look-ups and deletes went, from earlier rounds and processes.
void ReadMissingRuns(worker::Sender *sender);

void WriteMissingRuns(const worker::Sender &sender);

/// Marks those missing files of an account of which the history says that we deleted them lately.
void MarkDeletedBefore(worker::Batch *batch, const account::Account &account);

/// History only, of the files that are settling.
void Record(const worker::Batch &batch);

/// Forgets a part of what is older than imagekit_cleanup.history_retention. True when there may be more.
bool PruneHistory();

/// When there will be work next; DT_NOEND when nothing waits. Moved rows are not due before `moves_at`. Right after a
/// Claim(), in the same transaction.
TimestampTz NextDue(const worker::Batch &batch, worker::Sender *sender, const worker::JournalPlace &place,
                    worker::Ticks moves_at);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_BACKLOG_H
