// Step 2: finds the files, and holds back those that are not surely the ones the rows meant.

#include "pg/bridge.h"
#include "pg/settings.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// A ticket names the file and which reading of its URL is asked for; 0 is the reading that counts.
constexpr uint64_t kReadings = 16;
uint64_t Ticket(int file, size_t reading) { return static_cast<uint64_t>(file) * kReadings + reading; }

int64 UnixMs(TimestampTz time) {
  return time / 1000 + static_cast<int64>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
}

// When a removal and an upload are this close, their clocks cannot tell which came first, and the file is kept. By hand,
// the file that is there now is the one that is meant.
const char *WhyNewer(const QueuedFile &file, const FoundFile &found, int64 clock_offset) {
  const int64 uploaded = Max(found.created_ms, found.updated_ms);
  const bool by_hand = file.by_hand;
  const int64 removed = UnixMs(file.captured_at) + (by_hand ? 0 : clock_offset);
  if (uploaded > removed) return "newer upload: the file was uploaded or changed after the row stopped using it";
  if (!by_hand && uploaded > removed - settings::clock_skew)
    return "newer upload: the file was uploaded or changed when the row stopped using it, within "
           "imagekit_cleanup.clock_skew";
  return nullptr;
}

void TakeFound(Batch *batch, Sender *sender, QueuedFile *file, const FoundFile &found) {
  SenderAccount *entry = FindAccount(sender, file->account->server);
  MemoryContext memory = MemoryOf(batch, file);
  file->file_id = MemoryContextStrdup(memory, found.file_id.c_str());
  file->name = MemoryContextStrdup(memory, found.name.c_str());
  if (!VerifyLibrary(sender, entry, found))
    Decide(batch, file, Fate::kReleased, entry->pause_cause);
  else if (file->captured_file_id != nullptr && file->captured_file_id[0] != '\0' &&
           found.file_id != file->captured_file_id)
    Decide(batch, file, Fate::kSkipped,
           psprintf("another file is at this path now: the row named fileId %s, the library has %s",
                    file->captured_file_id, file->file_id));
  else if (Max(found.created_ms, found.updated_ms) < 0)
    // Nothing would say that another was uploaded in its place.
    Decide(batch, file, Fate::kParked, "ImageKit tells no time of its upload that can be read: createdAt, updatedAt");
  else {
    int64 offset = pg::CallCxx([&] { return sender->client->ClockOffsetMs(entry->number); });
    const char *newer = WhyNewer(*file, found, offset);
    if (newer != nullptr) Decide(batch, file, Fate::kSkipped, newer);
  }
}

// ImageKit does not say that a search knows what was uploaded a moment ago. A row that goes soon after its upload would leave its
// file for ever: it is looked up again when it must be known, also in doubt whether it is gone by us: whose process ended had
// perhaps not asked for it yet. By hand, somebody sees the answer.
bool MayNotBeKnownYet(QueuedFile *file) {
  if (!file->looked_up || file->file_id != nullptr || file->by_hand) return false;
  if (file->deleted_before && !file->may_be_newer) return false;
  TimestampTz known_at = TimestampTzPlusMilliseconds(file->captured_at, settings::search_lag);
  file->release_wait_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), known_at);
  return file->release_wait_ms > 0;
}

void TakeAnswerTo(Batch *batch, Sender *sender, QueuedFile *file, bool other_reading, const Answer &answer) {
  bool answered = answer.verdict == Verdict::kFound || answer.verdict == Verdict::kNotFound ||
                  answer.verdict == Verdict::kElsewhere;
  file->looked_up |= answered && !other_reading;
  // One that is not found yet tells nothing of the account.
  if (answered && !(answer.verdict != Verdict::kFound && MayNotBeKnownYet(file)))
    NoteAnswer(FindAccount(sender, file->account->server), answer.operation);
  if (answer.verdict == Verdict::kFound && other_reading) {
    file->other_reading_exists = true;
  } else if (answer.verdict == Verdict::kFound) {
    TakeFound(batch, sender, file, answer.file);
  } else if (answer.verdict == Verdict::kRejected &&
             FindAccount(sender, file->account->server)->library != Library::kOurs) {
    // Of this file, or of all that is asked of this account? Whether anything can be had of it is not known yet.
    file->refused = MemoryContextStrdup(MemoryOf(batch, file), answer.detail.c_str());
  } else if (!answered) {
    DecideFailure(batch, sender, file, answer);
  } else if (!other_reading) {
    file->detail =
        answer.verdict == Verdict::kElsewhere
            ? MemoryContextStrdup(MemoryOf(batch, file), "the name exists in the library, but not at this path")
            : nullptr;
  }
}

