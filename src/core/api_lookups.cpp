// Puts look-ups together into searches and takes their answers apart.
//
// It must never let sharing change a verdict: what is found, and what is not, is for each path what a search for it
// alone would have said (path_search.h), or the file is asked for again in a narrower search.

#include "core/api_lookups.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "core/api_request.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

// Pages read: 200 hits of a search for one path, 20000 files of a folder. More are not worth their tokens.
constexpr int kMaxPages = 20;
// Of a search in the whole library. There are narrower searches for what it does not reach.
constexpr int kMaxLibraryPages = 5;

// Entries in a page of a search for many: twice what is looked for, and room for the same names in other folders.
constexpr size_t kLeastEntries = 200;
constexpr size_t kMostEntries = 1000;
// One name may be looked for in any number of folders; so many share a search.
constexpr size_t kMaxFilesInSearch = kMostEntries / 2;
constexpr size_t kMaxIdsInSearch = 120;  // of the usual length, somewhat fewer fit into a target

// Names remembered as common. When there are more they are all forgotten, and found out again.
constexpr size_t kMaxCommonNames = 1000;

std::vector<LookUp> TakeAllOf(std::deque<LookUp>* queue) {
  std::vector<LookUp> files(std::make_move_iterator(queue->begin()), std::make_move_iterator(queue->end()));
  queue->clear();
  return files;
}

/// The distinct names of some files, in order.
std::vector<std::string> NamesOf(const std::vector<LookUp>& files) {
  std::vector<std::string> names;
  std::unordered_set<std::string_view> seen;
  for (const LookUp& file : files) {
    if (seen.insert(file.path.name).second) names.push_back(file.path.name);
  }
  return names;
}

/// Whether one more file fits into a search for `names`; if so its name is counted in.
bool Fits(const LookUp& file, size_t files, size_t most_names, std::unordered_set<std::string>* names,
          ListedSearch* target) {
  if (files >= kMaxFilesInSearch) return false;
  if (names->count(file.path.name) > 0) return true;
  if (names->size() >= most_names || !target->Add(file.path.name)) return false;
  names->insert(file.path.name);
  return true;
}

void AnswerAll(const std::vector<LookUp>& files, Verdict verdict, const std::string& words,
               std::vector<LookUpAnswer>* answers) {
  for (const LookUp& file : files) answers->push_back({file.ticket, verdict, {}, words});
}

/// Answers the files whose targets are settled, and takes them out of the search.
void AnswerSettled(Search* search, std::vector<LookUpAnswer>* answers) {
  std::vector<LookUp> open;
  for (LookUp& file : search->files) {
    const PathSearch::Target& target = search->paths.targets()[file.target];
    if (target.settled) {
      answers->push_back({file.ticket, target.verdict, target.file, target.words});
    } else {
      open.push_back(std::move(file));
    }
  }
  search->files = std::move(open);
}

}  // namespace

std::string Search::Target() const { return WithSkip(first_page, paths.next_skip()); }

LookUps::LookUps(size_t base_bytes, int search_size)
    : base_bytes_(base_bytes), search_size_(static_cast<size_t>(std::max(search_size, 1))) {}

std::string LookUps::Add(LookUp file) {
  std::string why_not = WhyNotFindable(file.path);
  if (!why_not.empty()) return why_not;
  const size_t bytes =
      CanBeQuoted(file.path.name) ? SearchTarget(file.path).size() : ListTarget(file.path.folder).size();
  if (base_bytes_ + bytes + kSkipBytes > kMaxTargetBytes) return "folder and name are too long for a request of 4 KB";
  if (ids_refused_ || !IsFileId(file.known_id)) file.known_id.clear();
  Queue(std::move(file));
  return "";
}

/// To where the file is looked for next.
void LookUps::Queue(LookUp file) {
  if (!file.known_id.empty()) {
    by_id_.push_back(std::move(file));
  } else if (!CanBeQuoted(file.path.name)) {
    by_listing_.Push(std::move(file));
  } else if (common_names_.count(file.path.name) > 0) {
    by_folder_.Push(std::move(file));
  } else {
    by_name_.push_back(std::move(file));
  }
}

/// As many as a search can have, unless some share a name or are longer than usual.
bool LookUps::NamesReady() const noexcept {
  return by_name_.size() >= search_size_ || (!more_expected_ && !by_name_.empty());
}

bool LookUps::IdsReady() const noexcept {
  return by_id_.size() >= kMaxIdsInSearch || (!more_expected_ && !by_id_.empty());
}

bool LookUps::Waiting() const noexcept {
  return !begun_.empty() || !halves_.empty() || IdsReady() || NamesReady() || !by_folder_.empty() ||
         !by_listing_.empty();
}

