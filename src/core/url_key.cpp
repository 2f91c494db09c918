// UrlKey: the name under which every use of a file is found again.
//
// It must never tell two spellings of one library file apart: a use that is not found is an image deleted while a page
// still shows it. So where Read() refuses, the key still answers, and where in doubt it is the same for more files.
// An index may be built on it, so its answer for a given URL must not change between releases without a note.

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/unicode.h"
#include "core/url.h"
#include "core/url_layers.h"
#include "core/url_parts.h"
#include "core/url_path.h"
#include "core/url_words.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

/// "cat.jpg" and also "cat.jpg),": a file name and no more than punctuation after it.
bool EndsInFileName(std::string_view text) {
  while (!text.empty() && IsClosingPunctuation(text.back())) text.remove_suffix(1);
  return ExtensionStart(text) > 0;
}

/// The size of what ends a word at `at`: white space, a separator beyond ASCII, or a backslash ("cat.jpg\\nNext line"); otherwise
/// 0. Nothing else: Read() accepts whatever is no end of a word somewhere in a path.
size_t EndOfWordAt(std::string_view text, size_t at) noexcept {
  if (IsSpace(text[at]) || text[at] == '\\') return 1;
  return SeparatorAt(text, at);
}

/// Takes off the text behind a file name: "cat.jpg is nice" is "cat.jpg", while "my cat.jpg" stays. The same is done to
/// a decoded name, so that a file really called "cat.jpg is nice" has one key in every spelling.
std::string_view WithoutTrailingText(std::string_view text) {
  text = text.substr(0, text.find_first_of("\"<>`", 1));
  text = text.substr(0, FindLetterBehindName(text));
  size_t word = 0;  // so that each word is looked at once
  for (size_t at = 0; at < text.size();) {
    const size_t size = EndOfWordAt(text, at);
    if (size > 0 && EndsInFileName(text.substr(word, at - word))) return text.substr(0, at);
    at += std::max<size_t>(size, 1);
    if (size > 0) word = at;
  }
  return text;
}

/// The text up to the end of its first word.
std::string_view FirstWord(std::string_view text) {
  text = text.substr(0, text.find_first_of("\"<>`", 1));
  for (size_t at = 1; at < text.size(); ++at)
    if (EndOfWordAt(text, at) > 0) return text.substr(0, at);
  return text;
}

std::string_view WithoutClosingPunctuation(std::string_view text) noexcept {
  while (!text.empty()) {
    const bool ascii = IsClosingPunctuation(text.back()) || IsSpace(text.back());
    const size_t size = ascii ? 1 : SeparatorBefore(text, text.size());
    if (size == 0) break;
    text.remove_suffix(size);
  }
  return text;
}

/// "&#39;" or "&#x27;", of any character, at the start of `text`; its size, or 0.
size_t ReadNumber(std::string_view text, char32_t* decoded) noexcept {
  if (text.substr(0, 2) != "&#") return 0;
  const bool hex = text.size() > 2 && Lower(text[2]) == 'x';
  const size_t begin = hex ? 3 : 2;
  size_t at = begin;
  char32_t code = 0;
  for (; at < text.size() && at - begin < 8; ++at) {
    const char c = Lower(text[at]);
    if (!IsDigit(c) && !(hex && c >= 'a' && c <= 'f')) break;
    code = code * (hex ? 16 : 10) + static_cast<char32_t>(IsDigit(c) ? c - '0' : c - 'a' + 10);
  }
  if (at == begin || at == text.size() || text[at] != ';') return 0;
  if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
  *decoded = code == 0xa0 ? U' ' : code;
  return at + 1;
}

/// Reads a character reference at the start of `text`; returns its size, or 0 when it is none that an HTML writer puts
/// into a URL.
size_t ReadEntity(std::string_view text, char32_t* decoded) noexcept {
  struct Entity {
    std::string_view text;
    char32_t decoded;
  };
  constexpr Entity kEntities[] = {{"&amp;", '&'}, {"&AMP;", '&'}, {"&apos;", '\''}, {"&quot;", '"'},
                                  {"&lt;", '<'},  {"&gt;", '>'},  {"&nbsp;", ' '}};
  for (const Entity& entity : kEntities) {
    if (text.substr(0, entity.text.size()) != entity.text) continue;
    *decoded = entity.decoded;
    return entity.text.size();
  }
  return ReadNumber(text, decoded);
}

