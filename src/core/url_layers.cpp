// Files that a transformation uses beside the one it transforms: "l-image,i-logos@@o.png,l-end", "ie-" and base64, "oi-", "di-", "ff-".
//
// It must never overlook one: a file that nothing seems to use is deleted. Whether a builder encoded single values or a
// transformation as a whole cannot be told, so both are tried.

#include "core/url_layers.h"

#include <algorithm>

#include "core/url_parts.h"
#include "core/url_path.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

/// -1 for what is no digit of base64, in either alphabet.
int Base64Digit(char c) noexcept {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (IsDigit(c)) return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  return c == '/' || c == '_' ? 63 : -1;
}

/// Padding or not; what is no base64 is passed over.
std::string FromBase64(std::string_view text) {
  std::string bytes;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = Base64Digit(c);
    if (digit < 0) continue;
    bits = (bits << 6 | static_cast<unsigned>(digit)) & 0xffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

/// Each segment of a path that is written with "@@" or "/". Its end is not known where slashes stand raw in the URL's own path.
void TakeNames(std::string path, std::vector<std::string>* names) {
  for (size_t at = path.find("@@"); at != std::string::npos; at = path.find("@@", at + 2)) path.replace(at, 2, "//");
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    if (end > start) names->push_back(path.substr(start, end - start));
    start = end + 1;
  }
}

/// Tokens are separated by commas and colons. A text's own "i-" is what it says, and no file.
void TakeTokens(std::string_view transformation, std::vector<std::string>* names) {
  bool text = false;
  for (size_t start = 0; start <= transformation.size();) {
    const size_t end = std::min(transformation.find_first_of(",:", start), transformation.size());
    const std::string_view token = transformation.substr(start, end - start);
    start = end + 1;
    const size_t dash = token.find('-');
    if (dash == std::string_view::npos) continue;
    const std::string_view what = token.substr(0, dash);
    const std::string_view value = token.substr(dash + 1);
    if (what == "l") text = value == "text";
    if (what == "ie" && !text) TakeNames(FromBase64(Decode(value)), names);
    if ((what == "i" && !text) || what == "oi" || what == "di" || what == "ff") TakeNames(Decode(value), names);
  }
}

void TakeTransformation(std::string_view transformation, std::vector<std::string>* names) {
  TakeTokens(transformation, names);
  const std::string decoded = Decode(transformation);
  if (decoded != transformation) TakeTokens(decoded, names);
}

}  // namespace

void FindLayerFiles(std::string_view path, std::string_view after_path, std::vector<std::string>* names) {
  // All that follows the first: a layer's path may hold slashes, and a second transformation may come behind it.
  size_t start = 0;
  for (std::string_view segment : SplitPath(path)) {
    start = static_cast<size_t>(segment.data() - path.data());
    if (IsFrontSegment(segment) && Decode(segment.substr(0, 6)).substr(0, 3) == "tr:") break;
    start = path.size();
  }
  if (start < path.size()) {
    // A slash ends the token that a segment of its own begins with.
    std::string rest(path.substr(start));
    for (const char* word : {"/tr:", "/tr%3"})
      for (size_t at = rest.find(word); at != std::string::npos; at = rest.find(word, at + 1)) rest[at] = ',';
    TakeTransformation(rest, names);
  }
  for (size_t begin = 0; begin < after_path.size();) {
    ++begin;  // behind "?", "#" or "&"
    const size_t end = std::min(after_path.find_first_of("&#?", begin), after_path.size());
    const std::string_view parameter = after_path.substr(begin, end - begin);
    if (const size_t equals = parameter.find('=');
        equals != std::string_view::npos && Decode(parameter.substr(0, equals)) == "tr")
      TakeTransformation(parameter.substr(equals + 1), names);
    begin = end;
  }
}

}  // namespace imagekit
