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

struct UrlParts;

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
  // kLibraryFile only: other library paths of the same account that the URL could have meant (an endpoint identifier
  // hides a folder of the same name, section 9.1). When one of these exists in the library too, the URL is ambiguous
  // and must be parked. They come from: every shorter prefix of the account that the URL also begins with; and, when
  // the first segment after the matched prefix is the identifier of another endpoint of the account, the path without
  // it. Never equal to `path`, no duplicates; a reading that is no library file is left out.
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
  /// for another account it is. The scheme does not matter: a prefix given with https matches http URLs too.
  void Add(int account, std::string_view prefix);

  bool empty() const noexcept { return entries_.empty(); }

  /// True when `url` begins with a configured prefix on a segment boundary. For capture's hot path: allocates nothing,
  /// throws nothing, accepts any bytes. Everything Read() does not call foreign is owned. Recognises a prefix also
  /// behind user info or white space, and when it is spelled with escapes, doubled slashes or backslashes: Read()
  /// refuses such a URL, but a browser may well load the image, so it must not count as foreign.
  bool Owns(std::string_view url) const noexcept;

  /// Section 9.9. Accepts any bytes.
  UrlReading Read(std::string_view url) const;

  /// A short cut for the URLs that nearly all are: true when nothing in the URL needs to be interpreted, so that two such
  /// URLs mean the same file if and only if account and path are equal. The path is a view into the URL.
  bool ReadPlain(std::string_view url, int* account, std::string_view* path) const noexcept;

 private:
  struct Entry {
    std::string host;  // lower case
    std::string port;  // empty: the scheme's default
    std::string path;  // "" or "/acme/shop": raw, no trailing slash
    int account;
    std::string usual;  // how nearly all of its URLs begin: "https://ik.imagekit.io/acme/"; empty with a port
  };
  const Entry* Match(const UrlParts& parts, size_t* prefix_size) const noexcept;
  std::vector<LibraryPath> OtherReadings(const UrlParts& parts, const Entry& matched) const;

  std::vector<Entry> entries_;  // longest path first
};

/// Throws EndpointError when `prefix` is unusable in EndpointMap::Add.
void CheckEndpoint(std::string_view prefix);

/// ImageKit's own hosts (section 9.1). They serve all accounts, and the first segment says whose a URL is.
constexpr std::string_view kSharedHosts[] = {"ik.imagekit.io", "ik.imgkit.net"};

/// That segment, "acme" of "https://ik.imagekit.io/acme/shop"; empty for other hosts. Any bytes.
std::string_view AccountIdOf(std::string_view prefix) noexcept;

/// A key that every spelling of one library file shares, whatever endpoints are configured: the decoded file name after
/// transformations, suffixes and `ik-seo` are taken off. Different files may share a key; equal files never differ in
/// it. For a URL that Read() refuses it is the key of the file most likely meant (text behind the URL and HTML entities
/// are taken off), so that a doubtful use of a file is found under that file's key.
/// Valid UTF-8 without control characters, at most kMaxUrlKeyBytes, so that it always fits into an index. Empty when
/// nothing usable is left. Never throws anything but std::bad_alloc.
constexpr size_t kMaxUrlKeyBytes = 255;
std::string UrlKey(std::string_view url);

/// The keys of other files that the URL may use, so that each of them is found: of all names with an extension that stand anywhere
/// in it, as where the URL ends and text begins cannot be told; of its first word and of the whole; and of what its transformation
/// names (overlays, default images, fonts). Without UrlKey()'s, without duplicates; empty for nearly all URLs, and then quick.
/// Throws nothing but std::bad_alloc.
std::vector<std::string> OtherUrlKeys(std::string_view url);

/// The URLs that begin within another one, as in "https://cdn.example/?url=https://…", or in a list with something between them
/// that a URL may hold. Each reaches up to the next. They may be uses; as removals they would be guesses. Linear time; any bytes.
class InnerUrls {
 public:
  explicit InnerUrls(std::string_view url) noexcept;
  bool Next(std::string_view* inner) noexcept;

 private:
  size_t Find(size_t from) const noexcept;
  std::string_view url_;
  size_t next_;
};

/// Finds the URLs in a text column: the text is one URL, or a list of URLs, or contains URLs (HTML, Markdown, srcset, a
/// JSON text). The rules and their reasons are in url_scanner.cpp.
/// Never cuts a URL short in a way that could name another file: where the end is doubtful (a URL followed by a space
/// and more), the longer text is yielded and EndpointMap::Read refuses it.
/// Out of scope: JSON text with escaped slashes ("https:\/\/"), which a json or jsonb column undoes by itself.
/// Trivially destructible; allocates nothing; accepts any bytes; linear time. The views point into `text`, in order and
/// without overlap.
class UrlScanner {
 public:
  explicit UrlScanner(std::string_view text) noexcept;
  bool Next(std::string_view* url) noexcept;

 private:
  bool StartsHere(size_t at) const noexcept;
  void Open(size_t start) noexcept;
  std::string_view TakeFromRun() noexcept;

  std::string_view text_;
  size_t position_ = 0;
  // A run is a stretch of text that holds a URL or a list of URLs and nothing else: the whole text, what stands between
  // two quotes, or one bare URL.
  size_t run_end_ = 0;     // while position_ is before it, a run is being read
  bool quoted_ = false;    // the run stands between quotes
  bool list_ = false;      // more than one URL was found in the run
  bool srcset_ = false;    // the run is the value of a srcset attribute
  unsigned unclosed_ = 0;  // kinds of HTML entity quotes that nothing in the rest of the text closes, a bit each
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_URL_H
