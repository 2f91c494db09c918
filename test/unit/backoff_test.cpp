// Proves that a failed attempt waits long enough, not too long, and not in step with its neighbours.

#include "core/backoff.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <set>

namespace imagekit {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr uint64_t kAllBits = std::numeric_limits<uint64_t>::max();

// `random` 0 asks for the shortest pause of a step.
TEST(Backoff, ShortestPauseDoublesWithEachAttempt) {
  EXPECT_EQ(BackoffMs(1, 1000, 60000, 0), 500);
  EXPECT_EQ(BackoffMs(2, 1000, 60000, 0), 1000);
  EXPECT_EQ(BackoffMs(3, 1000, 60000, 0), 2000);
  EXPECT_EQ(BackoffMs(6, 1000, 60000, 0), 16000);
}

TEST(Backoff, JitterReachesBothEndsOfTheUpperHalf) {
  std::set<int64_t> seen;
  for (uint64_t random = 0; random < 100; ++random) seen.insert(BackoffMs(1, 10, 1000, random));
  EXPECT_EQ(seen, (std::set<int64_t>{5, 6, 7, 8, 9, 10}));
}

TEST(Backoff, StopsGrowingAtTheCap) {
  for (int attempt : {7, 8, 63, 64, 65, 1000, std::numeric_limits<int>::max()}) {
    EXPECT_EQ(BackoffMs(attempt, 1000, 60000, 0), 30000) << attempt;
    EXPECT_EQ(BackoffMs(attempt, 1000, 60000, 30000), 60000) << attempt;
  }
}

// The cap is no power of two times the base: the last step is shortened to it rather than left out.
TEST(Backoff, CapBetweenTwoStepsIsUsed) {
  EXPECT_EQ(BackoffMs(2, 1000, 1500, 0), 750);
  EXPECT_EQ(BackoffMs(3, 1000, 1500, 750), 1500);
}

TEST(Backoff, AttemptsBelowOneCountAsTheFirst) {
  for (int attempt : {0, -1, std::numeric_limits<int>::min()}) EXPECT_EQ(BackoffMs(attempt, 1000, 60000, 0), 500);
}

TEST(Backoff, CapBelowTheBaseWins) {
  for (uint64_t random : {uint64_t{0}, uint64_t{51}, kAllBits}) EXPECT_LE(BackoffMs(5, 1000, 100, random), 100);
}

TEST(Backoff, NonsenseSettingsStillGiveAPauseWithinBounds) {
  for (int64_t base : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    EXPECT_LE(BackoffMs(1, base, 1000, kAllBits), 1);
    EXPECT_GE(BackoffMs(1, base, 1000, kAllBits), 0);
    EXPECT_EQ(BackoffMs(40, base, 1000, 0), 500);
    EXPECT_GE(BackoffMs(1, 1000, base, kAllBits), 0);
    EXPECT_LE(BackoffMs(1, 1000, base, kAllBits), 1);
  }
}

TEST(Backoff, LargestNumbersDoNotOverflow) {
  for (uint64_t random : {uint64_t{0}, uint64_t{1}, kAllBits, kAllBits / 2}) {
    for (int attempt : {1, 2, 62, 63, 64, std::numeric_limits<int>::max()}) {
      const int64_t pause = BackoffMs(attempt, kMax, kMax, random);
      EXPECT_GE(pause, kMax / 2);
      EXPECT_LE(pause, kMax);
      EXPECT_GE(BackoffMs(attempt, 1, kMax, random), 0);
    }
  }
}

TEST(Backoff, AnyArgumentsStayWithinTheBoundsOfTheContract) {
  std::mt19937_64 random(20240917);
  for (int round = 0; round < 20000; ++round) {
    const int attempt = static_cast<int>(random() % 100);
    const int64_t cap = static_cast<int64_t>(random() >> (1 + random() % 62)) + 1;
    const int64_t base = static_cast<int64_t>(random() % static_cast<uint64_t>(cap)) + 1;
    const int64_t pause = BackoffMs(attempt, base, cap, random());
    ASSERT_GE(pause, base / 2);
    ASSERT_LE(pause, cap);
  }
}

}  // namespace
}  // namespace imagekit
