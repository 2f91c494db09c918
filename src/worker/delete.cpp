// Steps 6 and 7: the proof and the delete, as the account's pace allows, and what any failed answer means.

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "pg/bridge.h"
#include "pg/settings.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// A library that finds files and then has none of them is not believed either; see missing.cpp.
void CountDelete(Batch *batch, Sender *sender, QueuedFile *file, bool gone) {
  SenderAccount *entry = FindAccount(sender, file->account->server);
  if (file->by_hand || file->in_doubt || entry->account->allow_missing) return;
  MissingRun run(entry->missing_deletes);
  run.Add(gone);
  SetRuns(entry, MissingRun(entry->missing_lookups), run);
  if (!gone || !run.Suspicious()) return;
  StopForMissing(sender, entry);
  Decide(batch, file, Fate::kReleased, entry->pause_cause);
}

bool IsReady(const QueuedFile &file, const SenderAccount *entry) {
  return IsAt(file, Stage::kFound) && file.account == entry->account;
}

// How many files the delete of this one may have. One that may be what a delete of many failed for is tried among ever fewer,
// so that in the end it fails alone.
int MostTogether(const QueuedFile &file, int bulk_size) {
  if (file.alone) return 1;
  return file.in_doubt ? Max(bulk_size >> Min(file.attempts - 1, 10), 1) : bulk_size;
}

// The files of each delete to come, as indexes.
using Groups = std::vector<std::vector<int>>;

// Those that go with many first. C++ throughout.
void Group(const Batch &batch, const std::vector<int> &files, int bulk_size, Groups *groups) {
  std::vector<int> sorted = files;
  std::stable_sort(sorted.begin(), sorted.end(), [&](int a, int b) {
    return MostTogether(batch.files[a], bulk_size) > MostTogether(batch.files[b], bulk_size);
  });
  groups->clear();
  for (int index : sorted) {
    const auto most = static_cast<size_t>(MostTogether(batch.files[index], bulk_size));
    if (groups->empty() || groups->back().size() >= most) groups->emplace_back();
    groups->back().push_back(index);
  }
}

// Rows that named the file in different ways, one by its fileId and one without: it is deleted once. Of another claim's, it is
// looked up again once the first is done.
void MarkSameFiles(Batch *batch, std::vector<int> *files) {
  std::unordered_map<std::string, int> seen;
  std::vector<int> once;
  for (int index : *files) {
    QueuedFile &file = batch->files[index];
    auto [known, inserted] = seen.emplace(file.file_id, index);
    if (inserted) {
      once.push_back(index);
    } else if (batch->files[known->second].claim == file.claim) {
      file.same_as = known->second;
    } else {
      file.behind = known->second;
      file.stage = Stage::kClaimed;
    }
  }
  files->swap(once);
}

// One account's turn.
struct Turn {
  std::vector<int> ready;
  Groups groups;
  int reserved;
};

// More of the account may come to kFound by itself.
bool MoreToCome(const Flow &flow, const SenderAccount *entry) {
  if (flow.more_to_come && entry->starved) return true;
  for (int i = 0; i < flow.batch->count; i++) {
    const QueuedFile &file = flow.batch->files[i];
    if (!Open(file) || file.account != entry->account || file.behind >= 0) continue;
    if (file.stage == Stage::kClaimed || file.stage == Stage::kAsked || file.stage == Stage::kAnswered) return true;
  }
  return false;
}

// How many the account's hourly limit leaves to a file.
int64 LeftFor(const QueuedFile &file, const SenderAccount *entry) {
  return file.in_doubt ? entry->deletes_left : entry->deletes_left - entry->deletes_in_doubt;
}

constexpr int64 kLimitInDoubt = 5000;  // ms

// What cannot be sent now, whatever the pace, is decided. True when anything was.
bool DecideUnready(Flow *flow, SenderAccount *entry) {
  bool any = false;
  const Ticks now = NowTicks();
  const int64 wait = pg::CallCxx([&] { return flow->sender->client->DeleteWaitMs(entry->number); });
  for (int i = 0; i < flow->batch->count; i++) {
    QueuedFile *file = &flow->batch->files[i];
    if (!IsReady(*file, entry)) continue;
    if (entry->pause_cause != nullptr) {
      Decide(flow->batch, file, Fate::kReleased, entry->pause_cause);
    } else if (entry->limited && LeftFor(*file, entry) <= 0) {
      Decide(flow->batch, file, Fate::kReleased, "waits: max_deletes_per_hour of the account is reached");
      // Reached, perhaps: until it is known which of the deletes without an answer were done.
      if (entry->deletes_in_doubt > 0) file->release_wait_ms = kLimitInDoubt;
    } else if (wait > flow->longest_wait_ms && !entry->account->dry_run) {
      Decide(flow->batch, file, Fate::kReleased,
             "waits for its turn: the account's write_rate, or ImageKit's, is spent");
      file->release_wait_ms = wait;
    } else if (flow->longest_found_ms > 0 && now - file->found_at > flow->longest_found_ms) {
      file->stage = Stage::kClaimed;  // what was found is getting old
    } else {
      continue;
    }
    any = true;
  }
  return any;
}

