// Reading a whole library, page by page, though the API knows only offsets (section 2.3 of the contract): an offset shifts
// whenever a file is added or removed, and what is shifted past a page's end is never seen.
//
// So a page is asked for by time: all files created in a certain second or later, in the order of their creation. The next
// page begins some entries before the end of the last one, and must show some of these again: then nothing between them was
// missed. Only a second in which more files were created than a page holds is read by offsets, with the same overlap; what
// it listed is counted against the positions that were read, and it is read anew when they differ.
//
// Files that are created while it is read come last, those that are removed are simply not there any more.
//
// Pure bookkeeping: it neither sends nor waits, and keeps no more than a page and, for a crowded second, eight bytes a file.

#ifndef IMAGEKIT_CORE_LISTING_H
#define IMAGEKIT_CORE_LISTING_H

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/api_reply.h"

namespace imagekit {

class Listing {
 public:
  /// Where a reading stands, so that it can go on in another process: files are asked for from this second on, and one of these
  /// must be there.
  struct Place {
    int64_t from_s = kBeginning;       // Unix time
    std::vector<std::string> anchors;  // fileIds, at most kAnchors
  };
  static constexpr int64_t kBeginning = -1;
  static constexpr size_t kAnchors = 20;

  enum class Step {
    kGoOn,   // the page's files are new or known; ask for the next page
    kAgain,  // the page does not join the last one: it is to be forgotten, and asked for otherwise
    kEnd,    // as kGoOn, and nothing follows
    kLost,   // it cannot be read to its end; the reason is in words
  };

  /// It ends when all that was created before `until_s` (Unix time) is read, whatever comes later; kBeginning: with the last.
  Listing(Place place, int64_t until_s) : place_(std::move(place)), until_s_(until_s) {}

  /// The request target of the page that is wanted now, without ApiBase::path.
  std::string Target() const;

  /// Takes an answer that JudgeAnswer() has called kFound. `words` gets the reason of kAgain and kLost.
  Step Take(const ReplyBody& page, std::string* words);

  /// Fewer entries a page, as an answer was too large or too slow; after some that were good it asks for more again. False when
  /// there are few already.
  bool AskForLess();

  const Place& place() const noexcept { return place_; }

 private:
  static constexpr size_t kMostEntries = 1000;  // section 2.1
  static constexpr size_t kLeastEntries = 25;   // more than kAnchors
  static constexpr size_t kOverlap = 10;        // entries of the last page that the next one repeats
  static constexpr int kMoreAfter = 10;         // pages
  static constexpr int kMostRestarts = 5;

  Step TakeBySecond(const ReplyBody& page, std::string* words);
  Step TakeByOffset(const ReplyBody& page, std::string* words);
  Step Restart(std::string* words, std::string_view why);
  void AskForMore();
  void SetAnchors(const std::vector<FoundFile>& files);

  Place place_;
  int64_t until_s_;
  size_t limit_ = kMostEntries;
  int pages_at_limit_ = 0;  // since it was last changed, where it is below the most
  int restarts_ = 0;
  int64_t back_s_ = kBeginning;  // the second in which the last page began
  std::string last_id_;          // of the last page
  size_t most_seen_ = 0;         // entries in a page

  // A crowded second, place_.from_s, by offsets.
  bool by_offset_ = false;
  size_t skip_ = 0;
  std::vector<std::string> tail_;
  std::vector<uint64_t> seen_;  // hashes of fileIds and paths
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_LISTING_H
