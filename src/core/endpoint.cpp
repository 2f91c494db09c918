// The configured endpoints: which URLs are ours at all.
//
// It must never let a look-alike in (a longer host, "/acmeX", a host hidden behind user info), and never let one of our
// own URLs pass as foreign because it is malformed: a foreign URL is neither queued nor counted as a use of a file.

#include <algorithm>
#include <iterator>

#include "core/url.h"
#include "core/bytes.h"
#include "core/url_parts.h"
#include "core/url_path.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

/// A configured prefix, brought into the one form that Match() compares with. The scheme is not in it: http and https
/// deliver the same file, and rows of one table hold both.
struct Prefix {
  std::string host;
  std::string port;
  std::string path;
};

/// Without the account id such a prefix would claim everybody's images.
bool IsSharedHost(std::string_view host) noexcept {
  return std::find(std::begin(kSharedHosts), std::end(kSharedHosts), host) != std::end(kSharedHosts);
}

/// Throws EndpointError. What it lets pass is what a browser would take: a host that no URL can have would only make
/// everything foreign, and nobody would learn why nothing is ever deleted.
void CheckHost(std::string_view host) {
  if (host.empty()) throw EndpointError("the host is missing");
  if (host.front() == '[') {
    const bool address =
        host.size() > 3 && host.back() == ']' && host.find_first_not_of("0123456789abcdef:.", 1) == host.size() - 1;
    if (!address) throw EndpointError("the host is no IPv6 address in brackets");
    return;
  }
  for (char c : host) {
    // Rows hold the ASCII form as browsers send it; the two forms of one name would never be compared equal.
    if (static_cast<unsigned char>(c) >= 0x80) {
      throw EndpointError("the host is not ASCII: write an international name in its \"xn--\" form");
    }
    if (!IsAlnum(c) && c != '-' && c != '.' && c != '_') throw EndpointError("a character that no host name can have");
  }
  if (host.front() == '.' || host.back() == '.' || host.find("..") != std::string_view::npos) {
    throw EndpointError("an empty part in the host name");
  }
}

/// `port` holds digits only, without leading zeros. The length comes first, so that the number cannot overflow.
void CheckPort(std::string_view port) {
  if (port.size() > 5 || (!port.empty() && (port == "0" || std::stol(std::string(port)) > 65535))) {
    throw EndpointError("the port is no number from 1 to 65535");
  }
}

/// The path is compared as it stands, so it must have one spelling and no meaning beyond itself. One trailing slash is
/// off already.
void CheckPath(std::string_view path) {
  if (path.empty()) return;
  // Read() refuses each URL with one, so nothing under this endpoint would ever be deleted.
  if (FindHtmlEntity(path, 0) != std::string_view::npos) {
    throw EndpointError("an HTML entity such as &amp; in the path");
  }
  std::string_view before;  // the segment to the left
  for (std::string_view segment : SplitPath(path)) {
    if (segment.empty()) throw EndpointError("two slashes in a row in the path");
    if (segment == "." || segment == "..") throw EndpointError("a . or .. segment in the path");
    for (char c : segment) {
      // The letters that need no escape in a path. With escapes one endpoint would have several spellings.
      if (!IsAlnum(c) && std::string_view("-._~!$&'()*+,;=:@").find(c) == std::string_view::npos) {
        throw EndpointError("a character in the path that no endpoint can have");
      }
    }
    // "https://ik.imagekit.io/acme/ik-seo" is what some SDKs are configured with. It is the endpoint "acme" and a
    // transformation; taken as a whole it would hide the transformation from the reading of the path.
    const bool suffix = segment.substr(0, 3) == "ik-" && LooksLikeFileName(before);
    if (suffix || IsReservedSegment(segment)) {
      throw EndpointError("the path holds \"" + std::string(segment) + "\", which is not part of an endpoint");
    }
    before = segment;
  }
}

