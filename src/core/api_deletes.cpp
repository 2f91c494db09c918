// Takes the answer to a delete of several files apart.
//
// It must never take a file for deleted that the answer does not name as deleted, nor for missing that it does not name
// as missing: ImageKit refuses the whole call when one file is unknown (section 5), and what is in none of its lists is
// asked for again.

#include "core/api_deletes.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "core/core_only.h"

namespace imagekit {

void Deletion::Add(const FileToDelete& file) {
  files_.push_back(file);
  if (place_.emplace(file.file_id, ids_.size()).second) ids_.push_back(file.file_id);
}

std::vector<FileVerdict> Deletion::Judge(Verdict verdict, const ReplyBody& body, const std::string& words,
                                         int* bulk_size) const {
  std::vector<FileVerdict> by_id(ids_.size(), {verdict, false, words});
  if (bulk()) {
    if (verdict == Verdict::kDeleted) ReadDeleted(body, &by_id);
    if (verdict == Verdict::kGone) ReadMissing(body, &by_id);
    if (verdict == Verdict::kRejected) ReadRefusal(body, &by_id, bulk_size);
  }
  std::vector<FileVerdict> verdicts;
  verdicts.reserve(files_.size());
  for (const FileToDelete& file : files_) verdicts.push_back(by_id[place_.at(file.file_id)]);
  return verdicts;
}

/// 200 and 207: those that are listed as deleted are, those that are listed with an error are not.
void Deletion::ReadDeleted(const ReplyBody& body, std::vector<FileVerdict>* by_id) const {
  const bool lists =
      body.deleted.state == IdList::State::kRead || (body.deleted.state == IdList::State::kAbsent && body.has_errors);
  if (!lists) {
    by_id->assign(ids_.size(), {Verdict::kBroken, false, "the answer does not list the files that were deleted"});
    return;
  }
  by_id->assign(ids_.size(), {Verdict::kUndecided, true, "the answer does not mention this file"});
  const std::unordered_set<std::string_view> deleted(body.deleted.ids.begin(), body.deleted.ids.end());
  for (const std::string_view id : deleted) {
    if (const auto ours = place_.find(std::string(id)); ours != place_.end()) {
      (*by_id)[ours->second] = {Verdict::kDeleted, false, ""};
    }
  }
  for (const FailedFile& failed : body.failed) {
    const auto ours = place_.find(failed.file_id);
    if (ours == place_.end()) continue;
    if (deleted.count(failed.file_id) > 0) {
      (*by_id)[ours->second] = {Verdict::kUndecided, true, "the answer lists this file as deleted and as failed"};
    } else {
      (*by_id)[ours->second] = {Verdict::kTransient, false,
                                failed.error.empty() ? "ImageKit could not delete this file" : failed.error};
    }
  }
}

/// 404: those that are listed are missing; the others are as they were.
void Deletion::ReadMissing(const ReplyBody& body, std::vector<FileVerdict>* by_id) const {
  bool any = false;
  by_id->assign(ids_.size(), {Verdict::kUndecided, false, "other files of the same request do not exist"});
  for (const std::string& id : body.missing.ids) {
    const auto ours = place_.find(id);
    if (ours == place_.end()) continue;
    any = true;
    (*by_id)[ours->second] = {Verdict::kGone, false, body.message};
  }
  if (!any) by_id->assign(ids_.size(), {Verdict::kUndecided, true, body.message});
}

/// 400: too many, or one of them is not to ImageKit's liking.
void Deletion::ReadRefusal(const ReplyBody& body, std::vector<FileVerdict>* by_id, int* bulk_size) const {
  const int most = MostItems(body.message);
  for (FileVerdict& file : *by_id) {
    file.verdict = Verdict::kUndecided;
    file.alone = most < 0;
  }
  if (most < 0) return;
  const int sent = static_cast<int>(ids_.size());
  // A number that is no less than what was sent cannot be what it is about.
  *bulk_size = std::min(*bulk_size, most >= 1 && most < sent ? most : std::max(sent / 2, 1));
}

int MostItems(const std::string& message) noexcept {
  const size_t words = message.find("more than");
  if (words == std::string::npos) return -1;
  const size_t start = message.find_first_of("0123456789", words);
  if (start == std::string::npos) return -1;
  int64_t most = 0;
  for (size_t i = start; i < message.size() && message[i] >= '0' && message[i] <= '9'; ++i) {
    most = most * 10 + (message[i] - '0');
    if (most > 1000000) return 0;
  }
  return static_cast<int>(most);
}

}  // namespace imagekit