// Fills `turn` with what can be sent at once, and takes what it needs of the pace. In a dry run everything can.
void PlanTurn(const Flow &flow, SenderAccount *entry, bool more, Turn *turn) {
  Batch *batch = flow.batch;
  bool waited = false;
  const Ticks fill_since = NowTicks() - kLongestFill;
  for (int i = 0; i < batch->count; i++) {
    if (!IsReady(batch->files[i], entry)) continue;
    turn->ready.push_back(i);
    waited |= batch->files[i].found_at <= fill_since;
  }
  if (turn->ready.empty()) return;
  MarkSameFiles(batch, &turn->ready);
  if (entry->limited) {
    int64 taken = 0;
    auto too_many = [&](int index) { return LeftFor(batch->files[index], entry) <= taken || ++taken == 0; };
    turn->ready.erase(std::remove_if(turn->ready.begin(), turn->ready.end(), too_many), turn->ready.end());
  }
  if (entry->account->dry_run) {
    for (int index : turn->ready) batch->files[index].stage = Stage::kProving;
    return;
  }
  ApiClient *client = flow.sender->client;
  const int bulk_size = client->BulkSize(entry->number);
  Group(*batch, turn->ready, bulk_size, &turn->groups);
  if (more && !waited) {
    auto fills = [&](const std::vector<int> &group) {
      return group.size() < static_cast<size_t>(MostTogether(batch->files[group.back()], bulk_size));
    };
    turn->groups.erase(std::remove_if(turn->groups.begin(), turn->groups.end(), fills), turn->groups.end());
  }
  if (turn->groups.empty()) return;
  turn->reserved = client->ReserveDeletes(entry->number, static_cast<int>(turn->groups.size()));
  turn->groups.resize(static_cast<size_t>(turn->reserved));
  for (const std::vector<int> &group : turn->groups)
    for (int index : group) batch->files[index].stage = Stage::kProving;
}

// Sends what is proven. No step from here to the wire waits for anything but a connection, and no proof is made meanwhile.
void SendProven(const Flow &flow, SenderAccount *entry, Turn *turn) {
  Batch *batch = flow.batch;
  ApiClient *client = flow.sender->client;
  std::vector<int> proven;
  for (int index : turn->ready)
    if (IsAt(batch->files[index], Stage::kProving)) proven.push_back(index);
  Group(*batch, proven, client->BulkSize(entry->number), &turn->groups);
  // As many as were planned, or fewer; what is more than there is room for waits for another turn.
  while (turn->groups.size() > static_cast<size_t>(turn->reserved)) {
    for (int index : turn->groups.back()) batch->files[index].stage = Stage::kFound;
    turn->groups.pop_back();
  }
  for (const std::vector<int> &group : turn->groups) {
    std::vector<FileToDelete> files;
    for (int index : group) {
      QueuedFile &file = batch->files[index];
      files.push_back({static_cast<uint64_t>(index), file.file_id});
      file.stage = Stage::kSent;
      file.answers_due = 1;
      if (entry->limited) entry->deletes_left--;
    }
    client->Delete(entry->number, files);
  }
  const int unused = turn->reserved - static_cast<int>(turn->groups.size());
  if (unused > 0) client->ReturnDeletes(entry->number, unused);
}

void DecideDryRun(Batch *batch) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (IsAt(*file, Stage::kProving) && file->account->dry_run)
      Decide(batch, file, Fate::kSkipped, "dry run: it would have been deleted");
  }
}

bool AnyAt(const Batch &batch, Stage stage) {
  for (int i = 0; i < batch.count; i++)
    if (IsAt(batch.files[i], stage)) return true;
  return false;
}

// An attempt has failed.
void RetryOrGiveUp(Batch *batch, QueuedFile *file, const char *detail) {
  if (file->by_hand || file->attempts < settings::max_attempts) {
    Decide(batch, file, Fate::kRetry, detail);
    return;
  }
  detail = psprintf("given up after %d attempts, the last: %s", file->attempts, detail);
  if (file->fate == Fate::kOpen) LogError(*file, detail);
  Decide(batch, file, Fate::kParked, detail);
}

}  // namespace

