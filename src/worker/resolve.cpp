// Step 1: what each URL means, and what by configuration alone must not be deleted.

#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "pg/bridge.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

using PathOf = std::pair<int, std::string>;                   // account and path
using NamedPath = std::tuple<int, std::string, std::string>;  // and the fileId that the row named

// Of files that were read before and are not settled: who comes later waits for them.
std::map<PathOf, int> PathsInHand(const Batch &batch) {
  std::map<PathOf, int> in_hand;
  for (int i = 0; i < batch.count; i++) {
    const QueuedFile &file = batch.files[i];
    const UrlReading &reading = (*batch.readings)[static_cast<size_t>(i)];
    if (file.stage == Stage::kNew || file.stage == Stage::kFree || file.same_as >= 0) continue;
    if (reading.kind == UrlClass::kLibraryFile) in_hand[{reading.account, reading.path.FilePath()}] = i;
  }
  return in_hand;
}

// Fills readings, same_as and behind of what is new. C++ throughout: nothing here may raise an error of the server's.
void ReadUrls(Batch *batch, const EndpointMap &endpoints) {
  if (batch->readings->size() < static_cast<size_t>(batch->count))
    batch->readings->resize(static_cast<size_t>(batch->count));
  const std::map<PathOf, int> in_hand = PathsInHand(*batch);
  // A row with another fileId is judged by itself.
  std::map<NamedPath, int> first_with;
  for (int i = 0; i < batch->count; i++) {
    QueuedFile &file = batch->files[i];
    if (file.stage != Stage::kNew) continue;
    UrlReading &reading = (*batch->readings)[static_cast<size_t>(i)];
    reading = endpoints.Read(file.url);
    file.same_as = file.behind = -1;
    if (reading.kind != UrlClass::kLibraryFile) continue;
    std::string path = reading.path.FilePath();
    const auto before = in_hand.find({reading.account, path});
    if (before != in_hand.end()) file.behind = before->second;
    const char *id = file.captured_file_id;
    auto [known, inserted] = first_with.emplace(NamedPath(reading.account, path, id == nullptr ? "" : id), i);
    if (inserted) continue;
    // The one captured last stands for all: what was uploaded before that is not newer than every use.
    int other = known->second;
    bool later = file.captured_at > batch->files[other].captured_at;
    batch->files[later ? other : i].same_as = later ? i : other;
    if (later) known->second = i;
  }
}

char *FilePath(const LibraryPath &path) {
  return psprintf("%s%s%s", path.folder.c_str(), path.folder == "/" ? "" : "/", path.name.c_str());
}

void ResolveFile(Batch *batch, QueuedFile *file, const UrlReading &reading, const Sender *sender) {
  const SenderAccount *entry =
      reading.kind == UrlClass::kForeign ? nullptr : FindAccount(sender, account::AccountServer(reading.account));
  if (entry == nullptr) {
    Decide(batch, file, Fate::kParked,
           "no account is configured for this URL: it is under no url_endpoint or url_aliases");
    return;
  }
  file->account = entry->account;
  // Claimed as nobody's, and yet somebody's, since options were changed: it goes back to wait for what its account waits for, a
  // pause or a limit.
  const bool strayed = file->claim != nullptr && file->server != entry->account->server;
  file->server = entry->account->server;
  if (reading.kind == UrlClass::kRefused) {
    Decide(batch, file, Fate::kParked, psprintf("the URL cannot be read with certainty: %s", reading.reason.c_str()));
  } else if (reading.kind == UrlClass::kSkipped) {
    Decide(batch, file, Fate::kSkipped, psprintf("no file of the media library: %s", reading.reason.c_str()));
  } else {
    file->path = FilePath(reading.path);
    const char *pattern = account::ProtectedBy(*entry->account, file->path);
    if (pattern != nullptr)
      Decide(batch, file, Fate::kSkipped, psprintf("protected by \"%s\"", pattern));
    else if (strayed || entry->problem != nullptr)
      Decide(batch, file, Fate::kReleased, entry->problem);
  }
}

}  // namespace

const char *OutcomeOf(Fate fate) {
  switch (fate) {
    case Fate::kDeleted:
      return "deleted";
    case Fate::kNotFound:
      return "not_found";
    case Fate::kKept:
      return "kept";
    case Fate::kSkipped:
      return "skipped";
    default:
      return nullptr;  // not settled
  }
}

void Decide(Batch *batch, QueuedFile *file, Fate fate, const char *detail) {
  if (file->fate != Fate::kOpen) return;
  file->fate = fate;
  file->detail = detail == nullptr ? nullptr : MemoryContextStrdup(MemoryOf(batch, file), detail);
}

MemoryContext MemoryOf(const Batch *batch, const QueuedFile *file) {
  return file->claim != nullptr ? file->claim->context : batch->context;
}

void ReadBatch(Batch *batch) {
  const EndpointMap *endpoints = account::Endpoints();
  if (batch->readings == nullptr) batch->readings = pg::Own<std::vector<UrlReading>>(batch->context);
  pg::CallCxx([&] { ReadUrls(batch, *endpoints); });
}

void Resolve(Batch *batch, const Sender *sender) {
  ReadBatch(batch);
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (file->stage != Stage::kNew) continue;
    MemoryContext before = MemoryContextSwitchTo(MemoryOf(batch, file));
    ResolveFile(batch, file, (*batch->readings)[static_cast<size_t>(i)], sender);
    MemoryContextSwitchTo(before);
    file->stage = Stage::kClaimed;
  }
}

void FollowOthers(Batch *batch) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (file->stage == Stage::kFree || file->behind < 0 || batch->files[file->behind].fate == Fate::kOpen) continue;
    const QueuedFile &other = batch->files[file->behind];
    file->deleted_before |= other.fate == Fate::kDeleted;
    file->may_be_newer |= file->captured_at > other.looked_up_at;
    file->in_doubt |= other.in_doubt;
    file->behind = -1;
  }
}

void DecideDoubles(Batch *batch) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (file->stage == Stage::kFree || file->same_as < 0 || file->fate != Fate::kOpen) continue;
    int index = file->same_as;
    while (batch->files[index].same_as >= 0) index = batch->files[index].same_as;
    const QueuedFile &first = batch->files[index];
    file->fate = first.fate;
    file->detail = first.detail;
    file->file_id = first.file_id;
    file->release_wait_ms = first.release_wait_ms;
    file->in_doubt |= first.in_doubt;
  }
}

}  // namespace imagekit::worker
