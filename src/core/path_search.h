// Finds the one file at each of several library paths in what a search or a listing answers, page by page.
//
// Nothing here asks or waits: the owner fetches the pages. The judgement is the same for one path and for many.

#ifndef IMAGEKIT_CORE_PATH_SEARCH_H
#define IMAGEKIT_CORE_PATH_SEARCH_H

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/api.h"
#include "core/api_reply.h"

namespace imagekit {

/// Looks for library paths in the pages of one search or listing.
///
/// Pages are addressed by a number of entries to skip, so an entry deleted meanwhile (we delete all the time) moves the
/// later ones up and one of them falls between two pages unseen. Each page therefore begins with the last entry of the
/// page before; when it does not, nothing can be concluded and the look-ups have to be done again.
class PathSearch {
 public:
  /// What became of one wanted path.
  struct Target {
    LibraryPath path;
    bool settled = false;
    Verdict verdict = Verdict::kAmbiguous;
    FoundFile file;     // kFound
    std::string words;  // why; empty when found; raw, not cleaned
  };

  /// `by_name`: the pages answer a search for the names, so that another name in them is a contradiction.
  explicit PathSearch(bool by_name) : by_name_(by_name) {}
  PathSearch(const LibraryPath& wanted, bool by_name) : PathSearch(by_name) { Add(wanted); }

  /// Before the first page. Returns the place of its target; equal paths share one.
  size_t Add(const LibraryPath& wanted);

  /// Reads the next page (kind kArray). True when every target is settled.
  bool ReadPage(ReplyBody page);
  /// Settles what no page has settled, after the last page.
  void Conclude();
  /// Settles what no page has settled, when there are more pages than are worth reading.
  void GiveUp();

  const std::vector<Target>& targets() const noexcept { return targets_; }
  int pages() const noexcept { return pages_; }
  /// The `skip` of the next page.
  size_t next_skip() const noexcept { return entries_ == 0 ? 0 : entries_ - 1; }
  /// The names that fill the pages: those with at least their even share of the entries read.
  std::vector<std::string> CommonNames() const;

 private:
  struct Name {
    size_t entries = 0;  // listed with this name, at whatever path
    std::string first_path;
  };

  static void Settle(Target* target, Verdict verdict, std::string why);
  bool SettleRest(Verdict verdict, const std::string& why);
  bool AllSettled() const noexcept;

  bool by_name_;
  std::vector<Target> targets_;
  std::unordered_map<std::string, size_t> by_path_;
  std::unordered_map<std::string, Name> names_;
  int pages_ = 0;
  size_t entries_ = 0;      // seen so far
  std::string last_entry_;  // the id of the last one
  bool other_names_ = false;
};

/// What a search for fileIds has listed. It settles only what it proves: a file that is not where the row says may lie
/// there under another id.
class IdPage {
 public:
  /// `page` must outlive it, and be well shaped.
  explicit IdPage(const ReplyBody& page);

  /// The file of this id, if it is listed once, lies at this path, and is the only one listed there; else nullptr.
  const FoundFile* FileAt(const std::string& file_id, const LibraryPath& path) const;

 private:
  struct Entry {
    const FoundFile* file = nullptr;
    int times = 0;
  };
  std::unordered_map<std::string_view, Entry> by_id_;
  std::unordered_map<std::string_view, int> by_path_;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_PATH_SEARCH_H
