// The pacing of one account's requests of one class (reads or writes).
//
// ImageKit limits requests per account (section 8.1 of the API contract), so each account has a bucket of its own and
// one account's empty bucket never holds up another. The clock is an argument: milliseconds of any monotonic clock.

#ifndef IMAGEKIT_CORE_TOKEN_BUCKET_H
#define IMAGEKIT_CORE_TOKEN_BUCKET_H

#include <cstdint>

namespace imagekit {

/// Lets at most `burst + rate * t` requests through in any window of `t` seconds.
class TokenBucket {
 public:
  /// `rate` in tokens per second, above zero. A `burst` below one token is taken as one, or nothing would ever pass.
  /// The bucket starts full.
  TokenBucket(double rate, double burst, int64_t now_ms) noexcept;

  /// Takes one token, or returns false and takes none.
  bool TryTake(int64_t now_ms) noexcept;

  /// Milliseconds until TryTake can succeed; 0: at once. A clock that went back counts as standing still.
  int64_t WaitMs(int64_t now_ms) const noexcept;

  /// How many tokens could be taken at once.
  int Ready(int64_t now_ms) const noexcept;

  /// After a 429: no token before `until_ms`, and none of the saved-up burst after it either, because the server has
  /// just said that its own bucket is empty. A pause never shortens an earlier one.
  void PauseUntil(int64_t until_ms) noexcept;

 private:
  double TokensAt(int64_t now_ms) const noexcept;

  double rate_per_ms_;
  double burst_;
  double tokens_;      // at filled_ms_
  int64_t filled_ms_;  // in the future while paused
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_TOKEN_BUCKET_H
