// The pace of one account's requests of one class (reads or writes), kept where several processes can share it.
//
// ImageKit limits requests per account (section 8.1 of the API contract), whoever sends them. So what has been used up is
// kept in a PaceState, which may lie in shared memory and needs no lock: all who send for the account take from it, each
// by its own rate and burst, and the strictest holds. One account's used-up pace never holds up another.
//
// It is a token bucket, written as its one number: the time at which the bucket would be full again.

#ifndef IMAGEKIT_CORE_PACE_H
#define IMAGEKIT_CORE_PACE_H

#include <atomic>
#include <cstdint>

namespace imagekit {

/// Zeroed memory is a full bucket. Times are microseconds of MonotonicUs(), whose clock is one for all processes of a machine.
struct PaceState {
  /// When what was used before was forgotten; 0: nothing was. Nothing is saved up from before then. Of a bucket that takes longer to
  /// fill than some seconds only these are missing: what others with a smaller one take from would be empty for as long.
  std::atomic<int64_t> began_us;
  std::atomic<int64_t> full_at_us;       // when all that was taken will have been refilled
  std::atomic<int64_t> paused_until_us;  // nothing goes before this
};
static_assert(std::atomic<int64_t>::is_always_lock_free, "it lies in memory shared between processes");

/// How one sender takes from it: at most `burst + rate * t` requests in any window of `t` seconds.
class Pace {
 public:
  /// `rate` per second, above zero. A `burst` below one is taken as one, or nothing would ever pass.
  Pace(double rate, double burst) noexcept;

  /// Takes one request from every state, or none from any and returns false.
  bool TryTake(PaceState* const* states, int count, int64_t now_us) const noexcept;
  /// Gives one back that was not used.
  void GiveBack(PaceState* const* states, int count) const noexcept;
  /// Microseconds until TryTake can succeed; 0: at once. A clock that went back counts as standing still.
  int64_t WaitUs(PaceState* const* states, int count, int64_t now_us) const noexcept;
  /// How many could be taken at once.
  int Ready(PaceState* const* states, int count, int64_t now_us) const noexcept;
  /// After a 429: nothing before `until_us`, and none of the saved-up burst after it either, because the server has just
  /// said that its own bucket is empty. A pause never shortens an earlier one.
  void PauseUntil(PaceState* const* states, int count, int64_t until_us) const noexcept;

 private:
  int64_t interval_us_;  // between two requests at the rate
  int64_t burst_us_;     // what the burst takes to refill
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_PACE_H
