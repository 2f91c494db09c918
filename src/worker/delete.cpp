// Step 7: the delete itself, in slices as the account's pace allows, and what any failed answer means.

#include <climits>

#include "pg/bridge.h"
#include "pg/settings.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

struct Deletion {
  Batch *batch;
  Sender *sender;
};

// A library that finds files and then has none of them is not believed either; see missing.cpp.
void CountDelete(Deletion *deletion, QueuedFile *file, bool gone) {
  SenderAccount *entry = FindAccount(deletion->sender, file->account->server);
  if (file->id == 0 || file->in_doubt || entry->account->allow_missing) return;
  MissingRun run(entry->missing_deletes);
  run.Add(gone);
  SetRuns(entry, MissingRun(entry->missing_lookups), run);
  if (!gone || !run.Suspicious()) return;
  StopForMissing(deletion->sender, entry);
  Decide(deletion->batch, file, Fate::kReleased, entry->pause_cause);
}

void Take(void *argument, const Answer &answer) {
  auto *deletion = static_cast<Deletion *>(argument);
  QueuedFile *file = &deletion->batch->files[answer.ticket];
  if (answer.verdict == Verdict::kDeleted) {
    Decide(deletion->batch, file, Fate::kDeleted, nullptr);
    file->unwitnessed = file->fate == Fate::kDeleted;
    LogDeleted(*file);
    CountDelete(deletion, file, false);
  } else if (answer.verdict == Verdict::kGone) {
    CountDelete(deletion, file, true);
    Decide(deletion->batch, file, Fate::kNotFound, "gone between look-up and delete");
    // By us, perhaps: a request on a connection that breaks is sent twice.
    file->unwitnessed = file->fate == Fate::kNotFound;
    if (file->fate == Fate::kNotFound) LogAlreadyGone(*file);
  } else {
    // Done or not: the next try must not wonder that the file is not there.
    if (answer.verdict != Verdict::kThrottled) file->in_doubt = true;
    DecideFailure(deletion->batch, deletion->sender, file, answer);
  }
}

// True when there is an open file whose delete would be sent at once. Sleeps until then; false when none is left.
bool WaitForPace(Batch *batch, Sender *sender, int longest_wait_ms) {
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    int shortest = INT_MAX;
    for (int i = 0; i < batch->count; i++) {
      QueuedFile *file = &batch->files[i];
      if (!Open(*file)) continue;
      SenderAccount *entry = FindAccount(sender, file->account->server);
      if (entry->limited && entry->deletes_left <= 0) {
        Decide(batch, file, Fate::kReleased, "waits: max_deletes_per_hour of the account is reached");
        continue;
      }
      int wait = pg::CallCxx([&] { return sender->client->DeleteWaitMs(entry->number); });
      if (wait > longest_wait_ms) {
        Decide(batch, file, Fate::kReleased, "waits for its turn: the account's write_rate, or ImageKit's, is spent");
        file->release_wait_ms = wait;
      } else {
        shortest = Min(shortest, wait);
      }
    }
    if (shortest == INT_MAX) return false;
    if (shortest == 0) return true;
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, shortest,
                    pg::WaitEventFor("ImageKitPace"));
    ResetLatch(MyLatch);
  }
}

// Sends, of each account, as many deletes as go out at once, and waits for the answers.
void SendSlice(Batch *batch, Sender *sender) {
  Deletion deletion = {batch, sender};
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->number < 0) continue;
    entry->slice = pg::CallCxx([&] { return sender->client->DeletesReady(entry->number); });
    if (entry->limited) entry->slice = static_cast<int>(Min(int64{entry->slice}, entry->deletes_left));
  }
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!Open(*file)) continue;
    SenderAccount *entry = FindAccount(sender, file->account->server);
    if (file->account->dry_run) {
      Decide(batch, file, Fate::kSkipped, "dry run: it would have been deleted");
    } else if (entry->pause_cause != nullptr) {
      Decide(batch, file, Fate::kReleased, entry->pause_cause);
    } else if (entry->slice > 0) {
      entry->slice--;
      entry->deletes_left--;
      pg::CallCxx([&] { sender->client->Delete(static_cast<uint64_t>(i), entry->number, file->file_id); });
    }
  }
  WaitForAnswers(sender->client, Take, &deletion);
}

