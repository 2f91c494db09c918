#include "core/unicode.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

/// The number of four hexadecimal digits; -1 when there are none.
int Unit(std::string_view text, size_t at) noexcept {
  if (text.size() < 4 || at > text.size() - 4) return -1;
  int unit = 0;
  for (char c : text.substr(at, 4)) {
    const char lower = static_cast<char>(c | 0x20);
    if (c >= '0' && c <= '9')
      unit = unit * 16 + (c - '0');
    else if (lower >= 'a' && lower <= 'f')
      unit = unit * 16 + (lower - 'a' + 10);
    else
      return -1;
  }
  return unit;
}

}  // namespace

void AppendUtf8(std::string* text, char32_t code) {
  const auto add = [text](char32_t byte) { *text += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xc0 | code >> 6);
    add(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    add(0xe0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3f));
    add(0x80 | (code & 0x3f));
  } else {
    add(0xf0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3f));
    add(0x80 | (code >> 6 & 0x3f));
    add(0x80 | (code & 0x3f));
  }
}

size_t ReadUnicodeEscape(std::string_view text, size_t at, char32_t* code) noexcept {
  const int unit = Unit(text, at);
  if (unit < 0) return 0;
  size_t size = 4;
  *code = static_cast<char32_t>(unit);
  if (unit >= 0xd800 && unit <= 0xdbff && text.substr(at + 4, 2) == "\\u") {
    const int low = Unit(text, at + 6);
    if (low >= 0xdc00 && low <= 0xdfff) {
      size = 10;
      *code = static_cast<char32_t>(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
    }
  }
  if (*code == 0 || (*code >= 0xd800 && *code <= 0xdfff)) *code = '?';
  return size;
}

}  // namespace imagekit
