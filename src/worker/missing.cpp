// Steps 4 and 5, after the look-ups: may "not there" be believed?
//
// An account whose files are unusually often not there is stopped before they are settled as not found
// (core/missing_run.h has the rule). Nothing is lost: they go back into the queue, and each further try asks for one. When
// that one is there, or somebody says allow_missing, sending goes on.
//
// What we have deleted ourselves does not count: files whose delete was sent and never answered, those that were deleted for
// another row a moment ago, and those that the history knows. By hand nothing counts: somebody looks at the outcome.

#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Of this account, and answered but not judged yet.
bool Counts(const QueuedFile &file, const SenderAccount *entry) {
  return IsAt(file, Stage::kAnswered) && file.account == entry->account && file.looked_up && !file.in_doubt &&
         !file.deleted_before;
}

// The run with these look-ups, in their order, up to the one that makes it suspicious.
MissingRun RunWith(const Batch *batch, const SenderAccount *entry) {
  MissingRun run(entry->missing_lookups);
  for (int i = 0; i < batch->count; i++) {
    if (!Counts(batch->files[i], entry)) continue;
    run.Add(batch->files[i].file_id == nullptr);
    if (run.Suspicious()) break;
  }
  return run;
}

bool HasMissing(const Batch *batch, const SenderAccount *entry) {
  for (int i = 0; i < batch->count; i++)
    if (Counts(batch->files[i], entry) && batch->files[i].file_id == nullptr) return true;
  return false;
}

// Rows of one claim may name a file in different ways, by its path and by its fileId, and are looked up each by itself: gone by
// the delete of another, which the history does not know yet.
void MarkDeletedInHand(Batch *batch, const SenderAccount *entry) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!Counts(*file, entry) || file->file_id != nullptr) continue;
    for (int k = 0; k < batch->count && !file->deleted_before; k++) {
      const QueuedFile &other = batch->files[k];
      if (k == i || other.stage == Stage::kFree || other.account != entry->account || other.path == nullptr) continue;
      const bool by_us = other.fate == Fate::kDeleted || IsAt(other, Stage::kSent) || other.in_doubt;
      file->deleted_before = by_us && strcmp(other.path, file->path) == 0;
    }
  }
}

}  // namespace

void SetRuns(SenderAccount *entry, MissingRun lookups, MissingRun deletes) {
  if (entry->missing_lookups == lookups.Stored() && entry->missing_deletes == deletes.Stored()) return;
  entry->missing_lookups = lookups.Stored();
  entry->missing_deletes = deletes.Stored();
  entry->missing_changed = true;
}

void StopForMissing(Sender *sender, SenderAccount *entry) {
  StopAccount(
      sender, entry,
      psprintf("unusually many files are not found, %d in a row or %d of the last %d: do url_endpoint and url_aliases "
               "match the library, is it the right one? Compare a URL in imagekit.pending with the path in ImageKit's "
               "dashboard. If the files are really gone, ALTER SERVER %s OPTIONS (ADD allow_missing 'true') goes on",
               kMissingInARow, kMissingMost, kMissingOfLast, quote_identifier(entry->account->name)));
}

void DoubtMissing(Batch *batch, Sender *sender, AskHistory ask, void *argument) {
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->account->allow_missing) {
      SetRuns(entry, MissingRun(), MissingRun());
      continue;
    }
    if (entry->pause_cause != nullptr || entry->library == Library::kUnknown) continue;
    MarkDeletedInHand(batch, entry);
    if (HasMissing(batch, entry) && RunWith(batch, entry).Suspicious()) ask(argument, batch, entry);
    const MissingRun run = RunWith(batch, entry);
    SetRuns(entry, run, MissingRun(entry->missing_deletes));
    // A run that was suspicious before says nothing about a round without anything missing.
    if (run.Suspicious() && HasMissing(batch, entry)) StopForMissing(sender, entry);
  }
}

bool ConcludeLookUps(Batch *batch, const Sender *sender) {
  bool any = false;
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!IsAt(*file, Stage::kAnswered)) continue;
    const SenderAccount *entry = FindAccount(sender, file->account->server);
    if (entry->pause_cause != nullptr) {
      any = true;
      file->detail = nullptr;
      Decide(batch, file, Fate::kReleased, entry->pause_cause);
      continue;
    }
    if (entry->library == Library::kUnknown) continue;  // until the probe is answered
    any = true;
    if (file->refused != nullptr) {
      LogError(*file, file->refused);
      Decide(batch, file, Fate::kParked, file->refused);
      continue;
    }
    if (file->file_id != nullptr) {
      file->stage = Stage::kFound;
      file->found_at = NowTicks();
      file->looked_up_at = GetCurrentTimestamp();
      continue;
    }
    if (file->detail != nullptr)
      LogElsewhere(*file);
    else
      LogAlreadyGone(*file);
    file->fate = Fate::kNotFound;
    if (!file->in_doubt) continue;
    file->detail = MemoryContextStrdup(MemoryOf(batch, file), kGoneByUs);
    file->unwitnessed = true;
  }
  return any;
}

}  // namespace imagekit::worker