/// A text column may hold HTML, and the scanner leaves its entities alone: "it&#39;s.jpg" is a use of "it's.jpg".
std::string WithoutEntities(std::string_view url) {
  std::string decoded;
  decoded.reserve(url.size());
  for (size_t at = 0; at < url.size();) {
    char32_t c = 0;
    const size_t size = url[at] == '&' ? ReadEntity(url.substr(at), &c) : 0;
    if (size > 0)
      AppendUtf8(&decoded, c);
    else
      decoded += url[at];
    at += std::max<size_t>(size, 1);
  }
  return decoded;
}

/// The segments below the endpoint, as far as they can be known without configuration. A `tr:` or `ik-seo` segment
/// stands directly after the endpoint, so whatever is in front of the first one belongs to the endpoint. Without one
/// the endpoint's own segments stay in front; they change nothing, because only the end of the path makes the name.
std::vector<std::string_view> LikelySegments(std::string_view path) {
  std::vector<std::string_view> segments = SplitPath(path);
  segments.erase(std::remove_if(segments.begin(), segments.end(), [](auto segment) { return segment.empty(); }),
                 segments.end());
  const auto front = std::find_if(segments.begin(), segments.end(), IsFrontSegment);
  if (front != segments.end()) segments.erase(segments.begin(), front);
  return segments;
}

/// What of a decoded name tells files apart with certainty, as text that every database and every index takes.
std::string Coarse(std::string_view name) {
  // Read() refuses an encoded slash; the file meant is most likely the one behind it. A backslash may also begin an escape.
  name.remove_prefix(name.rfind('/') + 1);
  name = WithoutTrailingText(name);
  name.remove_prefix(name.rfind('\\') + 1);
  const std::string_view trimmed = WithoutClosingPunctuation(name);
  // A name of nothing but punctuation keeps it: a file without a key could not be looked up at all.
  if (!trimmed.empty()) name = trimmed;

  // Bytes that are no text are left out; a library file has none (Read() refuses them).
  std::string key;
  for (size_t at = 0; at < name.size();) {
    char32_t c = 0;
    const size_t size = CodePointAt(name, at, &c);
    const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    if (size > 0 && !control) {
      if (key.size() + size > kMaxUrlKeyBytes) break;
      key.append(name.substr(at, size));
    }
    at += std::max<size_t>(size, 1);
  }
  return key;
}

/// The name in a URL that holds nothing to be interpreted, as nearly all do; empty for any other. It is computed for every
/// URL of every row that is written into an indexed table, and what follows takes twenty times as long.
std::string_view PlainName(std::string_view url) noexcept {
  const size_t scheme = SchemeSize(url);
  if (scheme == 0 || url.substr(scheme, 1) == "/") return {};
  size_t name = 0;  // behind the last slash
  for (size_t at = scheme; at < url.size(); ++at) {
    const char c = url[at];
    if (c == '/') {
      name = at + 1;
      // What begins like this may be a part of ImageKit's grammar.
      const std::string_view start = url.substr(name, 3);
      if (start.size() == 3 && Lower(start[0]) == 'i' && Lower(start[1]) == 'k' && start[2] == '-') return {};
    } else if (!IsAlnum(c) && c != '-' && c != '_' && c != '.') {
      return {};
    }
  }
  const std::string_view rest = url.substr(name);
  // A name that ends in a dot loses it, and "." and ".." are none.
  if (name == 0 || rest.empty() || rest.back() == '.' || rest.size() > kMaxUrlKeyBytes) return {};
  return rest.find("..") == std::string_view::npos ? rest : std::string_view();  // "cat.jpg...and"
}

/// No URL is as long: what is longer is text with a URL in it, or many, and need not be taken apart like one.
constexpr size_t kLongestUrl = 65536;

