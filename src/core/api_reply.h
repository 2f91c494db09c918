// Reads the bodies of answers. They come from outside and may be anything: random bytes, a terabyte's worth of
// brackets, another host's JSON.

#ifndef IMAGEKIT_CORE_API_REPLY_H
#define IMAGEKIT_CORE_API_REPLY_H

#include <string>
#include <utility>
#include <vector>

#include "core/api.h"
#include "core/taxonomy.h"

namespace imagekit {

/// What a body holds.
struct ReplyBody {
  BodyKind kind = BodyKind::kEmpty;
  std::string message;       // kMessage: ImageKit's words; kText: the body itself; raw, not cleaned
  bool well_shaped = false;  // kArray: every entry is an object as section 2.3 describes it
  size_t entries = 0;        // kArray: of any type
  std::string first_entry;   // kArray, well_shaped: ids of the first and last entry, of whatever type
  std::string last_entry;
  std::vector<FoundFile> files;  // kArray, well_shaped: the entries of type "file"; file_id is not checked yet
};

/// Throws nothing but std::bad_alloc. JSON is read strictly: a duplicate key, a trailing comma, text behind the end,
/// deep nesting or a flood of values make it no JSON.
ReplyBody ReadBody(const std::string& body, const std::string& content_type);

/// The answer to the question for any one file: kFound with the file, without its id; kNotFound from an empty library.
Verdict ReadProbe(const ReplyBody& body, FoundFile* file);

/// Looks for one library path in the pages of a search or a listing.
///
/// Pages are addressed by a number of entries to skip, so an entry deleted meanwhile (we delete all the time) moves the
/// later ones up and one of them falls between two pages unseen. Each page therefore begins with the last entry of the
/// page before; when it does not, nothing can be concluded and the look-up has to be done again.
class PathSearch {
 public:
  /// `by_name`: the pages answer a search for the name, so that another name in them is a contradiction.
  PathSearch(LibraryPath wanted, bool by_name) : wanted_(std::move(wanted)), by_name_(by_name) {}
  PathSearch() : PathSearch(LibraryPath(), false) {}

  const LibraryPath& wanted() const noexcept { return wanted_; }
  bool by_name() const noexcept { return by_name_; }

  /// Reads the next page (kind kArray). True when the look-up is settled; the three members below then hold the answer.
  bool ReadPage(const ReplyBody& page);
  /// Settles the look-up after the last page, when no page did.
  void Conclude();
  /// Settles the look-up when there are more pages than are worth reading.
  void GiveUp();

  Verdict verdict = Verdict::kAmbiguous;
  FoundFile file;     // kFound
  std::string words;  // why; empty when found; raw, not cleaned

  int pages() const noexcept { return pages_; }
  /// The `skip` of the next page.
  size_t next_skip() const noexcept { return entries_ == 0 ? 0 : entries_ - 1; }

 private:
  bool Settle(Verdict settled, std::string why);

  LibraryPath wanted_;
  bool by_name_;
  int pages_ = 0;
  size_t entries_ = 0;      // seen so far
  std::string last_entry_;  // the id of the last one
  bool elsewhere_ = false;  // the name was seen at another path: the first such is
  std::string elsewhere_path_;
  bool other_names_ = false;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_REPLY_H
