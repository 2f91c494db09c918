// From a URL in a row to the file in the media library.
//
// ImageKit has no look-up by URL: a file is found by folder and name, so the URL has to be read back into its library
// path. The grammar is section 9 of the API contract (endpoints, `tr:` segments, `ik-seo`, derived suffixes, ...).
//
// Everything here must prefer no answer to a wrong one: a URL that can be read two ways is refused, because a delete
// at ImageKit cannot be undone.

#ifndef IMAGEKIT_CORE_URL_H
#define IMAGEKIT_CORE_URL_H

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace imagekit {

/// Where a file lies in the media library, decoded: folder "/pets" (root is "/"), name "my cat.jpg".
struct LibraryPath {
  std::string folder;
  std::string name;

  /// "/pets/my cat.jpg": compared byte for byte with the `filePath` of the API's answers.
  std::string FilePath() const;

  bool operator==(const LibraryPath& other) const { return folder == other.folder && name == other.name; }
};

enum class UrlClass {
  kForeign,      // under no configured prefix: never touched, never queued
  kLibraryFile,  // `path` names the one file it can mean
  kSkipped,      // ours, but by design no library file (web proxy, generated image); `reason` says which
  kRefused,      // ours, but malformed or ambiguous; `reason` says why; a person has to look at it
};

struct UrlReading {
  UrlClass kind = UrlClass::kForeign;
  int account = -1;    // as given to EndpointMap::Add; -1 when foreign
  LibraryPath path;    // kLibraryFile only
  std::string reason;  // kSkipped and kRefused: lower case, no final period
  // Other library paths the same URL could have meant (an endpoint identifier hides a folder of the same name, section
  // 9.1). When one of these exists in the library too, the URL is ambiguous and must be parked.
  std::vector<LibraryPath> other_readings;
};

/// A prefix that cannot be used; what() says why, in lower case without final period.
class EndpointError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// The configured URL prefixes of all accounts. Const methods are safe to call from several threads.
class EndpointMap {
 public:
  /// Adds "https://ik.imagekit.io/acme" (or a custom domain "https://img.acme.example") for `account`, any number the
  /// caller chooses. Scheme http or https, no user info, query, fragment; host is case-insensitive, default port and
  /// one trailing slash are dropped. Throws EndpointError. The same prefix for the same account twice is no error;
  /// for another account it is.
  void Add(int account, std::string_view prefix);

  bool empty() const noexcept { return entries_.empty(); }

  /// True when `url` begins with a configured prefix on a segment boundary. For capture's hot path: allocates nothing,
  /// throws nothing, accepts any bytes. Everything Read() does not call foreign is owned.
  bool Owns(std::string_view url) const noexcept;

  /// Section 9.9. Accepts any bytes.
  UrlReading Read(std::string_view url) const;

 private:
  struct Entry {
    std::string host;  // lower case, with ":port" when it is not the scheme's default
    std::string path;  // "" or "/acme/shop": raw, no trailing slash
    int account;
  };
  const Entry* Match(std::string_view url, std::string_view* rest) const noexcept;

  std::vector<Entry> entries_;  // longest path first
};

/// Throws EndpointError when `prefix` is unusable in EndpointMap::Add.
void CheckEndpoint(std::string_view prefix);

/// A key that every spelling of one library file shares, whatever endpoints are configured: the decoded file name after
/// transformations, suffixes and `ik-seo` are taken off. Different files may share a key; equal files never differ in
/// it. Empty when nothing usable is left. Never throws anything but std::bad_alloc.
std::string UrlKey(std::string_view url);

/// Finds the URLs in a text column: the text is one URL, or contains URLs (HTML, Markdown, srcset, a JSON text).
/// Never cuts a URL short in a way that could name another file: where the end is doubtful (a URL followed by a space
/// and more), the longer text is yielded whole and EndpointMap::Read refuses it.
/// Trivially destructible; allocates nothing; accepts any bytes. The views point into `text`.
class UrlScanner {
 public:
  explicit UrlScanner(std::string_view text) noexcept;
  bool Next(std::string_view* url) noexcept;

 private:
  std::string_view text_;
  size_t position_ = 0;
  bool whole_ = false;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_URL_H
