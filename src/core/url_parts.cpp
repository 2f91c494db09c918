// Cuts a URL into its parts and decodes its escapes.
//
// It must never judge: which bytes are refused, and why, is decided in url_path.cpp and url_read.cpp, so that Owns(),
// Read() and UrlKey() all see the same parts of the same URL.

#include "core/url_parts.h"

#include <algorithm>
#include <cstring>

#include "core/core_only.h"

namespace imagekit {

namespace {

/// Compares without regard to case; `lower` is lower case already.
bool StartsWithLower(std::string_view text, std::string_view lower) noexcept {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(), [](char a, char b) { return a == Lower(b); });
}

/// -1 for anything but a hexadecimal digit.
int HexValue(char c) noexcept {
  if (IsDigit(c)) return c - '0';
  const char lower = Lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Splits "user@host.:0443" and drops what does not tell two addresses apart. False when the port is no number.
bool SplitAuthority(std::string_view authority, bool http, bool https, UrlParts* parts) noexcept {
  // The last "@": "https://ik.imagekit.io@evil.example/" goes to evil.example.
  const size_t user_end = authority.rfind('@');
  parts->has_user_info = user_end != std::string_view::npos;
  if (parts->has_user_info) authority.remove_prefix(user_end + 1);

  // The colons of an IPv6 address are inside its brackets.
  // Everything before the last bracket is left to the host, also when the address in it is nonsense: then it equals no
  // configured host.
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  parts->host = authority.substr(0, colon);
  // An absolute name: one dot and no more. "host.." is no name at all, and must not become one here.
  if (!parts->host.empty() && parts->host.back() == '.') parts->host.remove_suffix(1);

  parts->port = colon == std::string_view::npos ? std::string_view() : authority.substr(colon + 1);
  // Browsers refuse such a URL, so nobody sees an image through it.
  if (!std::all_of(parts->port.begin(), parts->port.end(), IsDigit)) return false;
  while (parts->port.size() > 1 && parts->port.front() == '0') parts->port.remove_prefix(1);
  if ((http && parts->port == "80") || (https && parts->port == "443")) parts->port = {};
  return true;
}

}  // namespace

size_t SchemeSize(std::string_view text) noexcept {
  // Nearly always, and asked more than once for every URL of every deleted row: one comparison.
  if (text.size() >= 8 && std::memcmp(text.data(), "https://", 8) == 0) return 8;
  if (StartsWithLower(text, "https://")) return 8;
  return StartsWithLower(text, "http://") ? 7 : 0;
}

size_t SchemeOrRelativeSize(std::string_view text) noexcept {
  // A host name begins with a letter or digit. An IPv6 address does not, but nobody writes one without its scheme.
  if (text.size() > 2 && text[0] == '/' && text[1] == '/' && IsAlnum(text[2])) return 2;
  return SchemeSize(text);
}

bool SplitUrl(std::string_view url, UrlParts* parts) noexcept {
  // Browsers pass over these too.
  size_t start = 0;
  while (start < url.size() && (IsSpace(url[start]) || IsControl(url[start]))) ++start;
  url.remove_prefix(start);

  const size_t scheme = SchemeOrRelativeSize(url);
  // Without a scheme the port may be the default of either.
  const bool http = scheme == 7 || scheme == 2;
  const bool https = scheme == 8 || scheme == 2;
  if (scheme == 0) return false;
  url.remove_prefix(scheme);

  size_t end = 0;  // of the authority
  while (end < url.size() && !IsSlash(url[end]) && url[end] != '?' && url[end] != '#' && !NeverInUrl(url[end])) ++end;
  if (!SplitAuthority(url.substr(0, end), http, https, parts)) return false;
  url.remove_prefix(end);

  // The fragment first: a question mark behind "#" begins no query.
  const size_t path_end = std::min({url.find('?'), url.find('#'), url.size()});
  parts->path = url.substr(0, path_end);
  parts->after_path = url.substr(path_end);
  const bool has_query = path_end < url.size() && url[path_end] == '?';
  const size_t fragment = url.find('#', path_end);
  parts->query =
      has_query ? url.substr(path_end + 1, std::min(fragment, url.size()) - path_end - 1) : std::string_view();
  return true;
}

size_t DecodeAt(std::string_view text, size_t at, char* decoded) noexcept {
  // What a broken escape means is left to the caller; here it is three ordinary characters.
  *decoded = text[at];
  if (text[at] != '%' || text.size() - at < 3) return 1;
  const int high = HexValue(text[at + 1]);
  const int low = HexValue(text[at + 2]);
  if (high < 0 || low < 0) return 1;
  *decoded = static_cast<char>(high * 16 + low);
  return 3;
}

bool HasBrokenEscape(std::string_view text) noexcept {
  // Three bytes on each time: a sound escape holds no second "%".
  for (size_t at = text.find('%'); at != std::string_view::npos; at = text.find('%', at + 3)) {
    char decoded;
    if (DecodeAt(text, at, &decoded) == 1) return true;
  }
  return false;
}

std::string Decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    char c;
    at += DecodeAt(text, at, &c);
    decoded += c;
  }
  return decoded;
}

size_t FindHtmlEntity(std::string_view text, size_t at) noexcept {
  for (at = text.find('&', at); at != std::string_view::npos; at = text.find('&', at + 1)) {
    size_t end = at + 1;
    if (end < text.size() && text[end] == '#') ++end;
    const size_t start = end;
    while (end < text.size() && IsAlnum(text[end])) ++end;
    if (end > start && end < text.size() && text[end] == ';') return at;
  }
  return std::string_view::npos;
}

size_t CodePointAt(std::string_view text, size_t at, char32_t* code_point) noexcept {
  const auto byte = [&](size_t offset) { return static_cast<unsigned char>(text[at + offset]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    *code_point = lead;
    return 1;
  }
  // 0xc0 and 0xc1 could only lead overlong forms; 0xf5 and above only numbers beyond Unicode.
  const size_t size = lead >= 0xc2 && lead <= 0xdf   ? 2
                      : (lead & 0xf0) == 0xe0        ? 3
                      : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                     : 0;
  if (size == 0 || text.size() - at < size) return 0;

  // The lead byte of a sequence of n bytes begins with n one bits and a zero.
  char32_t value = lead & (0xff >> (size + 1));
  for (size_t offset = 1; offset < size; ++offset) {
    if ((byte(offset) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(offset) & 0x3f);
  }
  // Overlong forms would be a second spelling of a character, such as a slash that no check sees.
  const bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  // Surrogates and numbers this high are no characters; PostgreSQL does not take them for text either.
  if (overlong || surrogate || value > 0x10ffff) return 0;
  *code_point = value;
  return size;
}

}  // namespace imagekit
