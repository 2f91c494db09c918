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
TEST(Backoff, FullJitterReachesFromNothingToTheStep) {
  std::set<int64_t> seen;
  for (uint64_t random = 0; random < 1000; ++random) seen.insert(BackoffMs(2, 5, 1000, random));
  EXPECT_EQ(seen, (std::set<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(Backoff, TheStepDoublesWithEachAttempt) {
  for (int attempt = 1, step = 1000; attempt <= 6; ++attempt, step *= 2) {
    EXPECT_EQ(BackoffMs(attempt, 1000, 60000, 0), 1);
    EXPECT_EQ(BackoffMs(attempt, 1000, 60000, static_cast<uint64_t>(step) - 1), step);
    EXPECT_EQ(RestMs(attempt, 1000, 60000, 0), step / 2);
    EXPECT_EQ(RestMs(attempt, 1000, 60000, static_cast<uint64_t>(step) / 2), step);
  }
}

TEST(Backoff, ARestIsInTheUpperHalf) {
  std::set<int64_t> seen;
  for (uint64_t random = 0; random < 100; ++random) seen.insert(RestMs(1, 10, 1000, random));
  EXPECT_EQ(seen, (std::set<int64_t>{5, 6, 7, 8, 9, 10}));
}

TEST(Backoff, StopsGrowingAtTheCap) {
  for (int attempt : {7, 8, 63, 64, 65, 1000, std::numeric_limits<int>::max()}) {
    EXPECT_EQ(BackoffMs(attempt, 1000, 60000, 59999), 60000) << attempt;
    EXPECT_EQ(RestMs(attempt, 1000, 60000, 0), 30000) << attempt;
    EXPECT_EQ(RestMs(attempt, 1000, 60000, 30000), 60000) << attempt;
  }
}

// The cap is no power of two times the base: the last step is shortened to it rather than left out.
TEST(Backoff, CapBetweenTwoStepsIsUsed) {
  EXPECT_EQ(RestMs(2, 1000, 1500, 0), 750);
  EXPECT_EQ(RestMs(3, 1000, 1500, 750), 1500);
  EXPECT_EQ(BackoffMs(3, 1000, 1500, 1499), 1500);
}

TEST(Backoff, AttemptsBelowOneCountAsTheFirst) {
  for (int attempt : {0, -1, std::numeric_limits<int>::min()}) {
    EXPECT_EQ(BackoffMs(attempt, 1000, 60000, 999), 1000);
    EXPECT_EQ(RestMs(attempt, 1000, 60000, 0), 500);
  }
}

TEST(Backoff, CapBelowTheBaseWins) {
  for (uint64_t random : {uint64_t{0}, uint64_t{51}, kAllBits}) {
    EXPECT_LE(BackoffMs(5, 1000, 100, random), 100);
    EXPECT_LE(RestMs(5, 1000, 100, random), 100);
  }
}

TEST(Backoff, NonsenseSettingsStillGiveAPauseWithinBounds) {
  for (int64_t nonsense : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    for (const auto& pause : {BackoffMs, RestMs}) {
      EXPECT_EQ(pause(1, nonsense, 1000, kAllBits), 1);
      EXPECT_EQ(pause(1, 1000, nonsense, kAllBits), 1);
    }
    EXPECT_EQ(RestMs(40, nonsense, 1000, 0), 500);
  }
}

TEST(Backoff, LargestNumbersDoNotOverflow) {
  for (uint64_t random : {uint64_t{0}, uint64_t{1}, kAllBits, kAllBits / 2}) {
    for (int attempt : {1, 2, 62, 63, 64, std::numeric_limits<int>::max()}) {
      EXPECT_GE(RestMs(attempt, kMax, kMax, random), kMax / 2);
      for (const auto& pause : {BackoffMs, RestMs}) {
        EXPECT_LE(pause(attempt, kMax, kMax, random), kMax);
        EXPECT_GE(pause(attempt, kMax, kMax, random), 1);
        EXPECT_GE(pause(attempt, 1, kMax, random), 1);
      }
    }
  }
}

TEST(Backoff, AnyArgumentsStayWithinTheBoundsOfTheContract) {
  std::mt19937_64 random(20240917);
  for (int round = 0; round < 20000; ++round) {
    const int attempt = static_cast<int>(random() % 100);
    const int64_t cap = static_cast<int64_t>(random() >> (1 + random() % 62)) + 1;
    const int64_t base = static_cast<int64_t>(random() % static_cast<uint64_t>(cap)) + 1;
    const uint64_t chance = random();
    ASSERT_GE(BackoffMs(attempt, base, cap, chance), 1);
    ASSERT_LE(BackoffMs(attempt, base, cap, chance), cap);
    ASSERT_GE(RestMs(attempt, base, cap, chance), base / 2);
    ASSERT_LE(RestMs(attempt, base, cap, chance), cap);
  }
}

}  // namespace
}  // namespace imagekit
