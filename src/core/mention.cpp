// MentionScanner: what could be a URL of an account, in any spelling.
//
// The text is decoded on the way, a character at a time, and compared with the hosts; in doubt it is a mention. Which escapes
// there are and who wrote them cannot be known, so all that are in use are undone, and undone again: "%252F", "&amp;#47;",
// "\\\/". A mention too many costs the operator a look at a column; one too few costs files.

#include "core/mention.h"

#include <algorithm>

#include "core/url.h"
#include "core/url_parts.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

int HexDigit(std::string_view text, size_t at) noexcept {
  if (at >= text.size()) return -1;
  const char c = Lower(text[at]);
  return IsDigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// The number of `digits` hexadecimal digits at `at`; -1 when there are fewer.
int HexAt(std::string_view text, size_t at, size_t digits) noexcept {
  int value = 0;
  for (size_t i = 0; i < digits; ++i) {
    const int digit = HexDigit(text, at + i);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/// A host and a prefix are ASCII: which other letter it is does not matter.
char Ascii(int code) noexcept { return code >= 0 && code < 0x80 ? static_cast<char>(code) : '\x7f'; }

bool Has(std::string_view text, size_t at, std::string_view what) noexcept {
  return at <= text.size() && text.substr(at, what.size()) == what;
}

/// "%2F", "%252F", "%u002F".
size_t DecodePercent(std::string_view text, size_t at, char* c) noexcept {
  size_t digits = at + 1;
  while (Has(text, digits, "25") && HexAt(text, digits + 2, 2) >= 0) digits += 2;
  if (HexAt(text, digits, 2) >= 0) {
    *c = Ascii(HexAt(text, digits, 2));
    return digits + 2 - at;
  }
  if (digits < text.size() && Lower(text[digits]) == 'u' && HexAt(text, digits + 1, 4) >= 0) {
    *c = Ascii(HexAt(text, digits + 1, 4));
    return digits + 5 - at;
  }
  *c = '%';
  return 1;
}

/// "\/", "\u002f", "\x2f", each with any number of backslashes. Any other is a slash, as browsers take it.
size_t DecodeBackslash(std::string_view text, size_t at, char* c) noexcept {
  size_t end = std::min(text.find_first_not_of('\\', at), text.size());
  const char letter = end < text.size() ? Lower(text[end]) : '\0';
  const size_t digits = letter == 'u' ? 4 : letter == 'x' ? 2 : 0;
  const int code = digits == 0 ? -1 : HexAt(text, end + 1, digits);
  *c = code < 0 ? '/' : Ascii(code);
  return (code < 0 ? end : end + 1 + digits) - at;
}

/// "&#47;", "&#x2f;", "&sol;", "&amp;#47;".
size_t DecodeEntity(std::string_view text, size_t at, char* c) noexcept {
  size_t name = at + 1;
  while (Has(text, name, "amp;")) name += 4;
  *c = '&';
  if (Has(text, name, "#")) {
    const bool hex = name + 1 < text.size() && Lower(text[name + 1]) == 'x';
    size_t end = name + (hex ? 2 : 1);
    const size_t begin = end;
    int code = 0;
    for (int digit; end - begin < 8 && (digit = HexDigit(text, end)) >= 0 && (hex || digit < 10); ++end)
      code = std::min(code * (hex ? 16 : 10) + digit, 0x10ffff);
    if (end == begin) return name - at;
    *c = Ascii(code);
    return end + (Has(text, end, ";") ? 1 : 0) - at;
  }
  constexpr struct {
    std::string_view name;
    char c;
  } kNamed[] = {{"sol;", '/'}, {"bsol;", '\\'}, {"colon;", ':'}, {"period;", '.'}, {"percnt;", '%'}, {"dash;", '-'}};
  for (const auto& named : kNamed) {
    if (!Has(text, name, named.name)) continue;
    *c = named.c;
    return name + named.name.size() - at;
  }
  return name - at;
}

/// The character at `at`, undone from its escapes, and how many bytes it takes there.
size_t LooseAt(std::string_view text, size_t at, char* c) noexcept {
  switch (text[at]) {
    case '%':
      return DecodePercent(text, at, c);
    case '\\':
      return DecodeBackslash(text, at, c);
    case '&':
      return DecodeEntity(text, at, c);
    default:
      *c = text[at];
      return 1;
  }
}

/// What can stand in a host beside the letter compared, so that it is another one. "_" cannot: Markdown has it before a URL.
bool IsHostLetter(char c) noexcept { return IsAlnum(c) || c == '-' || c == '.'; }

/// Does an escape end right before `at`? Then its last letter is none of the host's.
bool EscapeEndsAt(std::string_view text, size_t at) noexcept {
  if (at >= 2 && text[at - 2] == '\\') return true;  // \n
  if (at >= 3 && HexAt(text, at - 2, 2) >= 0) {
    size_t begin = at - 2;
    for (int times = 0; times < 4 && begin >= 2 && Has(text, begin - 2, "25"); ++times) begin -= 2;
    if (begin >= 1 && text[begin - 1] == '%') return true;
    if (at >= 4 && Lower(text[at - 3]) == 'x' && text[at - 4] == '\\') return true;
  }
  if (at >= 6 && HexAt(text, at - 4, 4) >= 0 && Lower(text[at - 5]) == 'u' &&
      (text[at - 6] == '\\' || text[at - 6] == '%'))
    return true;
  size_t digits = at;  // &#47 without its semicolon
  while (digits > 0 && at - digits < 8 && HexDigit(text, digits - 1) >= 0) --digits;
  if (digits > 0 && Lower(text[digits - 1]) == 'x') --digits;
  return digits >= 2 && digits < at && text[digits - 1] == '#';
}

bool BeginsHost(std::string_view text, size_t at) noexcept {
  if (at > 0 && text[at] == '\\' && text[at - 1] == '\\') return false;  // within a run, which is decoded as one
  return at == 0 || !IsHostLetter(text[at - 1]) || EscapeEndsAt(text, at);
}

/// Behind slashes and "." segments, from `at` on.
size_t SkipSlashes(std::string_view text, size_t at) noexcept {
  while (at < text.size()) {
    char c, next;
    const size_t size = LooseAt(text, at, &c);
    if (!IsSlash(c)) {
      if (c != '.' || at + size >= text.size()) break;
      (void)LooseAt(text, at + size, &next);
      if (!IsSlash(next)) break;
    }
    at += size;
  }
  return at;
}

bool IsSegmentLetter(char c) noexcept {
  return IsAlnum(c) || c == '_' || c == '-' || c == '~' || static_cast<unsigned char>(c) >= 0x7f;
}

bool SegmentLetterAt(std::string_view text, size_t at) noexcept {
  char c;
  // A control character ends it, other than an escape of a letter that is not ASCII.
  return at < text.size() && text[at] != '\x7f' && (LooseAt(text, at, &c), IsSegmentLetter(c));
}

/// Does the text go on with `path` from `at` on, and does the segment end there?
bool GoesOnWith(std::string_view text, size_t at, std::string_view path, size_t* end) noexcept {
  for (char expected : path) {
    if (at >= text.size()) return false;
    if (expected == '/') {
      const size_t behind = SkipSlashes(text, at);
      if (behind == at) return false;
      at = behind;
      continue;
    }
    char c;
    at += LooseAt(text, at, &c);
    if (Lower(c) != expected) return false;
  }
  *end = at;
  return !SegmentLetterAt(text, at);
}

/// Behind a port, if there is one.
size_t SkipPort(std::string_view text, size_t at) noexcept {
  char c;
  if (at >= text.size()) return at;
  size_t end = at + LooseAt(text, at, &c);
  if (c != ':') return at;
  while (end < text.size() && IsDigit(text[end])) ++end;
  return end;
}

}  // namespace

MentionMap::MentionMap() {
  for (const std::string_view host : kSharedHosts) Find(host).shared = true;
  for (char escape : {'%', '\\', '&'}) starts_[static_cast<unsigned char>(escape)] = true;
}

MentionMap::Host& MentionMap::Find(std::string_view name) {
  for (Host& host : hosts_)
    if (host.name == name) return host;
  starts_[static_cast<unsigned char>(name[0])] = true;
  if (name[0] >= 'a' && name[0] <= 'z') starts_[static_cast<unsigned char>(name[0] - 'a' + 'A')] = true;
  return hosts_.emplace_back(Host{std::string(name), false, {}});
}

void MentionMap::Add(int account, std::string_view prefix) {
  UrlParts parts;
  if (!SplitUrl(prefix, &parts) || parts.host.empty()) return;
  std::string name(parts.host);
  std::string path(parts.path);
  std::transform(name.begin(), name.end(), name.begin(), Lower);
  std::transform(path.begin(), path.end(), path.begin(), Lower);
  while (!path.empty() && path.back() == '/') path.pop_back();
  std::vector<Prefix>& prefixes = Find(name).prefixes;
  for (Prefix& other : prefixes) {
    if (other.path != path) continue;
    // Two accounts whose prefixes differ in case, or in their ports: whose a mention is cannot be told.
    if (other.account != account) other.account = kNoAccount;
    return;
  }
  const auto place = std::find_if(prefixes.begin(), prefixes.end(),
                                  [&](const Prefix& other) { return other.path.size() < path.size(); });
  prefixes.insert(place, Prefix{path, account});
}

bool MentionScanner::MatchHost(const MentionMap::Host& host, Mention* mention) const noexcept {
  size_t at = position_;
  char c;
  for (char expected : host.name) {
    if (at >= text_.size()) return false;
    at += LooseAt(text_, at, &c);
    if (Lower(c) != expected) return false;
  }
  if (at < text_.size()) {
    size_t size = LooseAt(text_, at, &c);
    if (c == '.') {  // of an absolute name, or of a sentence
      at += size;
      c = ' ';
      if (at < text_.size()) (void)LooseAt(text_, at, &c);
    }
    if (IsAlnum(c) || c == '-') return false;  // a longer name
  }
  const size_t path = SkipPort(text_, at);
  const size_t segment = SkipSlashes(text_, path);
  const bool slash = segment > path;
  mention->at = position_;
  for (const MentionMap::Prefix& prefix : host.prefixes) {
    // Where the host ends is known already.
    if (!GoesOnWith(text_, path, prefix.path, &mention->end) && !prefix.path.empty()) continue;
    // A bare name in a sentence, or in a mail address, is none; in a URL it is one without a path.
    const bool in_url = position_ > 0 && (IsSlash(text_[position_ - 1]) || EscapeEndsAt(text_, position_));
    if (prefix.path.empty() && !slash && !in_url) continue;
    mention->account = prefix.account;
    return true;
  }
  mention->account = kNoAccount;
  mention->end = segment;
  return host.shared && slash && SegmentLetterAt(text_, segment);
}

bool MentionScanner::Next(Mention* mention) noexcept {
  for (; position_ < text_.size(); ++position_) {
    if (!map_.starts_[static_cast<unsigned char>(text_[position_])] || !BeginsHost(text_, position_)) continue;
    for (const MentionMap::Host& host : map_.hosts_) {
      if (!MatchHost(host, mention)) continue;
      position_ = mention->end;
      return true;
    }
  }
  return false;
}

namespace {

/// "acme.imagekit.io": an account's own, as older ones have it. Not ImageKit's for other things.
bool IsDeliveryHost(std::string_view host) noexcept {
  for (const std::string_view domain : {".imagekit.io", ".imgkit.net"}) {
    if (host.size() <= domain.size() || host.substr(host.size() - domain.size()) != domain) continue;
    const std::string_view name = host.substr(0, host.size() - domain.size());
    for (const std::string_view other : {"ik", "api", "upload", "www", "docs", "blog", "status", "dashboard", "help"})
      if (name == other) return false;
    return true;
  }
  return false;
}

}  // namespace

bool LooksLikeImageKit(std::string_view url) noexcept {
  UrlParts parts;
  if (!SplitUrl(url, &parts)) return false;
  if (IsDeliveryHost(parts.host) && parts.path.size() > 1) return true;
  if (parts.path.find("/tr:") != std::string_view::npos) return true;
  if (parts.query.find("ik-sdk-version=") != std::string_view::npos) return true;
  // "tr=w-300", "tr=n-card": a parameter of this name that begins as a transformation does
  for (size_t at = 0; (at = parts.query.find("tr=", at)) != std::string_view::npos; at += 3) {
    if (at > 0 && parts.query[at - 1] != '&' && parts.query[at - 1] != ';') continue;
    size_t end = at + 3;
    while (end < parts.query.size() && Lower(parts.query[end]) >= 'a' && Lower(parts.query[end]) <= 'z') ++end;
    if (end > at + 3 && end < at + 7 && end < parts.query.size() && parts.query[end] == '-') return true;
  }
  return false;
}

}  // namespace imagekit