// Once all answers about a file are in.
void Conclude(Batch *batch, QueuedFile *file) {
  if (file->refused == nullptr && MayNotBeKnownYet(file)) {
    file->detail = nullptr;
    Decide(batch, file, Fate::kReleased,
           "not found yet: looked up again, for ImageKit's search may lag behind an upload");
  } else if (file->refused == nullptr && file->other_reading_exists) {
    Decide(
        batch, file, Fate::kParked,
        "ambiguous: the URL can mean two library paths (an endpoint identifier and a folder of the same name), and the "
        "library has a file at the second");
    LogError(*file, file->detail);
  } else {
    file->stage = Stage::kAnswered;
  }
}

void Ask(Batch *batch, Sender *sender, int index) {
  const UrlReading &reading = (*batch->readings)[static_cast<size_t>(index)];
  QueuedFile *file = &batch->files[index];
  if (reading.other_readings.size() >= kReadings) {
    Decide(batch, file, Fate::kParked, "the URL can be read in too many ways");
    return;
  }
  int number = FindAccount(sender, file->account->server)->number;
  ApiClient *client = sender->client;
  const char *known_id = file->captured_file_id == nullptr ? "" : file->captured_file_id;
  // One that may be what a search of many failed for is asked for among ever fewer.
  const int together =
      file->attempts <= 1 ? ApiClient::kAnyNumber : Max(file->account->search_size >> Min(file->attempts - 1, 10), 1);
  // Counted before it is asked: an error in between leaves an answer that nobody waits for, not the other way round.
  file->answers_due = 1 + static_cast<int>(reading.other_readings.size());
  file->stage = Stage::kAsked;
  file->looked_up = file->other_reading_exists = false;
  file->file_id = file->refused = nullptr;
  pg::CallCxx([&] {
    client->Find(Ticket(index, 0), number, reading.path, known_id, together);
    for (size_t i = 0; i < reading.other_readings.size(); i++)
      client->Find(Ticket(index, i + 1), number, reading.other_readings[i], "", together);
  });
}

}  // namespace

bool AskForFiles(Batch *batch, Sender *sender) {
  bool any = false;
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->number < 0) continue;
    // Unless ImageKit has been silent for long: then what is to come does not come soon.
    const bool more = entry->starved && NowTicks() - entry->answered_at < kLongestFill;
    pg::CallCxx([&] { sender->client->ExpectMore(entry->number, more); });
  }
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!IsAt(*file, Stage::kClaimed) || file->behind >= 0) continue;
    any = true;
    SenderAccount *entry = FindAccount(sender, file->account->server);
    if (entry->pause_cause != nullptr)
      Decide(batch, file, Fate::kReleased, entry->pause_cause);
    else
      Ask(batch, sender, i);
  }
  return any;
}

void GiveBackLookUps(const Flow &flow) {
  ListCell *cell;
  foreach (cell, flow.sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->number < 0) continue;
    const int64 longest = flow.letting_go || entry->pause_cause != nullptr ? -1 : flow.longest_wait_ms;
    pg::CallCxx([&] { flow.sender->client->GiveBackLookUps(entry->number, longest); });
  }
}

void TakeLookUp(Batch *batch, Sender *sender, const Answer &answer, int64 longest_wait_ms) {
  QueuedFile *file = &batch->files[answer.ticket / kReadings];
  MemoryContext before = MemoryContextSwitchTo(MemoryOf(batch, file));
  file->answers_due--;
  // Not worth giving it back for: it waits in the account's lane.
  if (answer.verdict == Verdict::kThrottled && answer.retry_after_ms <= longest_wait_ms &&
      ++file->undecided < kMostUndecided)
    file->asked_again = true;
  else
    TakeAnswerTo(batch, sender, file, answer.ticket % kReadings != 0, answer);
  if (file->answers_due == 0 && Open(*file)) {
    if (file->asked_again)
      file->stage = Stage::kClaimed;
    else
      Conclude(batch, file);
    file->asked_again = false;
  }
  MemoryContextSwitchTo(before);
}

}  // namespace imagekit::worker
