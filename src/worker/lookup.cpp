// Step 3: finds the files, and holds back those that are not surely the ones the rows meant.

#include "pg/bridge.h"
#include "pg/settings.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

struct LookUp {
  Batch *batch;
  Sender *sender;
};

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
  const bool by_hand = file.id == 0;
  const int64 removed = UnixMs(file.captured_at) + (by_hand ? 0 : clock_offset);
  if (uploaded > removed) return "newer upload: the file was uploaded or changed after the row stopped using it";
  if (!by_hand && uploaded > removed - settings::clock_skew)
    return "newer upload: the file was uploaded or changed when the row stopped using it, within "
           "imagekit_cleanup.clock_skew";
  return nullptr;
}

void TakeFound(LookUp *look_up, QueuedFile *file, const FoundFile &found) {
  Batch *batch = look_up->batch;
  SenderAccount *entry = FindAccount(look_up->sender, file->account->server);
  file->file_id = MemoryContextStrdup(batch->context, found.file_id.c_str());
  file->name = MemoryContextStrdup(batch->context, found.name.c_str());
  if (!VerifyLibrary(look_up->sender, entry, found))
    Decide(batch, file, Fate::kReleased, entry->pause_cause);
  else if (file->captured_file_id != nullptr && file->captured_file_id[0] != '\0' &&
           found.file_id != file->captured_file_id)
    Decide(batch, file, Fate::kSkipped,
           psprintf("another file is at this path now: the row named fileId %s, the library has %s",
                    file->captured_file_id, file->file_id));
  else {
    int64 offset = pg::CallCxx([&] { return look_up->sender->client->ClockOffsetMs(entry->number); });
    const char *newer = WhyNewer(*file, found, offset);
    if (newer != nullptr) Decide(batch, file, Fate::kSkipped, newer);
  }
}

// ImageKit does not say that a search knows what was uploaded a moment ago. A row that goes soon after its upload would leave its
// file for ever: it is looked up again when it must be known. By hand, somebody sees the answer, and in doubt it is gone by us.
bool MayNotBeKnownYet(QueuedFile *file) {
  if (!file->looked_up || file->file_id != nullptr || file->id == 0 || file->in_doubt) return false;
  TimestampTz known_at = TimestampTzPlusMilliseconds(file->captured_at, settings::search_lag);
  file->release_wait_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), known_at);
  return file->release_wait_ms > 0;
}

void TakeAnswerTo(LookUp *look_up, QueuedFile *file, bool other_reading, const Answer &answer) {
  Batch *batch = look_up->batch;
  bool answered = answer.verdict == Verdict::kFound || answer.verdict == Verdict::kNotFound ||
                  answer.verdict == Verdict::kElsewhere;
  // One that is not found yet tells nothing of the account.
  file->looked_up |= answered && !other_reading;
  if (answered && !(answer.verdict != Verdict::kFound && MayNotBeKnownYet(file)))
    FindAccount(look_up->sender, file->account->server)->answered = true;
  if (answer.verdict == Verdict::kFound && other_reading) {
    file->other_reading_exists = true;
  } else if (answer.verdict == Verdict::kFound) {
    file->looked_up = true;
    TakeFound(look_up, file, answer.file);
  } else if (answer.verdict == Verdict::kNotFound || answer.verdict == Verdict::kElsewhere) {
    if (other_reading) return;
    file->looked_up = true;
    file->detail = answer.verdict == Verdict::kElsewhere
                       ? MemoryContextStrdup(batch->context, "the name exists in the library, but not at this path")
                       : nullptr;
  } else {
    DecideFailure(batch, look_up->sender, file, answer);
  }
}

void Take(void *argument, const Answer &answer) {
  auto *look_up = static_cast<LookUp *>(argument);
  QueuedFile *file = &look_up->batch->files[answer.ticket / kReadings];
  MemoryContext before = MemoryContextSwitchTo(look_up->batch->context);
  TakeAnswerTo(look_up, file, answer.ticket % kReadings != 0, answer);
  MemoryContextSwitchTo(before);
}

void Ask(LookUp *look_up, int index) {
  const UrlReading &reading = (*look_up->batch->readings)[static_cast<size_t>(index)];
  QueuedFile *file = &look_up->batch->files[index];
  if (reading.other_readings.size() >= kReadings) {
    Decide(look_up->batch, file, Fate::kParked, "the URL can be read in too many ways");
    return;
  }
  int number = FindAccount(look_up->sender, file->account->server)->number;
  ApiClient *client = look_up->sender->client;
  pg::CallCxx([&] {
    client->Find(Ticket(index, 0), number, reading.path);
    for (size_t i = 0; i < reading.other_readings.size(); i++)
      client->Find(Ticket(index, i + 1), number, reading.other_readings[i]);
  });
}

// Once all answers are in.
void Conclude(Batch *batch, QueuedFile *file) {
  if (MayNotBeKnownYet(file)) {
    file->detail = nullptr;
    Decide(batch, file, Fate::kReleased, "not found yet: looked up again, for ImageKit's search may lag behind an upload");
  } else if (file->other_reading_exists) {
    Decide(
        batch, file, Fate::kParked,
        "ambiguous: the URL can mean two library paths (an endpoint identifier and a folder of the same name), and the "
        "library has a file at the second");
    LogError(*file, file->detail);
  }
}

}  // namespace

void LookUpFiles(Batch *batch, Sender *sender) {
  CheckLibraries(batch, sender);
  LookUp look_up = {batch, sender};
  for (int i = 0; i < batch->count; i++)
    if (Open(batch->files[i])) Ask(&look_up, i);
  WaitForAnswers(sender->client, Take, &look_up);
  for (int i = 0; i < batch->count; i++)
    if (Open(batch->files[i])) Conclude(batch, &batch->files[i]);
}

}  // namespace imagekit::worker