// Rows that named the file in different ways, one by its fileId and one without: it is deleted once.
void MarkSameFiles(Batch *batch) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!Open(*file) || file->file_id == nullptr) continue;
    for (int j = 0; j < i && file->same_as < 0; j++) {
      const QueuedFile &other = batch->files[j];
      if (Open(other) && other.account == file->account && other.file_id != nullptr &&
          strcmp(other.file_id, file->file_id) == 0)
        file->same_as = j;
    }
  }
}

bool AnyUnwitnessed(const Batch &batch) {
  for (int i = 0; i < batch.count; i++)
    if (batch.files[i].unwitnessed) return true;
  return false;
}

// One line of the log, whatever bytes the row held.
char *Printable(const char *url) {
  char *copy = pstrdup(url);
  int most = pg_mbcliplen(copy, static_cast<int>(strlen(copy)), 1000);
  copy[most] = '\0';
  for (char *c = copy; *c != '\0'; c++)
    if (static_cast<unsigned char>(*c) < ' ' || *c == 0x7F) *c = '?';
  return copy;
}

}  // namespace

void DeleteProven(Batch *batch, Sender *sender, int longest_wait_ms, int longest_ms, Prove prove, void *argument) {
  MarkSameFiles(batch);
  TimestampTz stop_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), longest_ms);
  while (WaitForPace(batch, sender, longest_wait_ms)) {
    prove(argument, batch);
    SendSlice(batch, sender);
    if (GetCurrentTimestamp() < stop_at) continue;
    // What was found is getting old: whatever is left is looked up anew.
    for (int i = 0; i < batch->count; i++)
      if (Open(batch->files[i])) Decide(batch, &batch->files[i], Fate::kReleased, nullptr);
  }
  if (AnyUnwitnessed(*batch)) prove(argument, batch);
}

// The cause is compared with the one before, to say it once: without the request's id, which is another each time. The
// file's last_error has it.
void StopAccount(Sender *sender, SenderAccount *entry, const char *cause) {
  if (entry->pause_cause != nullptr) return;
  entry->pause_cause = MemoryContextStrdup(sender->context, cause);
  char *request_id = strstr(entry->pause_cause, " (request ");
  if (request_id != nullptr) *request_id = '\0';
  ForgetLibrary(entry);
}

void DecideFailure(Batch *batch, Sender *sender, QueuedFile *file, const Answer &answer) {
  SenderAccount *entry = FindAccount(sender, file->account->server);
  const char *detail = answer.detail.c_str();
  switch (answer.verdict) {
    case Verdict::kThrottled:
      Decide(batch, file, Fate::kReleased, detail);
      file->release_wait_ms = answer.retry_after_ms;
      break;
    case Verdict::kCredentials:
    case Verdict::kBroken:
      StopAccount(sender, entry, detail);
      Decide(batch, file, Fate::kReleased, detail);
      break;
    case Verdict::kTransient:
      // Said the first time; an outage would otherwise fill the log. last_error has the rest.
      if (file->fate == Fate::kOpen && file->attempts <= 1) LogError(*file, detail);
      Decide(batch, file, Fate::kRetry, detail);
      break;
    default:
      if (file->fate == Fate::kOpen) LogError(*file, detail);
      Decide(batch, file, Fate::kParked, detail);
      break;
  }
}

void LogDeleted(const QueuedFile &file) {
  if (settings::log_deletions)
    ereport(LOG, (errmsg("Successfully deleted ImageKit file: %s fileId: %s", Printable(file.name), file.file_id)));
}

void LogAlreadyGone(const QueuedFile &file) {
  if (settings::log_deletions)
    ereport(LOG, (errmsg("File already deleted or not found on ImageKit: %s", Printable(file.url))));
}

void LogElsewhere(const QueuedFile &file) {
  ereport(WARNING, (errmsg("Could not find file to delete on ImageKit: %s", Printable(file.url))));
}

void LogUsedMeanwhile(const QueuedFile &file) {
  ereport(WARNING, (errmsg("ImageKit file was deleted while a row came to use it: %s", Printable(file.url)),
                    errdetail("%s.", file.detail),
                    errhint("Upload the image again to \"%s\", or change the row.", file.path)));
}

void LogError(const QueuedFile &file, const char *detail) {
  ereport(WARNING, (errmsg("Error deleting ImageKit file: %s %s", Printable(file.url), detail)));
}

}  // namespace imagekit::worker
