// Reads the time stamps of answers and the waiting times of a 429.
//
// It must never trust a number: a hostile or broken header may neither overflow nor stop an account for days.

#include "core/api_time.h"

#include <curl/curl.h>

#include <algorithm>
#include <ctime>

#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr int64_t kShortestWaitMs = 1000;
constexpr int64_t kLongestWaitMs = 15 * 60 * 1000;

/// Takes exactly `digits` decimal digits off the front of `text`.
bool TakeNumber(std::string_view* text, size_t digits, int* value) noexcept {
  if (text->size() < digits) return false;
  *value = 0;
  for (size_t i = 0; i < digits; ++i) {
    const char c = (*text)[i];
    if (c < '0' || c > '9') return false;
    *value = *value * 10 + (c - '0');
  }
  text->remove_prefix(digits);
  return true;
}

bool TakeLetter(std::string_view* text, char letter) noexcept {
  if (text->empty() || text->front() != letter) return false;
  text->remove_prefix(1);
  return true;
}

int DaysInMonth(int year, int month) noexcept {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : kDays[month - 1];
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, year 1970 or later.
int64_t DaysSinceEpoch(int year, int month, int day) noexcept {
  const int64_t before = year - 1;
  int64_t days = before * 365 + before / 4 - before / 100 + before / 400 - 719162;  // of all years before this one
  for (int m = 1; m < month; ++m) days += DaysInMonth(year, m);
  return days + day - 1;
}

/// Takes a fraction, if there is one, and counts its milliseconds; digits after the third are dropped. False: a point
/// without digits.
bool TakeFraction(std::string_view* text, int* ms) noexcept {
  *ms = 0;
  if (!TakeLetter(text, '.')) return true;
  const size_t before = text->size();
  int unit = 100;
  for (int digit; TakeNumber(text, 1, &digit); unit /= 10) *ms += digit * unit;
  return text->size() < before;
}

/// Minutes east of UTC, from "Z" or "+hh:mm"; the text must end there.
bool TakeZone(std::string_view text, int* minutes) noexcept {
  *minutes = 0;
  if (TakeLetter(&text, 'Z')) return text.empty();
  const bool west = !text.empty() && text.front() == '-';
  if (!west && (text.empty() || text.front() != '+')) return false;
  text.remove_prefix(1);
  int hour, minute;
  if (!TakeNumber(&text, 2, &hour) || !TakeLetter(&text, ':') || !TakeNumber(&text, 2, &minute)) return false;
  if (!text.empty() || hour > 23 || minute > 59) return false;
  *minutes = (hour * 60 + minute) * (west ? -1 : 1);
  return true;
}

/// A duration written as digits, times `unit_ms`; 0 when it is anything else. Fractions are dropped: the clamp's lower
/// end is far above them.
int64_t DurationMs(std::string_view text, int64_t unit_ms) noexcept {
  int64_t value = 0;
  const std::string_view whole = text.substr(0, text.find('.'));
  if (whole.empty()) return 0;
  for (const char c : whole) {
    if (c < '0' || c > '9') return 0;
    value = std::min(value * 10 + (c - '0'), kLongestWaitMs);  // no overflow, whatever the length
  }
  return value * unit_ms;
}

}  // namespace

int64_t ParseIsoTime(std::string_view text) noexcept {
  int year, month, day, hour, minute, second, ms, zone;
  if (!TakeNumber(&text, 4, &year) || !TakeLetter(&text, '-') || !TakeNumber(&text, 2, &month) ||
      !TakeLetter(&text, '-') || !TakeNumber(&text, 2, &day) || !TakeLetter(&text, 'T') ||
      !TakeNumber(&text, 2, &hour) || !TakeLetter(&text, ':') || !TakeNumber(&text, 2, &minute) ||
      !TakeLetter(&text, ':') || !TakeNumber(&text, 2, &second)) {
    return -1;
  }
  if (!TakeFraction(&text, &ms) || !TakeZone(text, &zone)) return -1;
  if (year < 1970 || month < 1 || month > 12 || day < 1 || day > DaysInMonth(year, month)) return -1;
  if (hour > 23 || minute > 59 || second > 59) return -1;
  const int64_t minutes = DaysSinceEpoch(year, month, day) * 1440 + hour * 60 + minute - zone;
  return std::max<int64_t>((minutes * 60 + second) * 1000 + ms, -1);
}

int64_t ParseHttpDate(const std::string& text) noexcept {
  // curl_getdate knows every form of section 5.6.7 of RFC 9110, in English and in GMT whatever the locale.
  const time_t date = curl_getdate(text.c_str(), nullptr);
  return date > 0 ? static_cast<int64_t>(date) * 1000 : -1;
}

int64_t RetryAfterMs(const std::string& rate_limit_reset, const std::string& retry_after, int64_t unix_now_ms) {
  int64_t wait = std::max(DurationMs(rate_limit_reset, 1), DurationMs(retry_after, 1000));
  if (!retry_after.empty() && (retry_after[0] < '0' || retry_after[0] > '9')) {
    const int64_t date = ParseHttpDate(retry_after);
    if (date > 0) wait = std::max(wait, date - unix_now_ms);
  }
  return std::clamp(wait, kShortestWaitMs, kLongestWaitMs);
}

bool NamesAWait(const std::string& rate_limit_reset, const std::string& retry_after) noexcept {
  return DurationMs(rate_limit_reset, 1) > 0 || DurationMs(retry_after, 1000) > 0 || ParseHttpDate(retry_after) > 0;
}

}  // namespace imagekit
