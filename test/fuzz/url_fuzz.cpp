// Any bytes as a URL: Owns(), Read(), ReadPlain() and UrlKey() keep what url.h promises, and other spellings of a library
// file's URL stay URLs of that file.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/api_request.h"
#include "core/url.h"
#include "core/url_parts.h"
#include "endpoints.h"
#include "require.h"

namespace imagekit::fuzz {
namespace {

/// A control character, or bytes that are no UTF-8.
bool HasControl(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    char32_t c = 0;
    const size_t size = CodePointAt(text, at, &c);
    if (size == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0)) return true;
    at += size;
  }
  return false;
}

std::vector<std::string_view> Segments(std::string_view path) {
  std::vector<std::string_view> segments;
  for (size_t start = 1; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    segments.push_back(path.substr(start, end - start));
    start = end + 1;
  }
  return segments;
}

void CheckPath(const LibraryPath& path, std::string_view url) {
  const std::string whole = path.FilePath();
  Require(!HasControl(whole), "a library path is text without control characters", url, whole);
  Require(whole[0] == '/' && whole.find('\\') == std::string::npos, "a library path has no backslash", url, whole);
  for (const std::string_view segment : Segments(whole)) {
    Require(!segment.empty() && segment != "." && segment != "..", "each segment is a name", url, whole);
  }
  Require(path.name.find('/') == std::string::npos, "the name is the last segment", url, path.name);
  Require(WhyNotFindable(path).empty(), "what is read can be looked up", url, whole);
}

UrlReading CheckReading(std::string_view url) {
  const EndpointMap& endpoints = Endpoints();
  UrlReading reading = endpoints.Read(url);
  const bool file = reading.kind == UrlClass::kLibraryFile;
  const bool explained = reading.kind == UrlClass::kSkipped || reading.kind == UrlClass::kRefused;
  Require(endpoints.Owns(url) == (reading.kind != UrlClass::kForeign), "owned is what is not foreign", url);
  Require((reading.account >= 0) == (reading.kind != UrlClass::kForeign), "an account unless foreign", url);
  Require(reading.reason.empty() != explained, "a reason where and only where one is needed", url, reading.reason);
  Require(file || (reading.path == LibraryPath() && reading.other_readings.empty()), "no path unless a file", url);

  const std::string key = UrlKey(url);
  Require(key.size() <= kMaxUrlKeyBytes && !HasControl(key), "a key is short, clean text", url, key);
  int account = -1;
  std::string_view plain;
  if (endpoints.ReadPlain(url, &account, &plain)) {
    Require(file, "a plain URL is a library file's", url, reading.reason);
    Require(account == reading.account && plain == reading.path.FilePath(), "plain or not, one reading", url, plain);
  }
  if (!file) return reading;

  Require(!key.empty(), "a library file has a key", url);
  CheckPath(reading.path, url);
  if (reading.other_readings.empty()) return reading;
  std::set<std::string> paths = {reading.path.FilePath()};
  for (const LibraryPath& other : reading.other_readings) {
    CheckPath(other, url);
    Require(paths.insert(other.FilePath()).second, "readings differ", url, other.FilePath());
  }
  return reading;
}

/// A library file's URL and what is known of it.
struct Known {
  std::string_view url;
  const UrlReading& reading;
  std::string key;
};

/// Another spelling. `or_refused`: it may be one that Read() does not trust. What else must hold of it is checked when
/// it is an input itself.
void CheckSame(const Known& known, const std::string& other, bool or_refused = false) {
  const UrlReading again = Endpoints().Read(other);
  if (or_refused && again.kind == UrlClass::kRefused) return;
  Require(again.kind == UrlClass::kLibraryFile, "another spelling is read too", known.url, other);
  Require(again.account == known.reading.account && again.path == known.reading.path, "another spelling, one file",
          known.url, other);
  Require(UrlKey(other) == known.key, "another spelling, one key", known.url, other);
}

/// A library file's URL, cut by what it begins with and the configuration; not by the code under test.
struct Cut {
  std::string_view before;  // scheme, host and port
  const Prefix* prefix = nullptr;
  std::string_view rest;  // below the endpoint, from its slash on
  std::string_view after;
};

