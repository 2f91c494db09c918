// Step 1: what each URL means, and what by configuration alone must not be deleted.

#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "pg/bridge.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Fills readings and same_as. C++ throughout: nothing here may raise an error of the server's.
void ReadUrls(Batch *batch, const EndpointMap &endpoints) {
  // By account, path, and the fileId that the row named: a row with another is judged by itself.
  std::map<std::tuple<int, std::string, std::string>, int> first_with;
  batch->readings->reserve(static_cast<size_t>(batch->count));
  for (int i = 0; i < batch->count; i++) {
    UrlReading reading = endpoints.Read(batch->files[i].url);
    if (reading.kind == UrlClass::kLibraryFile) {
      const char *id = batch->files[i].captured_file_id;
      auto [known, inserted] =
          first_with.emplace(std::make_tuple(reading.account, reading.path.FilePath(), std::string(id == nullptr ? "" : id)), i);
      if (!inserted) {
        // The one captured last stands for all: what was uploaded before that is not newer than every use.
        int other = known->second;
        bool later = batch->files[i].captured_at > batch->files[other].captured_at;
        batch->files[later ? other : i].same_as = later ? i : other;
        if (later) known->second = i;
      }
    }
    batch->readings->push_back(std::move(reading));
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
  if (reading.kind == UrlClass::kRefused) {
    Decide(batch, file, Fate::kParked, psprintf("the URL cannot be read with certainty: %s", reading.reason.c_str()));
  } else if (reading.kind == UrlClass::kSkipped) {
    Decide(batch, file, Fate::kSkipped, psprintf("no file of the media library: %s", reading.reason.c_str()));
  } else {
    file->path = FilePath(reading.path);
    const char *pattern = account::ProtectedBy(*entry->account, file->path);
    if (pattern != nullptr)
      Decide(batch, file, Fate::kSkipped, psprintf("protected by \"%s\"", pattern));
    else if (entry->problem != nullptr)
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
  file->detail = detail == nullptr ? nullptr : MemoryContextStrdup(batch->context, detail);
}

void ReadBatch(Batch *batch) {
  const EndpointMap *endpoints = account::Endpoints();
  for (int i = 0; i < batch->count; i++) batch->files[i].same_as = -1;
  batch->readings = pg::Own<std::vector<UrlReading>>(batch->context);
  pg::CallCxx([&] { ReadUrls(batch, *endpoints); });
}

void Resolve(Batch *batch, const Sender *sender) {
  ReadBatch(batch);
  MemoryContext before = MemoryContextSwitchTo(batch->context);
  for (int i = 0; i < batch->count; i++) {
    const UrlReading &reading = (*batch->readings)[static_cast<size_t>(i)];
    ResolveFile(batch, &batch->files[i], reading, sender);
  }
  MemoryContextSwitchTo(before);
}

void DecideDoubles(Batch *batch) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (file->same_as < 0 || file->fate != Fate::kOpen) continue;
    int index = file->same_as;
    while (batch->files[index].same_as >= 0) index = batch->files[index].same_as;
    const QueuedFile &first = batch->files[index];
    file->fate = first.fate;
    file->detail = first.detail;
    file->file_id = first.file_id;
    file->release_wait_ms = first.release_wait_ms;
  }
}

}  // namespace imagekit::worker
