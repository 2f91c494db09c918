// Code points: written as UTF-8, and read from the escapes of JSON.

#ifndef IMAGEKIT_CORE_UNICODE_H
#define IMAGEKIT_CORE_UNICODE_H

#include <string>
#include <string_view>

namespace imagekit {

/// `code` must be a code point.
void AppendUtf8(std::string* text, char32_t code);

/// The escape behind "\u" at `at`: four hexadecimal digits, and where they are the first half of a pair, "\u" and the second. Its
/// size, or 0 when there are no four digits. What is no character (a half alone, U+0000) is "?".
size_t ReadUnicodeEscape(std::string_view text, size_t at, char32_t* code) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_UNICODE_H