Cut CutUp(std::string_view url) {
  UrlParts parts;
  SplitUrl(url, &parts);
  std::string host(parts.host);
  for (char& c : host) c = Lower(c);
  Cut cut;
  cut.before = url.substr(0, static_cast<size_t>(parts.path.data() - url.data()));
  cut.after = parts.after_path;
  for (const Prefix& prefix : kPrefixes) {
    if (prefix.host != host || prefix.port != parts.port) continue;
    if (parts.path.substr(0, prefix.path.size()) != prefix.path) continue;
    const std::string_view rest = parts.path.substr(prefix.path.size());
    if (rest.empty() || rest[0] != '/') continue;
    if (cut.prefix != nullptr && cut.prefix->path.size() > prefix.path.size()) continue;
    cut.prefix = &prefix;
    cut.rest = rest;
  }
  Require(cut.prefix != nullptr, "a library file lies under an endpoint", url);
  return cut;
}

std::string Escape(char c) {
  char escape[4];
  snprintf(escape, sizeof escape, "%%%02X", static_cast<unsigned char>(c));
  return escape;
}

bool IsUnreserved(char c) { return IsAlnum(c) || c == '-' || c == '.' || c == '_' || c == '~'; }

/// Nothing in it has a meaning to ImageKit.
bool HasNoWords(std::string_view rest) {
  const std::string decoded = Decode(rest);
  for (const std::string_view segment : Segments(decoded)) {
    if (segment.substr(0, 3) == "tr:" || segment.substr(0, 3) == "ik-") return false;
  }
  return true;
}

/// One byte of the path, chosen by `choice`, written as an escape. A word of ImageKit's in escapes is not trusted.
void CheckEscaped(const Known& known, const Cut& cut, size_t choice) {
  std::vector<size_t> places;
  for (size_t at = 0; at < cut.rest.size(); ++at) {
    if (IsUnreserved(cut.rest[at])) places.push_back(at);
    if (cut.rest[at] == '%') at += 2;
  }
  if (places.empty()) return;
  const size_t at = places[choice % places.size()];
  const size_t path_start = static_cast<size_t>(cut.rest.data() - known.url.data());
  std::string other(known.url);
  other.replace(path_start + at, 1, Escape(cut.rest[at]));
  CheckSame(known, other, !HasNoWords(cut.rest));
}

/// Whether the server decodes before it looks for its words is not known.
void CheckWordsArePlain(const Known& known, const Cut& cut) {
  const std::string_view path = cut.rest.substr(std::min(cut.rest.find_first_not_of('/'), cut.rest.size()));
  const std::string_view first = path.substr(0, path.find('/'));
  const std::string decoded = Decode(first);
  if (decoded == "ik-seo") Require(first == decoded, "no file behind a disguised ik-seo", known.url);
  if (decoded.substr(0, 3) == "tr:") Require(first.substr(0, 2) == "tr", "no file behind a disguised tr:", known.url);
}

void CheckAliases(const Known& known, const Cut& cut) {
  const std::string_view path = cut.rest.substr(std::min(cut.rest.find_first_not_of('/'), cut.rest.size()));
  if (NamesAnEndpoint(Decode(path.substr(0, path.find('/'))))) return;
  for (const Prefix& alias : kPrefixes) {
    if (alias.endpoint != cut.prefix->endpoint) continue;
    CheckSame(known, alias.Text() + std::string(cut.rest) + std::string(cut.after));
  }
}

/// The library path itself as a URL, escaped and as a file with an SEO name: where that is read as this path,
/// the key must be this URL's.
void CheckCanonical(const Known& known, size_t choice) {
  const LibraryPath& path = known.reading.path;
  const std::string whole = path.FilePath();
  std::string needed;
  std::string all;
  for (const char c : whole) {
    needed += IsAlnum(c) || std::string_view("/-._~!$'()*+,;=:@").find(c) != std::string_view::npos ? std::string(1, c)
                                                                                                    : Escape(c);
    all += c == '/' ? std::string(1, c) : Escape(c);
  }
  std::vector<std::string> paths = {needed, all, "/tr:w-1" + needed};
  const size_t dot = path.name.rfind('.');
  if (dot != std::string::npos) {
    const size_t extension = path.name.size() - dot;
    size_t raw_extension = 0;
    for (size_t i = 0; i < extension; ++i) {
      raw_extension += all[all.size() - raw_extension - 1] == '/' ? 1 : 3;
    }
    paths.push_back("/ik-seo" + all.substr(0, all.size() - raw_extension) + "/nice" + path.name.substr(dot));
  }
  // One endpoint each: all of them under all of them would take most of the time of a run.
  constexpr std::string_view kEndpoints[] = {"https://ik.imagekit.io/acme", "https://img.acme.example/img.v2",
                                             "//shop-img.acme.example", "http://ik.imagekit.io/globex/ik-new"};
  for (const std::string& spelled : paths) {
    const std::string other = std::string(kEndpoints[choice++ % std::size(kEndpoints)]) + spelled;
    const UrlReading again = Endpoints().Read(other);
    if (again.kind != UrlClass::kLibraryFile || !(again.path == path)) continue;
    Require(UrlKey(other) == known.key, "two URLs of one path have one key", known.url, other);
  }
}