/// The key of the file that a path, with or without an endpoint, means.
std::string KeyOfFile(std::string_view path) {
  if (path.size() > kLongestUrl) path.remove_prefix(path.size() - kLongestUrl);
  // Punctuation would hide a suffix of ImageKit's, or the extension of a name for search engines.
  const std::string_view trimmed = WithoutClosingPunctuation(path);
  if (!trimmed.empty() && !IsSlash(trimmed.back())) path = trimmed;

  const PathParts parts = TakePathApart(LikelySegments(path), false);
  std::vector<std::string_view> segments = parts.segments;
  // A browser would resolve these; whatever they lead to, the name in front of them is the best there is.
  while (!segments.empty() && (Decode(segments.back()) == "." || Decode(segments.back()) == "..")) segments.pop_back();
  if (segments.empty()) return {};

  // Broken escapes stay: "100%.jpg" in a row is most likely the file "100%.jpg".
  std::string name = Decode(segments.back());
  if (!parts.extension.empty()) name += "." + parts.extension;
  return Coarse(name);
}

/// Where the URL ends and text begins cannot be told: "…/my cat.jpg" may be "my", and "…/v1.2 cats/a.jpg" is no "v1.2".
bool MayEndEarlier(std::string_view url) noexcept {
  return std::any_of(url.begin(), url.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x80 || NeverInUrl(c) || c == '\\' || c == '&';
  });
}

/// A list of keys that is sorted, and rid of what it holds twice, before it is long.
class Keys {
 public:
  void Add(std::string key) {
    if (!key.empty()) keys_.push_back(std::move(key));
    if (keys_.size() >= 2 * distinct_ + 1024) Sort();
  }
  void Sort() {
    std::sort(keys_.begin(), keys_.end());
    keys_.erase(std::unique(keys_.begin(), keys_.end()), keys_.end());
    distinct_ = keys_.size();
  }
  std::vector<std::string> Take() { return std::move(keys_); }

 private:
  std::vector<std::string> keys_;
  size_t distinct_ = 0;
};

void AddNames(std::string_view text, Keys* keys) {
  std::vector<std::string_view> names;
  FindNames(text, &names);
  for (const std::string_view name : names) keys->Add(Coarse(name));
}

/// The same, with what is encoded, once or twice.
void AddNamesOfAll(std::string_view text, Keys* keys) {
  AddNames(text, keys);
  std::string before(text);
  for (int i = 0; i < 2 && before.find('%') != std::string::npos; i++) {
    std::string decoded = Decode(before);
    if (decoded == before) break;
    AddNames(decoded, keys);
    before = std::move(decoded);
  }
}

void AddOthers(std::string_view text, Keys* keys) {
  UrlParts parts;
  if (!SplitUrl(text, &parts)) return;
  if (MayEndEarlier(text)) {
    keys->Add(KeyOfFile(FirstWord(parts.path)));
    keys->Add(KeyOfFile(parts.path));
  }
  // Its file, if the path ends with the first name in it: "…/a.jpg|a caption", "…/a.jpg/tr:w-300".
  std::vector<std::string_view> names;
  FindNames(parts.path, &names);
  if (!names.empty()) {
    const auto end = static_cast<size_t>(names[0].data() - parts.path.data()) + names[0].size();
    keys->Add(KeyOfFile(parts.path.substr(0, end)));
  }
  const auto host_end = static_cast<size_t>(parts.host.data() - text.data()) + parts.host.size();
  AddNamesOfAll(text.substr(host_end), keys);
  if (parts.path.size() + parts.after_path.size() > kLongestUrl) return;
  std::vector<std::string> layers;
  FindLayerFiles(parts.path, parts.after_path, &layers);
  for (const std::string& name : layers) {
    keys->Add(Coarse(name));
    AddNamesOfAll(name, keys);
  }
}

}  // namespace

std::string UrlKey(std::string_view url) {
  if (const std::string_view name = PlainName(url); !name.empty()) return std::string(name);
  // None of this changes a URL that Read() accepts: its path holds no white space, no quote, no entity, and none of the rest.
  const std::string plain = WithoutEntities(url);
  UrlParts parts;
  if (!SplitUrl(plain, &parts)) return {};
  return KeyOfFile(WithoutTrailingText(parts.path));
}

std::vector<std::string> OtherUrlKeys(std::string_view url) {
  if (!PlainName(url).empty()) return {};
  const std::string own = UrlKey(url);
  Keys found;
  const std::string plain = WithoutEntities(url);
  AddOthers(plain, &found);
  if (plain.find('\\') != std::string::npos) AddOthers(WithoutBackslashes(plain), &found);
  found.Sort();
  std::vector<std::string> keys = found.Take();
  keys.erase(std::remove(keys.begin(), keys.end(), own), keys.end());
  return keys;
}

}  // namespace imagekit
