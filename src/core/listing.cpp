// See listing.h.
//
// It must never call a reading complete that may have missed a file which was there all the time: a reference to such a file
// would be called dangling. (That a file goes unlisted never makes it an orphan.)

#include "core/listing.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <utility>

#include "core/api_request.h"
#include "core/api_text.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr int64_t kDay = 24 * 3600;

/// As section 2.2 has it: to the second, in UTC.
std::string TimeText(int64_t second) {
  const time_t time = static_cast<time_t>(second);
  tm parts;
  gmtime_r(&time, &parts);
  char text[80];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text;
}

int64_t SecondOf(const FoundFile& file) noexcept { return file.created_ms / 1000; }

bool Shows(const std::vector<FoundFile>& files, const std::vector<std::string>& ids) {
  return std::any_of(files.begin(), files.end(), [&](const FoundFile& file) {
    return std::find(ids.begin(), ids.end(), file.file_id) != ids.end();
  });
}

/// Why these cannot be the files created between two seconds, in the order of their creation; empty when they can.
std::string_view WhyNotInOrder(const std::vector<FoundFile>& files, int64_t from_s, int64_t before_s) {
  int64_t last_ms = 0;
  for (const FoundFile& file : files) {
    if (file.created_ms < 0) return "a file has no createdAt that can be read";
    if (from_s >= 0 && SecondOf(file) < from_s) return "it lists files that were created before the time asked for";
    if (before_s >= 0 && SecondOf(file) >= before_s) return "it lists files that were created after the time asked for";
    if (file.created_ms < last_ms) return "its files are not in the order of their creation";
    last_ms = file.created_ms;
  }
  return {};
}

}  // namespace

std::string Listing::Target() const {
  std::string query = "type = \"file\"";
  if (place_.from_s >= 0) query += " AND createdAt >= \"" + TimeText(place_.from_s) + "\"";
  if (by_offset_) query += " AND createdAt < \"" + TimeText(place_.from_s + 1) + "\"";
  return WithSkip("/v1/files?searchQuery=" + PercentEncode(query) + "&sort=ASC_CREATED&limit=" + std::to_string(limit_),
                  by_offset_ ? skip_ : 0);
}

Listing::Step Listing::Take(const ReplyBody& page, std::string* words) {
  if (!page.well_shaped) {
    *words = "an entry of the list is not shaped like ImageKit's";
    return Step::kLost;
  }
  if (page.files.size() != page.entries) {
    *words = "the list holds more than files, which alone were asked for";
    return Step::kLost;
  }
  if (const std::string_view why = WhyNotInOrder(page.files, place_.from_s, by_offset_ ? place_.from_s + 1 : -1);
      !why.empty()) {
    *words = why;
    return Step::kLost;
  }
  return by_offset_ ? TakeByOffset(page, words) : TakeBySecond(page, words);
}

Listing::Step Listing::TakeBySecond(const ReplyBody& page, std::string* words) {
  const std::vector<FoundFile>& files = page.files;
  if (!place_.anchors.empty() && !Shows(files, place_.anchors)) {
    return Restart(words, "a page does not show any of the files that the one before it ended with");
  }
  // An empty library, or nothing comes after a crowded second; but not where there were files a moment ago.
  if (files.empty()) return restarts_ == 0 ? Step::kEnd : Restart(words, "it was there, and is listed as empty now");
  restarts_ = 0;
  const bool further = files.back().file_id != last_id_;
  // The service may have a limit of its own, below what is asked for.
  most_seen_ = std::max(most_seen_, std::min(files.size(), limit_));
  const bool full = files.size() >= most_seen_;
  if (!further && !full) return Step::kEnd;
  last_id_ = files.back().file_id;
  back_s_ = SecondOf(files.front());
  SetAnchors(files);
  AskForMore();
  if (until_s_ >= 0 && SecondOf(files.back()) > until_s_) return Step::kEnd;
  const int64_t overlap_s = SecondOf(files[files.size() - std::min(kOverlap, files.size())]);
  if (overlap_s > place_.from_s) {
    place_.from_s = overlap_s;
  } else if (SecondOf(files.back()) > place_.from_s) {
    place_.from_s = SecondOf(files.back());
  } else if (full) {
    by_offset_ = true;
    skip_ = 0;
    tail_.clear();
    seen_.clear();
  }
  return Step::kGoOn;
}

Listing::Step Listing::TakeByOffset(const ReplyBody& page, std::string* words) {
  const std::vector<FoundFile>& files = page.files;
  const bool joins = tail_.empty() || Shows(files, tail_);
  if (!joins) return Restart(words, "files of one second come in another order each time");
  const bool further = !files.empty() && files.back().file_id != last_id_;
  if (further || tail_.empty()) {
    // A file that was moved is listed at both places until the search knows: that is two positions.
    for (const FoundFile& file : files) seen_.push_back(std::hash<std::string>()(file.file_id + file.file_path));
    skip_ += files.size();
    last_id_ = files.empty() ? std::string() : files.back().file_id;
    const size_t repeated = std::min(kOverlap, files.size());
    tail_.clear();
    for (size_t i = files.size() - repeated; i < files.size(); ++i) tail_.push_back(files[i].file_id);
    if (!files.empty()) {
      skip_ -= repeated;
      return Step::kGoOn;
    }
  }
  // Nothing new: the second is read. As many files as positions?
  const size_t positions = skip_ + files.size();
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
  if (seen_.size() < positions) return Restart(words, "files of one second come in another order each time");
  by_offset_ = false;
  restarts_ = 0;
  ++place_.from_s;
  place_.anchors.clear();
  seen_ = {};
  return Step::kGoOn;
}

/// From a little further back. What was removed meanwhile may explain it once, but not for ever.
Listing::Step Listing::Restart(std::string* words, std::string_view why) {
  *words = why;
  if (++restarts_ > kMostRestarts) return Step::kLost;
  if (by_offset_) {
    skip_ = 0;
    tail_.clear();
    seen_.clear();
    return Step::kAgain;
  }
  last_id_.clear();
  const int64_t back_s = restarts_ == 1 ? back_s_ : place_.from_s - kDay;
  place_.from_s = std::max(std::min(back_s, place_.from_s), kBeginning);
  if (restarts_ == kMostRestarts) place_ = {};  // the beginning needs no proof
  return Step::kAgain;
}

/// Of the end of the page, and some from before it: should all of its last files have been removed when the next page comes.
void Listing::SetAnchors(const std::vector<FoundFile>& files) {
  place_.anchors.clear();
  const size_t last = std::min(kAnchors / 2, files.size());
  for (size_t i = files.size() - last; i < files.size(); ++i) place_.anchors.push_back(files[i].file_id);
  const size_t before = files.size() - last;
  const size_t spread = std::min(kAnchors - last, before);
  for (size_t i = 0; i < spread; ++i) place_.anchors.push_back(files[i * before / spread].file_id);
}

/// What was too much while the service was in trouble may be right afterwards: it would be forty times as many pages for ever.
void Listing::AskForMore() {
  if (limit_ >= kMostEntries || ++pages_at_limit_ < kMoreAfter) return;
  pages_at_limit_ = 0;
  limit_ = std::min(limit_ * 2, kMostEntries);
  most_seen_ = 0;
}

bool Listing::AskForLess() {
  if (limit_ <= kLeastEntries) return false;
  pages_at_limit_ = 0;
  limit_ = std::max(limit_ / 2, kLeastEntries);
  most_seen_ = 0;
  if (by_offset_) {
    skip_ = 0;
    tail_.clear();
    seen_.clear();
  }
  return true;
}

}  // namespace imagekit
