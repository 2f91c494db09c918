// The steps of a round, in the order in which they run. Each decides the fate of some files and leaves the rest open.

#ifndef IMAGEKIT_WORKER_STEPS_H
#define IMAGEKIT_WORKER_STEPS_H

#include "core/missing_run.h"
#include "worker/batch.h"
#include "worker/drain.h"
#include "worker/sender.h"

namespace imagekit::worker {

/// 0. Rows that moved to another partition: up to `tuples` journal tuples of them, from `place` on, become removals, or
/// nothing. Undecided: a table could not be asked, or an open transaction uses a file, and they stay. Needs an open SqlSession.
enum class MovesReview { kNone, kDone, kUndecided };
MovesReview ReviewMoves(const Sender *sender, int tuples, MovesPlace *place);

/// Reads the URLs: `readings` and `same_as`. The first half of Resolve().
void ReadBatch(Batch *batch);

/// 1. URL → account and library path. What is foreign or refused is parked, what is no library file or protected is
/// skipped, doubles are marked. Needs a transaction.
void Resolve(Batch *batch, const Sender *sender);

/// 2. Before anything is looked up in a library for the first time: is it the account's? One request an account. Where it is
/// not, the account stops, and its files stay as they were.
void CheckLibraries(Batch *batch, Sender *sender);

/// The same by a file that was found, where the library was empty before. False: the account is stopped.
bool VerifyLibrary(Sender *sender, SenderAccount *entry, const FoundFile &file);

/// 3. Library path → fileId, by exact look-up; and the checks on what was found: newer upload, another file, a second
/// reading of the URL? Then not deleted. What was not there stays open.
void LookUpFiles(Batch *batch, Sender *sender);

/// 4. Is so much not there that it cannot be believed? Then the account stops. `ask` marks those files of the batch that we
/// have deleted ourselves, and is called only before a stop. Not by hand.
using AskHistory = void (*)(void *argument, Batch *batch, const SenderAccount *entry);
void DoubtMissing(Batch *batch, Sender *sender, AskHistory ask, void *argument);
/// Keeps the runs of an account; they are written when the round is settled.
void SetRuns(SenderAccount *entry, MissingRun lookups, MissingRun deletes);
/// Stops an account for what is not there.
void StopForMissing(Sender *sender, SenderAccount *entry);

/// 5. Files that are not there are settled as not found; of an account that is stopped, they are released.
void ConcludeMissing(Batch *batch, const Sender *sender);

/// 6. Still used by a row of a watched table, under any spelling? Then kept. Asked last, right before the delete, so that
/// the proof is as fresh as it can be. When it cannot be asked (a lock, a broken table), the file is tried again later:
/// without the proof nothing is deleted. Needs an open SqlSession.
///
/// In the same breath those that were deleted since it was last asked: between the proof and the moment ImageKit has deleted
/// the file lies one request, and a row may come to use it in that time. That cannot be prevented without holding up who
/// writes, but it is said, in the log and in the history.
void KeepReferenced(Batch *batch);

/// How the words of a file begin that waits for another transaction. The view status and an index of the backlog know it too.
constexpr char kWaits[] = "waits: a row of ";

/// 6 and 7, the delete, in turn, in slices: waits until the account's pace lets deletes through, proves that what is open is
/// unused, and sends at once what may be sent at once, so that no proof is older than the moment it takes to send. Files of
/// an account that would have to wait longer than `longest_wait_ms`, and those left after `longest_ms`, are released.
/// `prove` must leave the memory context as it was. It is called once more after the last slice.
using Prove = void (*)(void *argument, Batch *batch);
void DeleteProven(Batch *batch, Sender *sender, int longest_wait_ms, int longest_ms, Prove prove, void *argument);

/// Doubles get the fate of the file they stand for.
void DecideDoubles(Batch *batch);

/// The effect of an answer that is neither success nor absence, on file and account; the words go to the log.
void DecideFailure(Batch *batch, Sender *sender, QueuedFile *file, const Answer &answer);

/// The log lines.
void LogDeleted(const QueuedFile &file);
void LogAlreadyGone(const QueuedFile &file);
void LogElsewhere(const QueuedFile &file);
void LogUsedMeanwhile(const QueuedFile &file);
void LogError(const QueuedFile &file, const char *detail);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_STEPS_H
