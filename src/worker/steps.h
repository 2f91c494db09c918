// The steps of a round, in the order in which they run. Each decides the fate of some files and leaves the rest open.

#ifndef IMAGEKIT_WORKER_STEPS_H
#define IMAGEKIT_WORKER_STEPS_H

#include "worker/batch.h"
#include "worker/sender.h"

namespace imagekit::worker {

/// 0. Rows that moved to another partition: up to `tuples` journal tuples of them become removals, or nothing. Undecided:
/// a table could not be asked, and they stay. Needs an open SqlSession.
enum class MovesReview { kNone, kDone, kUndecided };
MovesReview ReviewMoves(const Sender *sender, int tuples);

/// Reads the URLs: `readings` and `same_as`. The first half of Resolve().
void ReadBatch(Batch *batch);

/// 1. URL → account and library path. What is foreign or refused is parked, what is no library file or protected is
/// skipped, doubles are marked. Needs a transaction.
void Resolve(Batch *batch, const Sender *sender);

/// 2. Library path → fileId, by exact look-up; and the checks on what was found: newer upload, another file, a second
/// reading of the URL? Then not deleted.
void LookUpFiles(Batch *batch, Sender *sender);

/// 3. Still used by a row of a watched table, under any spelling? Then kept. Asked last, right before the delete, so that
/// the proof is as fresh as it can be. When it cannot be asked (a lock, a broken table), the file is tried again later:
/// without the proof nothing is deleted. Needs an open SqlSession.
void KeepReferenced(Batch *batch);

/// 3 and 4 in turn, in slices: waits until the account's pace lets deletes through, proves that what is open is unused,
/// and sends at once what may be sent at once, so that no proof is older than the moment it takes to send. Files of an
/// account that would have to wait longer than `longest_wait_ms`, and those left after `longest_ms`, are released.
/// `prove` must leave the memory context as it was.
using Prove = void (*)(void *argument, Batch *batch);
void DeleteProven(Batch *batch, Sender *sender, int longest_wait_ms, int longest_ms, Prove prove, void *argument);

/// Doubles get the fate of the file they stand for.
void DecideDoubles(Batch *batch);

/// The effect of an answer that is neither success nor absence, on file and account; the words go to the log.
void DecideFailure(Batch *batch, Sender *sender, QueuedFile *file, const Answer &answer);

/// The four log lines.
void LogDeleted(const QueuedFile &file);
void LogAlreadyGone(const QueuedFile &file);
void LogElsewhere(const QueuedFile &file);
void LogError(const QueuedFile &file, const char *detail);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_STEPS_H
