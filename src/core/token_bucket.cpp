// A token bucket that is filled by looking at the clock, never by a timer.
//
// It must never let more through than it promises, whatever the clock does: a request too many costs the account a 429
// for everybody who uses it, a request late costs nothing.

#include "core/token_bucket.h"

#include <algorithm>
#include <cmath>

#include "core/core_only.h"

namespace imagekit {

namespace {

// A wait longer than this is cut: the caller asks again after waiting. Keeps the arithmetic far from overflow for a
// rate of one request a year.
constexpr double kLongestWaitMs = 24.0 * 3600 * 1000;

}  // namespace

TokenBucket::TokenBucket(double rate, double burst, int64_t now_ms) noexcept
    : rate_per_ms_(rate / 1000), burst_(std::max(burst, 1.0)), tokens_(burst_), filled_ms_(now_ms) {}

bool TokenBucket::TryTake(int64_t now_ms) noexcept {
  const double tokens = TokensAt(now_ms);
  if (tokens < 1) return false;
  tokens_ = tokens - 1;
  filled_ms_ = std::max(filled_ms_, now_ms);
  return true;
}

int64_t TokenBucket::WaitMs(int64_t now_ms) const noexcept {
  // Before the pause is over the refill has not begun: both waits add up.
  const double pause = now_ms < filled_ms_ ? static_cast<double>(filled_ms_ - now_ms) : 0;
  const double missing = 1 - TokensAt(now_ms);
  if (missing <= 0) return 0;
  // Rounded up and never 0: a wait that ends a fraction early would make the owner's loop spin.
  return static_cast<int64_t>(std::clamp(pause + std::ceil(missing / rate_per_ms_), 1.0, kLongestWaitMs));
}

int TokenBucket::Ready(int64_t now_ms) const noexcept { return static_cast<int>(std::min(TokensAt(now_ms), 1e6)); }

void TokenBucket::PauseUntil(int64_t until_ms) noexcept {
  tokens_ = 0;
  filled_ms_ = std::max(filled_ms_, until_ms);
}

double TokenBucket::TokensAt(int64_t now_ms) const noexcept {
  if (now_ms <= filled_ms_) return tokens_;
  return std::min(burst_, tokens_ + static_cast<double>(now_ms - filled_ms_) * rate_per_ms_);
}

}  // namespace imagekit
