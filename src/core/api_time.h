// Times as the API writes them, read without locale and without time zone settings: the server process has both.

#ifndef IMAGEKIT_CORE_API_TIME_H
#define IMAGEKIT_CORE_API_TIME_H

#include <cstdint>
#include <string>
#include <string_view>

namespace imagekit {

/// "2025-03-04T10:11:12.345Z" as Unix time in ms; also with an offset ("+05:30") instead of Z, and with a fraction of
/// any length or none. -1 when unreadable, out of range, or before 1970.
int64_t ParseIsoTime(std::string_view text) noexcept;

/// "Sun, 06 Nov 1994 08:49:37 GMT" and the older forms of RFC 9110 as Unix time in ms; -1 when unreadable.
int64_t ParseHttpDate(const std::string& text) noexcept;

/// How long to wait after a 429 (sections 8.2, 8.4): the longer of X-RateLimit-Reset (a duration in milliseconds) and
/// Retry-After (seconds, or an HTTP date compared with `unix_now_ms`), held between one second and 15 minutes. A header
/// that is empty or unreadable counts as absent.
int64_t RetryAfterMs(const std::string& rate_limit_reset, const std::string& retry_after, int64_t unix_now_ms);

/// Whether one of the two headers names a waiting time at all.
bool NamesAWait(const std::string& rate_limit_reset, const std::string& retry_after) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_TIME_H
