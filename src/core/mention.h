// Every place in a text that could be a URL of an account, however it is spelled.
//
// For a search that must miss nothing: a column in which URLs are overlooked makes files in use look like orphans. So, other
// than UrlScanner, this finds them without their scheme ("ik.imagekit.io/acme/x.jpg"), within another URL
// ("?url=https%3A%2F%2Fik..."), behind the escapes of JSON, HTML, JavaScript and URLs, once or more often escaped, and with a
// prefix in any case. What it finds need not be a URL; what is one is found.

#ifndef IMAGEKIT_CORE_MENTION_H
#define IMAGEKIT_CORE_MENTION_H

#include <string>
#include <string_view>
#include <vector>

namespace imagekit {

/// No account, or none for certain: a host of ImageKit's own with an account id that is not configured.
constexpr int kNoAccount = -1;

/// The configured prefixes, by host.
class MentionMap {
 public:
  /// ImageKit's own hosts are known without being told.
  MentionMap();

  /// `prefix` as EndpointMap::Add() takes it; what that refuses must not come here.
  void Add(int account, std::string_view prefix);

 private:
  friend class MentionScanner;
  struct Prefix {
    std::string path;  // "" or "/acme/shop", lower case
    int account;
  };
  struct Host {
    std::string name;              // lower case
    bool shared;                   // ImageKit's own: the first segment says whose it is
    std::vector<Prefix> prefixes;  // longest first
  };
  Host& Find(std::string_view name);

  std::vector<Host> hosts_;
  bool starts_[256] = {};  // bytes with which a host, or an escape of its first letter, may begin
};

struct Mention {
  size_t at;    // where the host begins
  size_t end;   // behind the prefix
  int account;  // or kNoAccount
};

/// Allocates nothing, accepts any bytes, linear time. Finds them in order; they do not overlap.
class MentionScanner {
 public:
  MentionScanner(const MentionMap& map, std::string_view text) noexcept : map_(map), text_(text) {}
  bool Next(Mention* mention) noexcept;

 private:
  bool MatchHost(const MentionMap::Host& host, Mention* mention) const noexcept;

  const MentionMap& map_;
  std::string_view text_;
  size_t position_ = 0;
};

/// Does a URL of any host hold what only ImageKit's URLs hold, such as "/tr:w-300/"? It may be a custom domain that nobody
/// has configured.
bool LooksLikeImageKit(std::string_view url) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_MENTION_H
