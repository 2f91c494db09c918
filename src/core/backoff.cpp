// The pause between two attempts at one file.
//
// It must never let a file come back sooner than half of its step (a server in trouble is not helped by a crowd), and
// never overflow: attempts are counted for as long as the file waits, so any count may arrive here.

#include "core/backoff.h"

#include <algorithm>

#include "core/core_only.h"

namespace imagekit {

namespace {

/// base_ms doubled for each attempt after the first, but no more than cap_ms.
int64_t StepMs(int attempt, int64_t base_ms, int64_t cap_ms) noexcept {
  int64_t step = std::min(base_ms, cap_ms);
  for (int doubled = 1; doubled < attempt; ++doubled) {
    // Compared by halving the cap, because doubling the step could overflow. Ends after 63 rounds at the latest.
    if (step > cap_ms / 2) return cap_ms;
    step *= 2;
  }
  return step;
}

}  // namespace

int64_t BackoffMs(int attempt, int64_t base_ms, int64_t cap_ms, uint64_t random) noexcept {
  // Settings come from people: a zero or negative base would mean no pause at all, and a step of zero never grows. A
  // cap below the base is taken at its word, since the cap is the stronger promise.
  base_ms = std::max<int64_t>(base_ms, 1);
  cap_ms = std::max<int64_t>(cap_ms, 1);

  const int64_t step = StepMs(attempt, base_ms, cap_ms);
  const int64_t half = step / 2;
  // Jitter over [half, step], both ends included. The span cannot be zero or overflow: step is at least 1 and at most
  // INT64_MAX, and the arithmetic is unsigned.
  const uint64_t span = static_cast<uint64_t>(step - half) + 1;
  return half + static_cast<int64_t>(random % span);
}

}  // namespace imagekit
