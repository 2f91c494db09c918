// UTF-8 checking, cleaning and the two encodings a request needs.
//
// Nothing here may look at the locale: the server sets one, and a byte must mean the same under every one of them.

#include "core/api_text.h"

#include <algorithm>
#include <cstdint>

#include "core/core_only.h"

namespace imagekit {

namespace {

/// The length of the well-formed character at the start of `text`, or 0 when there is none; its code point in `code`.
size_t CharacterAt(std::string_view text, uint32_t* code) noexcept {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    *code = lead;
    return 1;
  }
  // Lead bytes C0, C1 and F5 up cannot begin anything well-formed.
  const size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  uint32_t value = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  // Overlong three- and four-byte forms, surrogates, and what lies beyond Unicode.
  if (length == 3 && (value < 0x800 || (value >= 0xD800 && value <= 0xDFFF))) return 0;
  if (length == 4 && (value < 0x10000 || value > 0x10FFFF)) return 0;
  *code = value;
  return length;
}

/// Characters that break a line or steer a terminal.
bool IsControl(uint32_t code) noexcept {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x2028 || code == 0x2029;
}

bool IsUnreserved(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

}  // namespace

bool IsUtf8(std::string_view text) noexcept {
  while (!text.empty()) {
    uint32_t code;
    const size_t length = CharacterAt(text, &code);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string CleanText(std::string_view text, size_t max_bytes) {
  std::string clean;
  while (!text.empty()) {
    uint32_t code;
    const size_t length = CharacterAt(text, &code);
    const std::string_view next = length == 0 ? std::string_view("?") : IsControl(code) ? " " : text.substr(0, length);
    if (clean.size() + next.size() > max_bytes) break;
    clean += next;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return clean;
}

std::string HideSecrets(std::string text, const std::vector<SecretText>& secrets) {
  static constexpr char kMask[] = "***";
  for (const SecretText& secret : secrets) {
    if (secret.empty()) continue;
    size_t at = 0;
    while ((at = text.find(View(secret), at)) != std::string::npos) {
      text.replace(at, secret.size(), kMask);
      at += sizeof(kMask) - 1;  // never look into the mask: a key of "*" would be found there for ever
    }
  }
  return text;
}

template <typename Text>
Text Base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Text out;
  out.reserve(std::max<size_t>((bytes.size() + 2) / 3 * 4, 32));
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = bytes.size() - i;
    const auto byte = [&](size_t k) -> uint32_t { return k < left ? static_cast<unsigned char>(bytes[i + k]) : 0; };
    const uint32_t group = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += kDigits[group >> 18];
    out += kDigits[group >> 12 & 63];
    out += left > 1 ? kDigits[group >> 6 & 63] : '=';
    out += left > 2 ? kDigits[group & 63] : '=';
  }
  return out;
}

template <typename Text>
Text PercentEncode(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  Text out;
  out.reserve(std::max<size_t>(bytes.size(), 32));
  for (const char c : bytes) {
    if (IsUnreserved(c)) {
      out += c;
    } else {
      out += '%';
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

template std::string Base64<std::string>(std::string_view);
template SecretText Base64<SecretText>(std::string_view);
template std::string PercentEncode<std::string>(std::string_view);
template SecretText PercentEncode<SecretText>(std::string_view);

}  // namespace imagekit