void CheckSpellings(const UrlReading& reading, std::string_view url) {
  const Known known = {url, reading, UrlKey(url)};
  const Cut cut = CutUp(url);
  const std::string before(cut.before);
  const std::string prefix(cut.prefix->path);
  const std::string rest(cut.rest);
  const std::string after(cut.after);
  const size_t choice = url.size() * 7 + static_cast<unsigned char>(url[url.size() / 2]);

  UrlScanner scanner(url);
  std::string_view found;
  Require(scanner.Next(&found) && found == url && !scanner.Next(&found), "what names one file is one URL", url, found);

  CheckSame(known, std::string(url) + "#f");
  const bool query = !after.empty() && after[0] == '?';
  CheckSame(known, before + prefix + rest + "?x=1" + (query ? "&" + after.substr(1) : after));
  CheckSame(known, before + prefix + rest);

  std::string turned = before;
  for (char& c : turned) c = c == Lower(c) && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : Lower(c);
  CheckSame(known, turned + prefix + rest + after);

  // Behind the slashes that double the endpoint's: behind a transformation they would be empty segments.
  const size_t slashes = std::min(rest.find_first_not_of('/'), rest.size());
  for (const char* front : {"tr:w-9,h-8:rt-90/", "tr%3Aw-9/", "tr:l-image,i-/a/b.png,l-end/"}) {
    CheckSame(known, before + prefix + rest.substr(0, slashes) + front + rest.substr(slashes) + after);
  }
  CheckWordsArePlain(known, cut);
  CheckEscaped(known, cut, choice);
  CheckAliases(known, cut);
  CheckCanonical(known, choice);
}

/// What holds nothing that needs an interpretation must be read, and as it stands.
void CheckSimple(const UrlReading& reading, std::string_view url) {
  if (reading.kind != UrlClass::kRefused && reading.kind != UrlClass::kLibraryFile) return;
  for (const Prefix& prefix : kPrefixes) {
    const std::string text = prefix.Text() + "/";
    if (url.substr(0, text.size()) != text || reading.account != prefix.account) continue;
    const std::string_view rest = url.substr(text.size() - 1);
    bool simple = !HasControl(rest) && rest.find_first_of("%\\?#&\"<>` ") == std::string_view::npos &&
                  FindSeparator(rest, 0) == std::string_view::npos &&
                  FindLetterBehindName(rest) == std::string_view::npos && !IsClosingPunctuation(rest.back());
    bool first = true;
    for (const std::string_view segment : Segments(rest)) {
      simple = simple && !segment.empty() && segment[0] != '.' && segment.substr(0, 3) != "tr:" &&
               segment.substr(0, 3) != "ik-" && !(first && NamesAnEndpoint(segment));
      first = false;
    }
    if (!simple) continue;
    Require(reading.kind == UrlClass::kLibraryFile, "a simple URL is read", url, reading.reason);
    Require(reading.path.FilePath() == rest, "a simple URL is read as it stands", url, reading.path.FilePath());
  }
}

}  // namespace
}  // namespace imagekit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace imagekit::fuzz;
  const std::string_view url(reinterpret_cast<const char*>(data), size);
  const imagekit::UrlReading reading = CheckReading(url);
  CheckSimple(reading, url);
  if (reading.kind == imagekit::UrlClass::kLibraryFile) CheckSpellings(reading, url);
  return 0;
}
