// What the values of one column hold of the accounts' URLs, and whether capture would see it.
//
// A URL counts as seen when it stands where the column is watched and is written so that capture finds it: only then is it a
// use of its file to the check before a delete and to an audit. All others are what imagekit.find_unwatched() is about; and so
// are values that name a file without a URL.

#ifndef IMAGEKIT_CORE_COLUMN_SEARCH_H
#define IMAGEKIT_CORE_COLUMN_SEARCH_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/file_names.h"
#include "core/json_strings.h"
#include "core/mention.h"
#include "core/url.h"

namespace imagekit {

/// The prefixes of all accounts, for both ways of looking; and files, if any, of which it matters whether something names them.
struct KnownPrefixes {
  EndpointMap endpoints;
  MentionMap mentions;
  const FileNames* files = nullptr;

  /// False when the prefix is another account's already: it stays with that one.
  bool Add(int account, std::string_view prefix);
};

/// Of one account in one column. All counts are of rows.
struct ColumnFinding {
  int account = kNoAccount;  // kNoAccount: URLs that look like ImageKit's, under no prefix that is configured
  int64_t rows = 0;          // hold any URL
  int64_t unseen = 0;        // hold one that no watched source sees
  int64_t unreadable = 0;    // hold one that would not be seen if the column were watched as a whole
  int64_t named = 0;         // name one of the known files by its path or fileId
  std::string
      example;  // an unreadable one if there is any, else an unseen one, else a name, else any; at most kMaxExample bytes
  std::string place;  // of the example: its path in a JSON document; empty elsewhere
};
constexpr size_t kMaxExample = 200;

class ColumnSearch {
 public:
  explicit ColumnSearch(const KnownPrefixes& known) : known_(known) {}

  /// `watched`: a JSON document's paths that are watched; one of no steps is the whole column.
  void Watch(JsonPath path) { watched_.push_back(std::move(path)); }

  /// The parts of a row's value: a text, or each element of an array of them; a document; or what is printed of a value of a
  /// type that cannot be watched. Then EndRow().
  void LookAtText(std::string_view text);
  void LookAtJson(std::string_view json);
  void LookAtPrinted(std::string_view text);
  void EndRow();

  /// Cheap: could any of these look at something? For whoever would have to make the text first.
  bool Any(std::string_view text) const;

  const std::vector<ColumnFinding>& findings() const noexcept { return findings_; }

 private:
  bool HasUrl(std::string_view text) const noexcept;
  void Look(std::string_view text, bool watched, bool readable, const JsonStrings* where);
  ColumnFinding* Of(int account);
  void Take(int account, bool seen, bool readable, std::string_view example, const JsonStrings* where);
  void TakeName(std::string_view text, const JsonStrings* where);
  bool Names(std::string_view text) const;

  const KnownPrefixes& known_;
  std::vector<JsonPath> watched_;
  std::vector<ColumnFinding> findings_;
  struct InRow {
    bool any, unseen, unreadable, named;
  };
  std::vector<InRow> row_;  // parallel to findings_
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_COLUMN_SEARCH_H