Search LookUps::TakeNext() {
  if (!begun_.empty()) {
    // Before all others, so that the list has little time to change between two pages.
    Search search = std::move(begun_.front());
    begun_.pop_front();
    return search;
  }
  if (!halves_.empty()) {
    std::vector<LookUp> files = std::move(halves_.front());
    halves_.pop_front();
    return SearchByPath(std::move(files));
  }
  while (true) {
    switch (turn_++ % 4) {
      case 0:
        if (IdsReady()) return SearchByIds();
        break;
      case 1:
        if (!by_listing_.empty()) return ListFolder();
        break;
      case 2:
        if (!by_folder_.empty()) {
          std::unordered_set<std::string> names;
          ListedSearch target("name", by_folder_.first_folder(), base_bytes_);
          size_t files = 0;
          return SearchByPath(by_folder_.Take(
              [&](const LookUp& file) { return Fits(file, files, search_size_, &names, &target) && ++files > 0; }));
        }
        break;
      default:
        if (NamesReady()) return SearchByPath(GatherNames());
    }
  }
}

std::vector<LookUp> LookUps::GatherNames() {
  std::vector<LookUp> files;
  std::unordered_set<std::string> names;
  ListedSearch target("name", "", base_bytes_);
  while (!by_name_.empty()) {
    LookUp& file = by_name_.front();
    // The first says how many they may be; who may have less company is the first of another search.
    if (!files.empty() && (file.most_together < files.front().most_together ||
                           files.size() >= static_cast<size_t>(files.front().most_together))) {
      break;
    }
    // One that does not fit into a list at all fits into a search of its own; Add() has seen to that.
    if (!Fits(file, files.size(), search_size_, &names, &target) && !files.empty()) break;
    files.push_back(std::move(file));
    by_name_.pop_front();
    if (names.empty()) break;
  }
  return files;
}

Search LookUps::SearchByIds() {
  Search search;
  search.request = Request::kIdSearch;
  search.limit = kListLimit;
  ListedSearch target("id", "", base_bytes_);
  std::unordered_set<std::string> ids;
  while (!by_id_.empty() && search.files.size() < kMaxFilesInSearch) {
    LookUp& file = by_id_.front();
    if (!search.files.empty() && (file.most_together < search.files.front().most_together ||
                                  search.files.size() >= static_cast<size_t>(search.files.front().most_together))) {
      break;
    }
    if (ids.count(file.known_id) == 0) {
      if (ids.size() >= kMaxIdsInSearch || !target.Add(file.known_id)) break;
      ids.insert(file.known_id);
    }
    search.files.push_back(std::move(file));
    by_id_.pop_front();
  }
  search.first_page = target.Target(search.limit);
  return search;
}

Search LookUps::ListFolder() {
  Search search;
  search.listing = true;
  search.limit = kListLimit;
  search.most_pages = kMaxPages;
  const std::string folder = by_listing_.first_folder();
  search.first_page = ListTarget(folder);
  search.files = by_listing_.TakeAll(folder);
  // Whoever else is looked for in this folder is served along.
  for (LookUp& file : by_folder_.TakeAll(folder)) search.files.push_back(std::move(file));
  std::deque<LookUp> others;
  for (LookUp& file : by_name_) {
    if (file.path.folder == folder) {
      search.files.push_back(std::move(file));
    } else {
      others.push_back(std::move(file));
    }
  }
  by_name_ = std::move(others);
  search.paths = PathSearch(false);
  for (LookUp& file : search.files) file.target = search.paths.Add(file.path);
  return search;
}

/// The search for files whose names can be quoted: for one path, for the names of one folder, or in the whole library.
Search LookUps::SearchByPath(std::vector<LookUp> files) const {
  Search search;
  search.files = std::move(files);
  for (LookUp& file : search.files) file.target = search.paths.Add(file.path);
  const auto& targets = search.paths.targets();
  const LibraryPath& first = targets.front().path;
  search.most_pages = kMaxPages;
  if (targets.size() == 1) {
    search.limit = kSearchLimit;
    search.first_page = SearchTarget(first);
    return search;
  }
  search.limit = std::clamp(2 * targets.size(), kLeastEntries, kMostEntries);
  const std::vector<std::string> names = NamesOf(search.files);
  const auto fill = [&](ListedSearch target) {
    for (const std::string& name : names) {
      if (!target.Add(name)) return false;
    }
    search.first_page = target.Target(search.limit);
    return true;
  };
  const bool one_folder =
      std::all_of(targets.begin(), targets.end(), [&](const auto& other) { return other.path.folder == first.folder; });
  if (one_folder && fill(ListedSearch("name", first.folder, base_bytes_))) return search;
  search.request = Request::kLibrarySearch;
  search.most_pages = kMaxLibraryPages;
  fill(ListedSearch("name", "", base_bytes_));
  return search;
}

void LookUps::TakeAnswer(Search search, Verdict verdict, ReplyBody body, const std::string& words,
                         std::vector<LookUpAnswer>* answers) {
  if (verdict == Verdict::kRejected) {
    Reject(std::move(search), words, answers);
  } else if (verdict != Verdict::kFound) {
    AnswerAll(search.files, verdict, words, answers);
  } else if (search.request == Request::kIdSearch) {
    ReadIds(std::move(search), body, answers);
  } else {
    ReadPage(std::move(search), std::move(body), answers);
  }
}

