// Text from outside, made fit to be kept: what a server, a proxy or libcurl said goes into a database column and a log.

#ifndef IMAGEKIT_CORE_API_TEXT_H
#define IMAGEKIT_CORE_API_TEXT_H

#include <string>
#include <string_view>
#include <vector>

#include "core/secret.h"

namespace imagekit {

/// The most bytes of Answer::detail.
constexpr size_t kMaxDetailBytes = 500;

/// True for well-formed UTF-8: no overlong form, no surrogate, nothing above U+10FFFF. U+0000 is well-formed.
bool IsUtf8(std::string_view text) noexcept;

/// `text` in one line of valid UTF-8: control characters (C0, DEL, C1, line and paragraph separator) become spaces,
/// each byte that belongs to no character becomes '?', and at most `max_bytes` are kept, cut between two characters.
std::string CleanText(std::string_view text, size_t max_bytes);

/// `text` with every occurrence of each of `secrets` replaced by "***". Comes before CleanText: a cut could otherwise
/// leave the first half of a secret standing.
std::string HideSecrets(std::string text, const std::vector<SecretText>& secrets);

/// Standard base64 with padding. As a std::string or a SecretText.
template <typename Text = std::string>
Text Base64(std::string_view bytes);

/// RFC 3986: everything but unreserved characters becomes %XX, a space %20. As a std::string or a SecretText.
template <typename Text = std::string>
Text PercentEncode(std::string_view bytes);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_TEXT_H