/// Throws EndpointError. Stricter than Match() is with URLs: a person can correct an option at once, a row cannot.
Prefix ParsePrefix(std::string_view text) {
  if (std::any_of(text.begin(), text.end(), NeverInUrl)) {
    throw EndpointError("white space, a control character, a quote or an angle bracket in the endpoint");
  }
  UrlParts parts;
  if (SchemeSize(text) == 0) throw EndpointError("the endpoint does not begin with https:// or http://");
  // Said here, because the colons of an unclosed address would pass for a port.
  const std::string_view after_scheme = text.substr(SchemeSize(text));
  if (after_scheme.substr(0, 1) == "[" && after_scheme.find(']') == std::string_view::npos) {
    throw EndpointError("the host is no IPv6 address in brackets");
  }
  if (!SplitUrl(text, &parts)) throw EndpointError("the port is no number from 1 to 65535");
  if (parts.has_user_info) throw EndpointError("a user name before the host");
  if (!parts.after_path.empty()) throw EndpointError("a query or fragment in the endpoint");
  if (parts.path.find('\\') != std::string_view::npos) throw EndpointError("a backslash in the path");

  Prefix prefix;
  prefix.host = parts.host;
  std::transform(prefix.host.begin(), prefix.host.end(), prefix.host.begin(), Lower);
  prefix.port = parts.port;
  prefix.path = parts.path;
  if (!prefix.path.empty() && prefix.path.back() == '/') prefix.path.pop_back();

  // Only now: the checks expect lower case and what SplitUrl has taken off.
  CheckHost(prefix.host);
  CheckPort(prefix.port);
  CheckPath(prefix.path);
  if (prefix.path.empty() && IsSharedHost(prefix.host)) {
    throw EndpointError("the account is missing: https://" + prefix.host + "/your_imagekit_id");
  }
  return prefix;
}

/// Without a lower-case copy of the URL's host: this runs for every string of every watched row.
bool SameHost(std::string_view host, std::string_view lower) noexcept {
  return host.size() == lower.size() &&
         std::equal(host.begin(), host.end(), lower.begin(), [](char a, char b) { return Lower(a) == b; });
}

/// Skips slashes, escaped ones and backslashes too.
size_t SkipSlashes(std::string_view path, size_t at) noexcept {
  while (at < path.size()) {
    char c;
    const size_t size = DecodeAt(path, at, &c);
    if (!IsSlash(c)) break;
    at += size;
  }
  return at;
}

/// True when `path` begins with `prefix` and the next segment, or nothing, follows. Other spellings of the same prefix
/// are recognised, see Owns().
bool BeginsWith(std::string_view path, std::string_view prefix, size_t* size) noexcept {
  size_t at = 0;
  // The URL is decoded on the way. `prefix` itself has no escapes, so there is nothing to compare but characters.
  for (char expected : prefix) {
    if (at >= path.size()) return false;
    if (expected == '/') {
      // "https://ik.imagekit.io//acme": joined from an endpoint and a path that both had the slash.
      const size_t behind = SkipSlashes(path, at);
      if (behind == at) return false;
      at = behind;
    } else {
      char c;
      at += DecodeAt(path, at, &c);
      if (c != expected) return false;
    }
  }
  // The segment has to end here, or it is another one ("/acmeX"). It also ends where no path can go on: such a URL is
  // ours and malformed.
  *size = at;
  if (at == path.size() || NeverInUrl(path[at])) return true;
  return SkipSlashes(path, at) > at;
}

/// The identifier in an endpoint's path: its last segment, unless that is the account id.
std::string_view Identifier(std::string_view host, std::string_view path) noexcept {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || (slash == 0 && IsSharedHost(host))) return {};
  return path.substr(slash + 1);
}

/// What makes a path more than plain letters, digits, "_", "-" and "." to ReadPlain(), by one character and the one before
/// it: an escape, a transformation (tr:...), a query, punctuation, all beyond ASCII; a dot or slash that begins a segment; and what
/// ImageKit itself puts into paths (ik-...).
template <typename Chars>
auto OddIn(Chars before, Chars c) noexcept {
  const auto lower = c | 0x20;
  const auto plain =
      ((lower >= 'a') & (lower <= 'z')) | ((c >= '0') & (c <= '9')) | (c == '_') | ((c >= '-') & (c <= '/'));
  return (plain == 0) | ((before == '/') & ((c == '/') | (c == '.'))) | ((before == 'k') & (c == '-'));
}

bool IsPlain(std::string_view path) noexcept {
  size_t at = 1;
  for (; path.size() - at >= kBlockSize; at += kBlockSize)
    if (Any(OddIn(LoadBlock(path.data() + at - 1), LoadBlock(path.data() + at)))) return false;
  for (; at < path.size(); ++at)
    if (OddIn<unsigned char>(static_cast<unsigned char>(path[at - 1]), static_cast<unsigned char>(path[at])))
      return false;
  return path.back() != '/' && path.back() != '.';
}

}  // namespace

std::string_view AccountIdOf(std::string_view prefix) noexcept {
  const size_t scheme = prefix.find("://");
  if (scheme == std::string_view::npos) return {};
  prefix.remove_prefix(scheme + 3);
  const size_t host = std::min(prefix.find('/'), prefix.size());
  const auto same = [&](std::string_view shared) {
    return shared.size() == host && std::equal(shared.begin(), shared.end(), prefix.begin(),
                                               [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); });
  };
  if (std::none_of(std::begin(kSharedHosts), std::end(kSharedHosts), same)) return {};
  prefix.remove_prefix(std::min(host + 1, prefix.size()));
  return prefix.substr(0, prefix.find_first_of("/?#"));
}

