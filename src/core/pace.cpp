// A token bucket that is filled by looking at the clock, never by a timer, and shared without a lock.
//
// It must never let more through than it promises, whatever the clock does and whoever else takes at the same moment: a
// request too many costs the account a 429 for everybody who uses it, a request late costs nothing.

#include "core/pace.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/core_only.h"

namespace imagekit {

namespace {

// A wait longer than this is cut: the caller asks again after waiting. What says more than this beyond the sender's own
// burst was written by a broken clock, or by a sender so slow that the others need not wait for it, and is cut too.
constexpr int64_t kLongestWaitUs = 24LL * 3600 * 1000000;

// What was used longer ago than this cannot be followed by a second burst in the same second.
constexpr int64_t kForgottenUs = 10 * 1000000;

// Rates of less than one request in thirty years, and bursts of thirty thousand years, are taken as that: all sums below
// then fit.
constexpr double kLongestIntervalUs = 1e15;
constexpr double kLongestBurstUs = 1e18;

/// The value at `time`, at most `limit`; a higher one is lowered for good, or it would stay ahead of the clock for ever.
int64_t Bounded(std::atomic<int64_t>* time, int64_t limit) noexcept {
  int64_t value = time->load(std::memory_order_relaxed);
  while (value > limit && !time->compare_exchange_weak(value, limit, std::memory_order_relaxed)) {
  }
  return std::min(value, limit);
}

/// One look at a state, as a sender with this burst sees it.
struct Reading {
  int64_t stored;        // what full_at_us holds
  int64_t full_at;       // the time at which this sender's bucket would be full; not before now
  int64_t paused_until;  // 0: no pause is known
};

Reading Read(PaceState* state, int64_t burst_us, int64_t now_us) noexcept {
  Reading reading;
  reading.paused_until = Bounded(&state->paused_until_us, now_us + kLongestWaitUs);
  reading.stored = Bounded(&state->full_at_us, now_us + burst_us + kLongestWaitUs);
  reading.full_at = std::max(reading.stored, now_us);
  if (const int64_t began_us = state->began_us.load(std::memory_order_relaxed); began_us != 0)
    reading.full_at = std::max(reading.full_at, std::min(began_us, now_us) + std::min(burst_us, kForgottenUs));
  // A pause leaves each sender an empty bucket, and their bursts differ: so it is written down as a time, and each works
  // out what it means for itself.
  if (reading.paused_until != 0) reading.full_at = std::max(reading.full_at, reading.paused_until + burst_us);
  return reading;
}

}  // namespace

Pace::Pace(double rate, double burst) noexcept
    : interval_us_(static_cast<int64_t>(std::clamp(std::ceil(1e6 / rate), 1.0, kLongestIntervalUs))) {
  // Rounded to the strict side: the interval up, the burst down.
  const auto interval = static_cast<double>(interval_us_);
  burst_us_ = static_cast<int64_t>(std::clamp(std::max(burst, 1.0) * interval, interval, kLongestBurstUs));
}

bool Pace::TryTake(PaceState* const* states, int count, int64_t now_us) const noexcept {
  for (int i = 0; i < count; ++i) {
    Reading reading;
    do {
      reading = Read(states[i], burst_us_, now_us);
      if (now_us < reading.paused_until || reading.full_at + interval_us_ - now_us > burst_us_) {
        GiveBack(states, i);
        return false;
      }
    } while (!states[i]->full_at_us.compare_exchange_weak(reading.stored, reading.full_at + interval_us_,
                                                          std::memory_order_relaxed));
  }
  return true;
}

void Pace::GiveBack(PaceState* const* states, int count) const noexcept {
  for (int i = 0; i < count; ++i) states[i]->full_at_us.fetch_sub(interval_us_, std::memory_order_relaxed);
}

int64_t Pace::WaitUs(PaceState* const* states, int count, int64_t now_us) const noexcept {
  int64_t wait = 0;
  for (int i = 0; i < count; ++i) {
    const Reading reading = Read(states[i], burst_us_, now_us);
    wait = std::max({wait, reading.paused_until - now_us, reading.full_at + interval_us_ - burst_us_ - now_us});
  }
  return std::min(wait, kLongestWaitUs);
}

int Pace::Ready(PaceState* const* states, int count, int64_t now_us) const noexcept {
  int64_t ready = count > 0 ? std::numeric_limits<int>::max() : 0;
  for (int i = 0; i < count; ++i) {
    const Reading reading = Read(states[i], burst_us_, now_us);
    const int64_t left = now_us < reading.paused_until ? 0 : burst_us_ - (reading.full_at - now_us);
    ready = std::min(ready, std::max<int64_t>(left, 0) / interval_us_);
  }
  return static_cast<int>(ready);
}

void Pace::PauseUntil(PaceState* const* states, int count, int64_t until_us) const noexcept {
  for (int i = 0; i < count; ++i) {
    std::atomic<int64_t>& paused = states[i]->paused_until_us;
    int64_t before = paused.load(std::memory_order_relaxed);
    while (before < until_us && !paused.compare_exchange_weak(before, until_us, std::memory_order_relaxed)) {
    }
  }
}

}  // namespace imagekit
