#include "core/url_words.h"

#include "core/unicode.h"
#include "core/url_parts.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr bool IsNameMark(char c) noexcept { return c == '.' || c == '-' || c == '_'; }
constexpr bool IsAscii(char c) noexcept { return static_cast<unsigned char>(c) < 0x80; }

/// Something, a dot, and an extension.
bool IsFileName(std::string_view word) noexcept { return ExtensionStart(word) > 1; }

/// A text of nothing but dots and letters would give a name for each of them, as long as all before it.
constexpr size_t kMostDots = 16;

void TakeWord(std::string_view word, std::vector<std::string_view>* names) {
  while (!word.empty() && IsNameMark(word.back())) word.remove_suffix(1);
  if (!IsFileName(word)) return;
  names->push_back(word);
  size_t dot = word.find('.', 1);
  for (size_t dots = 0; dot != std::string_view::npos && dots < kMostDots; ++dots, dot = word.find('.', dot + 1))
    if (IsFileName(word.substr(0, dot))) names->push_back(word.substr(0, dot));
  for (const std::string_view prefix : {"i-", "oi-", "di-", "ff-"})
    if (word.substr(0, prefix.size()) == prefix && IsFileName(word.substr(prefix.size())))
      names->push_back(word.substr(prefix.size()));
}

}  // namespace

void FindNames(std::string_view text, std::vector<std::string_view>* names) {
  size_t word = 0;     // where the present word begins
  size_t ascii = 0;    // and the part of it up to here that is ASCII throughout
  bool mixed = false;  // it has other letters, too
  for (size_t at = 0; at <= text.size();) {
    size_t separator = 1;
    if (at < text.size()) {
      if (IsAlnum(text[at]) || IsNameMark(text[at])) {
        ++at;
        continue;
      }
      if (!IsAscii(text[at])) separator = SeparatorAt(text, at);
    }
    if (separator == 0 || mixed) TakeWord(text.substr(ascii, at - ascii), names);
    if (separator == 0) {
      mixed = true;
      ascii = ++at;
      continue;
    }
    TakeWord(text.substr(word, at - word), names);
    at += separator;
    word = ascii = at;
    mixed = false;
  }
}

std::string WithoutBackslashes(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c != '\\' || at + 1 == text.size()) {
      plain += c;
      ++at;
      continue;
    }
    const char escaped = text[at + 1];
    char32_t code = 0;
    if (const size_t size = escaped == 'u' ? ReadUnicodeEscape(text, at + 2, &code) : 0; size > 0) {
      AppendUtf8(&plain, code);
      at += 2 + size;
    } else if (IsAlnum(escaped)) {
      // \n and the like; of others nothing is known.
      plain += std::string_view("nrtbf").find(escaped) != std::string_view::npos ? ' ' : '\\';
      at += plain.back() == ' ' ? 2 : 1;
    } else {
      plain += escaped;
      at += 2;
    }
  }
  return plain;
}

}  // namespace imagekit