void LookUps::ReadIds(Search search, const ReplyBody& body, std::vector<LookUpAnswer>* answers) {
  if (!body.well_shaped) {
    return AnswerAll(search.files, Verdict::kBroken, "an entry of the list is not shaped like ImageKit's", answers);
  }
  const IdPage page(body);
  std::unordered_set<std::string_view> asked;
  for (const LookUp& file : search.files) asked.insert(file.known_id);
  // Then the service reads the query otherwise than we do: what it lists is still true, but there is little of it.
  if (std::any_of(body.files.begin(), body.files.end(),
                  [&](const FoundFile& file) { return asked.count(file.file_id) == 0; })) {
    StopAskingById();
  }
  for (LookUp& file : search.files) {
    if (const FoundFile* found = page.FileAt(file.known_id, file.path)) {
      answers->push_back({file.ticket, Verdict::kFound, *found, ""});
    } else {
      file.known_id.clear();
      Queue(std::move(file));
    }
  }
}

void LookUps::ReadPage(Search search, ReplyBody body, std::vector<LookUpAnswer>* answers) {
  // A page that is not full is the last one: no total is given (section 2.3).
  const bool last = body.entries < search.limit;
  if (!search.paths.ReadPage(std::move(body))) {
    if (last) {
      search.paths.Conclude();
    } else if (search.paths.pages() >= search.most_pages) {
      return GiveUp(std::move(search), answers);
    }
  }
  AnswerSettled(&search, answers);
  if (!search.files.empty()) begun_.push_back(std::move(search));
}

/// After the last page that is worth reading, which was full.
void LookUps::GiveUp(Search search, std::vector<LookUpAnswer>* answers) {
  AnswerSettled(&search, answers);
  std::vector<LookUp> files = std::exchange(search.files, {});
  if (search.request == Request::kLibrarySearch) {
    Remember(search.paths.CommonNames());
    for (LookUp& file : files) by_folder_.Push(std::move(file));
    return;
  }
  search.paths.GiveUp();
  for (LookUp& file : files) {
    if (search.listing && CanBeQuoted(file.path.name)) {
      by_name_.push_back(std::move(file));
    } else {
      search.files.push_back(std::move(file));
    }
  }
  AnswerSettled(&search, answers);
}

/// ImageKit does not like the request; it may be one name, or that they are many.
void LookUps::Reject(Search search, const std::string& words, std::vector<LookUpAnswer>* answers) {
  std::vector<LookUp> files = std::move(search.files);
  if (search.request == Request::kIdSearch) {
    for (LookUp& file : files) {
      file.known_id.clear();
      Queue(std::move(file));
    }
    return StopAskingById();
  }
  if (search.listing) {
    for (LookUp& file : files) {
      if (CanBeQuoted(file.path.name)) {
        by_name_.push_back(std::move(file));
      } else {
        answers->push_back({file.ticket, Verdict::kRejected, {}, words});
      }
    }
    return;
  }
  if (NamesOf(files).size() > 1) return Split(std::move(files));
  if (search.request == Request::kLibrarySearch) {
    for (LookUp& file : files) by_folder_.Push(std::move(file));
    return;
  }
  AnswerAll(files, Verdict::kRejected, words, answers);
}

/// Into two searches for half the names each. A bad name is alone after as many rounds as its group has binary digits.
void LookUps::Split(std::vector<LookUp> files) {
  const std::vector<std::string> names = NamesOf(files);
  const std::unordered_set<std::string> first(names.begin(),
                                              names.begin() + static_cast<std::ptrdiff_t>(names.size() / 2));
  std::vector<LookUp> halves[2];
  for (LookUp& file : files) {
    std::vector<LookUp>& half = halves[first.count(file.path.name) > 0 ? 0 : 1];
    half.push_back(std::move(file));
  }
  for (std::vector<LookUp>& half : halves) halves_.push_back(std::move(half));
}

void LookUps::StopAskingById() {
  ids_refused_ = true;
  for (LookUp& file : TakeAllOf(&by_id_)) {
    file.known_id.clear();
    Queue(std::move(file));
  }
}

void LookUps::Remember(const std::vector<std::string>& common_names) {
  if (common_names_.size() + common_names.size() > kMaxCommonNames) common_names_.clear();
  common_names_.insert(common_names.begin(), common_names.end());
  for (LookUp& file : TakeAllOf(&by_name_)) Queue(std::move(file));
}

std::vector<LookUp> LookUps::TakeAll() {
  std::vector<LookUp> files;
  const auto take = [&files](std::vector<LookUp> more) {
    files.insert(files.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  for (Search& search : begun_) take(std::move(search.files));
  begun_.clear();
  for (std::vector<LookUp>& half : halves_) take(std::move(half));
  halves_.clear();
  take(TakeAllOf(&by_id_));
  take(TakeAllOf(&by_name_));
  take(by_folder_.TakeAll());
  take(by_listing_.TakeAll());
  return files;
}

void LookUps::Clear() noexcept {
  begun_.clear();
  halves_.clear();
  by_id_.clear();
  by_name_.clear();
  by_folder_.Clear();
  by_listing_.Clear();
}

}  // namespace imagekit