bool SendDeletes(Flow *flow) {
  Batch *batch = flow->batch;
  if (!AnyAt(*batch, Stage::kFound)) return false;
  if (flow->sender->client->Sending()) return false;
  List *accounts = flow->sender->accounts;
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "imagekit deletes", ALLOCSET_SMALL_SIZES);
  auto *turns = pg::Own<std::vector<Turn>>(scratch, static_cast<size_t>(list_length(accounts)));
  bool any = false;
  for (int i = 0; i < list_length(accounts); i++) {
    auto *entry = static_cast<SenderAccount *>(list_nth(accounts, i));
    if (entry->number < 0) continue;
    any |= DecideUnready(flow, entry);
    const bool more = MoreToCome(*flow, entry);
    pg::CallCxx([&] { PlanTurn(*flow, entry, more, &(*turns)[static_cast<size_t>(i)]); });
  }
  if (AnyAt(*batch, Stage::kProving)) {
    any = true;
    flow->prove(flow->argument, batch);
    DecideDryRun(batch);
    for (int i = 0; i < list_length(accounts); i++) {
      auto *entry = static_cast<SenderAccount *>(list_nth(accounts, i));
      Turn *turn = &(*turns)[static_cast<size_t>(i)];
      if (entry->number >= 0) pg::CallCxx([&] { SendProven(*flow, entry, turn); });
    }
    flow->sent(flow->argument);
  }
  MemoryContextDelete(scratch);
  return any;
}

void ReleaseWhenChanged(Batch *batch, Sender *sender) {
  if (!IsOld(sender, CurrentMemoryContext)) return;
  for (int i = 0; i < batch->count; i++)
    if (IsAt(batch->files[i], Stage::kProving))
      Decide(batch, &batch->files[i], Fate::kReleased,
             "waits: the options or the key of an account have been changed meanwhile");
}

void TakeDelete(Batch *batch, Sender *sender, const Answer &answer, int64 longest_wait_ms) {
  QueuedFile *file = &batch->files[answer.ticket];
  SenderAccount *entry = FindAccount(sender, file->account->server);
  MemoryContext before = MemoryContextSwitchTo(MemoryOf(batch, file));
  file->answers_due--;
  switch (answer.verdict) {
    case Verdict::kDeleted:
      NoteAnswer(entry, answer.operation);
      Decide(batch, file, Fate::kDeleted, nullptr);
      file->unwitnessed = file->fate == Fate::kDeleted;
      LogDeleted(*file);
      CountDelete(batch, sender, file, false);
      break;
    case Verdict::kGone:
      NoteAnswer(entry, answer.operation);
      CountDelete(batch, sender, file, true);
      Decide(batch, file, Fate::kNotFound, file->in_doubt ? kGoneByUs : "gone between look-up and delete");
      // By us, perhaps: a request on a connection that breaks is sent twice.
      file->unwitnessed = file->fate == Fate::kNotFound;
      if (file->fate == Fate::kNotFound) LogAlreadyGone(*file);
      break;
    case Verdict::kUndecided:
      NoteAnswer(entry, answer.operation);
      // It may have gone with a part of the request; not with one that was refused as it stood (400, 404 for nobody in
      // particular), or a library that has none of the files that it finds would never be noticed.
      file->in_doubt |= answer.http_status != 400 && !(answer.http_status == 404 && answer.alone);
      file->alone |= answer.alone;
      if (++file->undecided < kMostUndecided)
        file->stage = Stage::kFound;
      else
        RetryOrGiveUp(batch, file, answer.detail.c_str());
      break;
    case Verdict::kThrottled:
      if (answer.retry_after_ms <= longest_wait_ms && ++file->undecided < kMostUndecided)
        file->stage = Stage::kFound;
      else
        DecideFailure(batch, sender, file, answer);
      break;
    default:
      // Done or not: the next try must not wonder that the file is not there.
      file->in_doubt = true;
      DecideFailure(batch, sender, file, answer);
  }
  MemoryContextSwitchTo(before);
}

void NoteAnswer(SenderAccount *entry, Operation operation) {
  entry->answered = true;
  entry->answered_at = NowTicks();
  (operation == Operation::kDelete ? entry->write_failures : entry->read_failures) = 0;
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

// Each of the files of a request that failed has the same to say, request id included.
bool IsRepeated(const char *detail) {
  static char last[512];
  const bool repeated = strncmp(last, detail, sizeof last - 1) == 0;
  strlcpy(last, detail, sizeof last);
  return repeated;
}

// One request's failure, of which each of its files brings its share.
void CountFailure(Sender *sender, SenderAccount *entry, const Answer &answer) {
  double *failures = answer.operation == Operation::kDelete ? &entry->write_failures : &entry->read_failures;
  *failures += 1.0 / Max(answer.shared_by, 1);
  if (*failures >= kMostFailures - 0.001)
    StopAccount(sender, entry,
                psprintf("ImageKit does not answer as it should, the last %d requests failed, with: %s",
                         static_cast<int>(kMostFailures), answer.detail.c_str()));
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
      CountFailure(sender, entry, answer);
      // Said the first time; an outage would otherwise fill the log. last_error has the rest.
      if (file->fate == Fate::kOpen && file->attempts <= 1 && file->attempts < settings::max_attempts &&
          (answer.shared_by == 1 || !IsRepeated(detail)))
        LogError(*file, detail);
      RetryOrGiveUp(batch, file, detail);
      break;
    default:
      if (file->fate == Fate::kOpen) LogError(*file, detail);
      Decide(batch, file, Fate::kParked, detail);
      break;
  }
}

}  // namespace imagekit::worker
