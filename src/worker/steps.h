// The steps, in the order in which a file meets them. Each decides the fate of some files and moves the others on.

#ifndef IMAGEKIT_WORKER_STEPS_H
#define IMAGEKIT_WORKER_STEPS_H

#include "core/missing_run.h"
#include "worker/batch.h"
#include "worker/drain.h"
#include "worker/purge.h"
#include "worker/sender.h"

namespace imagekit::worker {

/// Searches and deletes that are not full wait so long for others, where there are more to come.
constexpr int64 kLongestFill = 1000;  // ms

/// What was found longer ago is looked up anew.
constexpr int64 kLongestFound = 15000;  // ms

/// How the files of a batch are led on.
using AskHistory = void (*)(void *argument, Batch *batch, const SenderAccount *entry);
struct Flow {
  Batch *batch;
  Sender *sender;
  /// Asks about what is at kProving, and looks what operators say at that moment. Whoever says stop afterwards waits until
  /// sent() is called, when what was proven is on the wire. Both must leave the memory context as it was.
  void (*prove)(void *argument, Batch *batch);
  void (*sent)(void *argument);
  /// See DoubtMissing(). NULL: by hand, where nothing is doubted, as somebody looks at the outcome.
  AskHistory ask_history;
  void *argument;
  int64 longest_wait_ms;   // files of an account that would have to wait longer for its pace are released
  int64 longest_found_ms;  // what was found longer ago is looked up anew; 0: never
  bool more_to_come;       // files may be claimed at any moment
  bool letting_go;         // what is not on the wire is released
  Purging *purging;        // gets the answers to purges; NULL: none are sent
};

/// Takes the answers that have come, and moves every file as far as it can go without waiting. True when anything has moved.
/// `answer` is the caller's, for the memory it holds. In the batch's memory context.
bool MoveOn(Flow *flow, Answer *answer);

/// How long nothing will move by itself, in ms; at most `longest_ms`. Answers and the client's own timers are not counted.
int64 MoveOnAfter(const Flow &flow, int64 longest_ms);

/// 0. Rows that moved to another partition: up to `tuples` journal tuples of them, from `place` on, become removals, or
/// nothing. Undecided: a table could not be asked, or an open transaction uses a file, and they stay. Needs an open SqlSession.
enum class MovesReview { kNone, kDone, kUndecided };
MovesReview ReviewMoves(Sender *sender, int tuples, MovesPlace *place);

/// Reads the URLs of what is new: `readings`, `same_as` and `behind`. The first half of Resolve().
void ReadBatch(Batch *batch);

/// 1. URL → account and library path, of what is new. What is foreign or refused is parked, what is no library file or
/// protected is skipped, doubles are marked. Needs a transaction.
void Resolve(Batch *batch, const Sender *sender);

/// 2. Library path → fileId. Asks for what is claimed; the answers come to TakeLookUp(), which also makes the checks on what
/// was found: newer upload, another file, a second reading of the URL? Then not deleted.
bool AskForFiles(Batch *batch, Sender *sender);
/// What would have to wait too long for its account's pace comes back unasked, and so does all that waits of an account that
/// is stopped, or when everything is let go.
void GiveBackLookUps(const Flow &flow);
void TakeLookUp(Batch *batch, Sender *sender, const Answer &answer, int64 longest_wait_ms);

/// 3. Is the library the account's? The first file found says it. Where none was, any file is asked for, before it is
/// believed that those asked for are not there. Where it is not ours, the account stops, and its files stay as they were.
bool CheckLibraries(Batch *batch, Sender *sender);
void TakeProbe(Batch *batch, Sender *sender, Answer *answer);

/// The same by a file that was found. False: the account is stopped.
bool VerifyLibrary(Sender *sender, SenderAccount *entry, const FoundFile &file);

/// 4. Is so much not there that it cannot be believed? Then the account stops. `ask` marks those files of the batch that we
/// have deleted ourselves, and is called only before a stop. Not by hand.
void DoubtMissing(Batch *batch, Sender *sender, AskHistory ask, void *argument);
/// Keeps the runs of an account; they are written when files are settled.
void SetRuns(SenderAccount *entry, MissingRun lookups, MissingRun deletes);
/// Stops an account for what is not there.
void StopForMissing(Sender *sender, SenderAccount *entry);

/// 5. What was answered goes on: files that are there wait for the pace, those that are not are settled as not found; of an
/// account that is stopped, they are released. True when there were any.
bool ConcludeLookUps(Batch *batch, const Sender *sender);

/// 6. Still used by a row of a watched table, under any spelling? Then kept. Asked last, right before the delete, so that
/// the proof is as fresh as it can be. When it cannot be asked (a lock, a broken table), the file waits, and no attempt is
/// counted, as ImageKit has no part in it: without the proof nothing is deleted. For files at kProving. Needs an open SqlSession.
///
/// In the same breath those that were deleted since it was last asked: between the proof and the moment ImageKit has deleted
/// the file lies one request, and a row may come to use it in that time. That cannot be prevented without holding up who
/// writes, but it is said, in the log and in the history.
void KeepReferenced(Batch *batch);

/// Gives up on what is at kProving when an operator has changed the accounts since: protect, dry_run, prefixes.
void ReleaseWhenChanged(Batch *batch, Sender *sender);

/// How the words of a file begin that waits for another transaction. The view status and an index of the backlog know it too.
constexpr char kWaits[] = "waits: a row of ";
/// And of one that waits for a watched table that cannot be searched; the same know it.
constexpr char kCannotTell[] = "cannot tell whether table ";

/// The words of a file that is not there and was in doubt. max_deletes_per_hour counts it by them.
constexpr char kGoneByUs[] = "gone by an earlier delete, most likely: its answer did not come";

/// 6 and 7, the proof and the delete. Of each account, as many requests as its pace and the wire let through at this moment
/// are taken, what they can carry is proven, and sent at once, so that no proof is older than the moment it takes to send.
/// A delete that is not full waits for more while there may be more to come. True when anything was sent or decided.
bool SendDeletes(Flow *flow);
void TakeDelete(Batch *batch, Sender *sender, const Answer &answer, int64 longest_wait_ms);

/// Doubles get the fate of the file they stand for; who waited behind a file that is decided goes on.
void DecideDoubles(Batch *batch);
void FollowOthers(Batch *batch);

/// Whether a file's words begin so. False for NULL.
inline bool Begins(const char *words, const char *with) {
  return words != nullptr && strncmp(words, with, strlen(with)) == 0;
}

/// The effect of an answer that is neither success nor absence, on file and account; the words go to the log.
void DecideFailure(Batch *batch, Sender *sender, QueuedFile *file, const Answer &answer);
/// An answer that came: the account is well.
void NoteAnswer(SenderAccount *entry, Operation operation);

/// The log lines.
void LogDeleted(const QueuedFile &file);
void LogAlreadyGone(const QueuedFile &file);
void LogElsewhere(const QueuedFile &file);
void LogUsedMeanwhile(const QueuedFile &file);
/// As often as MayComplain() lets it: what fails for good must not fill the log. imagekit.pending has them all.
void LogError(const QueuedFile &file, const char *detail);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_STEPS_H
