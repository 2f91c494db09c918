// Proves that a bucket never lets more through than it promises, on a clock the test turns.

#include "core/token_bucket.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

namespace imagekit {
namespace {

TEST(TokenBucket, StartsFullAndThenGivesOneTokenPerPeriod) {
  TokenBucket bucket(4, 3, 1000);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.TryTake(1000));
  EXPECT_FALSE(bucket.TryTake(1000));
  EXPECT_EQ(bucket.WaitMs(1000), 250);
  EXPECT_FALSE(bucket.TryTake(1249));
  EXPECT_EQ(bucket.WaitMs(1250), 0);
  EXPECT_TRUE(bucket.TryTake(1250));
  EXPECT_FALSE(bucket.TryTake(1250));
}

TEST(TokenBucket, SavesUpNoMoreThanTheBurst) {
  TokenBucket bucket(10, 2, 0);
  int taken = 0;
  while (bucket.TryTake(1000000)) ++taken;
  EXPECT_EQ(taken, 2);
}

TEST(TokenBucket, BurstBelowOneStillLetsOneThrough) {
  TokenBucket bucket(1, 0, 0);
  EXPECT_TRUE(bucket.TryTake(0));
  EXPECT_FALSE(bucket.TryTake(999));
  EXPECT_TRUE(bucket.TryTake(1000));
}

// The promise itself: in no window of any length more than burst + rate * t.
TEST(TokenBucket, NoWindowExceedsBurstPlusRate) {
  std::mt19937_64 random(7);
  for (const double rate : {0.3, 1.0, 4.0, 20.0, 333.0, 1500.0}) {
    for (const double burst : {1.0, 2.5, 8.0, 40.0}) {
      int64_t now = 5;
      TokenBucket bucket(rate, burst, now);
      std::vector<int64_t> taken;
      for (int step = 0; step < 3000 && taken.size() < 400; ++step) {
        // Greedy in bursts, idle at times, exactly as long as told at others; sometimes the clock goes back.
        while (bucket.TryTake(now)) taken.push_back(now);
        switch (random() % 5) {
          case 0:
            now += static_cast<int64_t>(random() % 5000);
            break;
          case 1:
            // What is taken by a clock set back is taken now; it must not be refilled twice for it.
            now += 3000;
            if (bucket.TryTake(now)) taken.push_back(now);
            if (bucket.TryTake(now - 2900)) taken.push_back(now);
            break;
          case 2:
            now += 1;
            break;
          default:
            now += bucket.WaitMs(now);
        }
      }
      for (size_t first = 0; first < taken.size(); ++first) {
        for (size_t last = first; last < taken.size(); ++last) {
          const double allowed = burst + rate * static_cast<double>(taken[last] - taken[first]) / 1000;
          ASSERT_LE(static_cast<double>(last - first + 1), allowed + 1e-6) << "rate " << rate << " burst " << burst;
        }
      }
    }
  }
}

TEST(TokenBucket, AWaitIsNeverTooShortAndNeverLongerThanNeeded) {
  TokenBucket bucket(3, 1, 0);  // a period of 333.3 ms
  ASSERT_TRUE(bucket.TryTake(0));
  const int64_t wait = bucket.WaitMs(0);
  EXPECT_EQ(wait, 334);
  EXPECT_FALSE(bucket.TryTake(wait - 1));
  EXPECT_TRUE(bucket.TryTake(wait));
}

TEST(TokenBucket, PauseHoldsAndLeavesNoBurstBehind) {
  TokenBucket bucket(4, 8, 0);
  bucket.PauseUntil(3000);
  EXPECT_FALSE(bucket.TryTake(2999));
  EXPECT_EQ(bucket.WaitMs(1000), 2250) << "the pause and then one period";
  EXPECT_FALSE(bucket.TryTake(3000));
  EXPECT_TRUE(bucket.TryTake(3250));
  EXPECT_FALSE(bucket.TryTake(3250));
}

TEST(TokenBucket, AShorterPauseDoesNotEndALongerOne) {
  TokenBucket bucket(1000, 1, 0);
  bucket.PauseUntil(5000);
  bucket.PauseUntil(1000);
  EXPECT_FALSE(bucket.TryTake(4999));
  EXPECT_TRUE(bucket.TryTake(5001));
}

TEST(TokenBucket, VerySlowRatesWaitInPieces) {
  TokenBucket bucket(1e-9, 1, 0);
  ASSERT_TRUE(bucket.TryTake(0));
  EXPECT_EQ(bucket.WaitMs(0), 24 * 3600 * 1000);
}

}  // namespace
}  // namespace imagekit
