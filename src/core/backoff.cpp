// The pause between two attempts.
//
// It must never be none, and never overflow: attempts are counted for as long as the file waits, so any count may arrive here.

#include "core/backoff.h"

#include <algorithm>

#include "core/core_only.h"

namespace imagekit {

namespace {

/// base_ms doubled for each attempt after the first, but no more than cap_ms. Settings come from people: a zero or negative
/// base would mean no pause at all, and a step of zero never grows. A cap below the base is taken at its word, since the cap is
/// the stronger promise.
int64_t StepMs(int attempt, int64_t base_ms, int64_t cap_ms) noexcept {
  cap_ms = std::max<int64_t>(cap_ms, 1);
  int64_t step = std::min(std::max<int64_t>(base_ms, 1), cap_ms);
  for (int doubled = 1; doubled < attempt; ++doubled) {
    // Compared by halving the cap, because doubling the step could overflow. Ends after 63 rounds at the latest.
    if (step > cap_ms / 2) return cap_ms;
    step *= 2;
  }
  return step;
}

/// One of least … most, both included, of which the first is above zero.
int64_t Between(int64_t least, int64_t most, uint64_t random) noexcept {
  return least + static_cast<int64_t>(random % (static_cast<uint64_t>(most - least) + 1));
}

}  // namespace

int64_t BackoffMs(int attempt, int64_t base_ms, int64_t cap_ms, uint64_t random) noexcept {
  return Between(1, StepMs(attempt, base_ms, cap_ms), random);
}

int64_t RestMs(int attempt, int64_t base_ms, int64_t cap_ms, uint64_t random) noexcept {
  const int64_t step = StepMs(attempt, base_ms, cap_ms);
  return Between(step - step / 2, step, random);
}

}  // namespace imagekit
