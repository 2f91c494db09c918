// The median of what the last answers said about ImageKit's clock.

#include "core/clock_offset.h"

#include <algorithm>

#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr int64_t kMostAheadMs = 60 * 60 * 1000;

}  // namespace

void ClockOffset::Add(int64_t date_ms, int64_t seen_ms) noexcept {
  offsets_[count_ % kAnswers] = date_ms - seen_ms;
  ++count_;
}

int64_t ClockOffset::Ms() const noexcept {
  if (count_ == 0) return 0;
  const size_t kept = std::min(count_, kAnswers);
  auto sorted = offsets_;
  std::sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(kept));
  const int64_t median = sorted[(kept - 1) / 2];  // of two in the middle the one that keeps more
  return median > kMostAheadMs ? 0 : median;
}

}  // namespace imagekit