void CheckEndpoint(std::string_view prefix) { ParsePrefix(prefix); }

void EndpointMap::Add(int account, std::string_view prefix) {
  const Prefix parsed = ParsePrefix(prefix);
  // A URL under a prefix of two accounts could be deleted with the wrong key.
  for (const Entry& entry : entries_) {
    if (entry.host != parsed.host || entry.port != parsed.port || entry.path != parsed.path) continue;
    if (entry.account == account) return;
    throw EndpointError("the endpoint belongs to another account already");
  }
  // The longest path comes first, so that the first match is the longest. No path can be longer than the URL's, and two
  // of equal length cannot both match unless their hosts differ, so further order is not needed.
  const auto place = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.path.size() < parsed.path.size(); });
  const std::string usual = parsed.port.empty() ? "https://" + parsed.host + parsed.path + '/' : std::string();
  entries_.insert(place, Entry{parsed.host, parsed.port, parsed.path, account, usual});
}

bool EndpointMap::Owns(std::string_view url) const noexcept {
  // What Match() would find, without cutting the URL up: this runs for every URL of every deleted row.
  for (const Entry& entry : entries_)
    if (!entry.usual.empty() && url.compare(0, entry.usual.size(), entry.usual) == 0) return true;
  UrlParts parts;
  size_t prefix_size;
  return SplitUrl(url, &parts) && Match(parts, &prefix_size) != nullptr;
}

bool EndpointMap::ReadPlain(std::string_view url, int* account, std::string_view* path) const noexcept {
  for (const Entry& entry : entries_) {
    if (entry.usual.empty()) continue;
    // The endpoint and nothing behind it: no file, though a shorter prefix would make its identifier a file's name.
    if (url == std::string_view(entry.usual).substr(0, entry.usual.size() - 1)) return false;
    if (url.compare(0, entry.usual.size(), entry.usual) != 0) continue;
    const std::string_view rest = url.substr(entry.usual.size() - 1);
    if (!IsPlain(rest)) return false;
    *account = entry.account;
    *path = rest;
    return true;
  }
  return false;
}

const EndpointMap::Entry* EndpointMap::Match(const UrlParts& parts, size_t* prefix_size) const noexcept {
  for (const Entry& entry : entries_) {
    if (parts.port == entry.port && SameHost(parts.host, entry.host) &&
        BeginsWith(parts.path, entry.path, prefix_size)) {
      return &entry;
    }
  }
  return nullptr;
}

std::vector<LibraryPath> EndpointMap::OtherReadings(const UrlParts& parts, const Entry& matched) const {
  // Each reading keeps another number of the same segments, so no two of them are equal, nor is one equal to Read()'s.
  std::vector<LibraryPath> others;
  // What the prefix ends in matters to a suffix that would follow it, as in Read().
  const auto read = [&](std::string_view rest, std::string_view before) {
    LibraryPath other;
    const char* reason;
    if (ReadPath(rest, LooksLikeFileName(before), &other, &reason) != UrlClass::kLibraryFile) return;
    others.push_back(std::move(other));
  };

  // The row may be older than the endpoint: then "/acme/shop/x.jpg" meant the folder "shop" of the endpoint "acme".
  // A library path says nothing about its account, so a nested prefix of another account gives no reading.
  for (const Entry& entry : entries_) {
    size_t size;
    if (&entry == &matched || entry.account != matched.account) continue;
    if (entry.host != matched.host || entry.port != matched.port) continue;
    if (BeginsWith(parts.path, entry.path, &size)) {
      read(parts.path.substr(size), entry.path.substr(entry.path.rfind('/') + 1));
    }
  }

  // A custom domain reaches the account's other endpoints by their identifiers too, unless it is bound to one; which of
  // the two, its prefix does not say. Where the prefix ends in this identifier it stands there already.
  std::string_view rest = parts.path.substr(matched.path.size());
  rest.remove_prefix(std::min(rest.find_first_not_of('/'), rest.size()));
  const std::string_view first = rest.substr(0, rest.find('/'));
  // Decoded, because ImageKit may look for the identifier after decoding.
  const std::string identifier = Decode(first);
  if (identifier.empty() || identifier == Identifier(matched.host, matched.path)) return others;
  for (const Entry& entry : entries_) {
    if (entry.account == matched.account && identifier == Identifier(entry.host, entry.path)) {
      read(rest.substr(first.size()), first);
      break;
    }
  }
  return others;
}

}  // namespace imagekit
