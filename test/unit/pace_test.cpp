// Proves that a pace never lets more through than it promises, on a clock the test turns: alone, with several senders on
// one state, with several states of one sender, and with threads that take at the same moment.

#include "core/pace.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "core/http_multi.h"

namespace imagekit {
namespace {

constexpr int64_t kSecond = 1000000;
constexpr int64_t kDay = 24 * 3600 * kSecond;

/// One sender with a state of its own.
struct Bucket {
  Bucket(double rate, double burst) : pace(rate, burst) {}
  bool TryTake(int64_t now) { return pace.TryTake(&states, 1, now); }
  int64_t WaitUs(int64_t now) { return pace.WaitUs(&states, 1, now); }
  int Ready(int64_t now) { return pace.Ready(&states, 1, now); }
  void GiveBack() { pace.GiveBack(&states, 1); }
  void PauseUntil(int64_t until) { pace.PauseUntil(&states, 1, until); }

  PaceState state = {};
  PaceState* states = &state;
  Pace pace;
};

TEST(Pace, HasNothingSavedUpFromBeforeItBegan) {
  Bucket bucket(4, 8);
  const int64_t began = 100 * kSecond;
  bucket.state.began_us = began;
  EXPECT_FALSE(bucket.TryTake(began));
  EXPECT_EQ(bucket.WaitUs(began), kSecond / 4);
  EXPECT_TRUE(bucket.TryTake(began + kSecond / 4));
  EXPECT_FALSE(bucket.TryTake(began + kSecond / 4));
  EXPECT_EQ(bucket.Ready(began + kSecond), 3) << "what came since, less what was taken";
  EXPECT_EQ(bucket.Ready(began + kDay), 8) << "and never more than its burst";
}

TEST(Pace, ALargeBurstThatBeganHoldsUpNoSmallerOne) {
  Bucket large(1, 1000);
  large.state.began_us = 100 * kSecond;
  const Pace small(8, 16);
  const int64_t now = 102 * kSecond;
  EXPECT_TRUE(large.TryTake(now));
  EXPECT_LE(small.WaitUs(&large.states, 1, now), 10 * kSecond);
  EXPECT_GE(large.Ready(now), 980) << "some seconds of it are missing, and no more";
}

TEST(Pace, StartsFullAndThenGivesOneRequestPerPeriod) {
  Bucket bucket(4, 3);
  const int64_t now = kSecond;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.TryTake(now));
  EXPECT_FALSE(bucket.TryTake(now));
  EXPECT_EQ(bucket.WaitUs(now), 250000);
  EXPECT_FALSE(bucket.TryTake(now + 249999));
  EXPECT_EQ(bucket.WaitUs(now + 250000), 0);
  EXPECT_TRUE(bucket.TryTake(now + 250000));
  EXPECT_FALSE(bucket.TryTake(now + 250000));
}

// A machine that has just started: its clock is near zero, and so is a state that nobody has used.
TEST(Pace, ZeroedMemoryIsFullAtAnyTime) {
  for (const int64_t now : {int64_t{0}, int64_t{1}, kSecond, 4000 * kDay}) {
    Bucket bucket(0.1, 5);
    EXPECT_EQ(bucket.Ready(now), 5) << now;
    EXPECT_EQ(bucket.WaitUs(now), 0) << now;
  }
}

TEST(Pace, SavesUpNoMoreThanTheBurst) {
  Bucket bucket(10, 2);
  int taken = 0;
  while (bucket.TryTake(1000 * kSecond)) ++taken;
  EXPECT_EQ(taken, 2);
}

TEST(Pace, BurstBelowOneStillLetsOneThrough) {
  Bucket bucket(1, 0);
  EXPECT_TRUE(bucket.TryTake(0));
  EXPECT_FALSE(bucket.TryTake(kSecond - 1));
  EXPECT_TRUE(bucket.TryTake(kSecond));
}

TEST(Pace, ReadyIsWhatCanBeTakenAtOnce) {
  Bucket bucket(4, 8);
  EXPECT_EQ(bucket.Ready(0), 8);
  for (int left = 8; bucket.TryTake(0); --left) EXPECT_EQ(bucket.Ready(0), left - 1);
  EXPECT_EQ(bucket.Ready(0), 0);
  EXPECT_EQ(bucket.Ready(2 * kSecond - 1), 7);
  EXPECT_EQ(bucket.Ready(100 * kSecond), 8);
}

TEST(Pace, WhatIsGivenBackCanBeTakenAgainAndNoMore) {
  Bucket bucket(4, 2);
  ASSERT_TRUE(bucket.TryTake(0));
  ASSERT_TRUE(bucket.TryTake(0));
  bucket.GiveBack();
  EXPECT_TRUE(bucket.TryTake(0));
  EXPECT_FALSE(bucket.TryTake(0));
  bucket.GiveBack();  // after the time in which it would have been refilled
  int taken = 0;
  while (bucket.TryTake(100 * kSecond)) ++taken;
  EXPECT_EQ(taken, 2);
}

// The promise itself: in no window of any length more than burst + rate * t.
TEST(Pace, NoWindowExceedsBurstPlusRate) {
  std::mt19937_64 random(7);
  for (const double rate : {0.3, 1.0, 4.0, 20.0, 333.0, 1500.0, 70000.0}) {
    for (const double burst : {1.0, 2.5, 8.0, 40.0}) {
      int64_t now = 5;
      Bucket bucket(rate, burst);
      std::vector<int64_t> taken;
      for (int step = 0; step < 3000 && taken.size() < 400; ++step) {
        // Greedy in bursts, idle at times, exactly as long as told at others; sometimes the clock goes back.
        while (bucket.TryTake(now)) taken.push_back(now);
        switch (random() % 6) {
          case 0:
            now += static_cast<int64_t>(random() % (5 * kSecond));
            break;
          case 1:
            // What is taken by a clock set back is taken now; it must not be refilled twice for it.
            now += 3 * kSecond;
            if (bucket.TryTake(now)) taken.push_back(now);
            if (bucket.TryTake(now - 2900000)) taken.push_back(now);
            break;
          case 2:
            now += 1;
            break;
          case 3:
            if (bucket.TryTake(now)) bucket.GiveBack();
            break;
          default:
            now += bucket.WaitUs(now);
        }
      }
      for (size_t first = 0; first < taken.size(); ++first) {
        for (size_t last = first; last < taken.size(); ++last) {
          const double allowed = burst + rate * static_cast<double>(taken[last] - taken[first]) / 1e6;
          ASSERT_LE(static_cast<double>(last - first + 1), allowed + 1e-6) << "rate " << rate << " burst " << burst;
        }
      }
    }
  }
}

TEST(Pace, AWaitIsNeverTooShortAndNeverLongerThanNeeded) {
  Bucket bucket(3, 1);  // a period of 333333.3 us
  ASSERT_TRUE(bucket.TryTake(0));
  const int64_t wait = bucket.WaitUs(0);
  EXPECT_EQ(wait, 333334);
  EXPECT_FALSE(bucket.TryTake(wait - 1));
  EXPECT_TRUE(bucket.TryTake(wait));
}

TEST(Pace, PauseHoldsAndLeavesNoBurstBehind) {
  Bucket bucket(4, 8);
  bucket.PauseUntil(3 * kSecond);
  EXPECT_FALSE(bucket.TryTake(3 * kSecond - 1));
  EXPECT_EQ(bucket.Ready(kSecond), 0);
  EXPECT_EQ(bucket.WaitUs(kSecond), 2250000) << "the pause and then one period";
  EXPECT_FALSE(bucket.TryTake(3 * kSecond));
  EXPECT_TRUE(bucket.TryTake(3 * kSecond + 250000));
  EXPECT_FALSE(bucket.TryTake(3 * kSecond + 250000));
  EXPECT_EQ(bucket.Ready(30 * kSecond), 8) << "and in the end it is forgotten";
}

TEST(Pace, AShorterPauseDoesNotEndALongerOne) {
  Bucket bucket(1000, 1);
  bucket.PauseUntil(5 * kSecond);
  bucket.PauseUntil(1 * kSecond);
  EXPECT_FALSE(bucket.TryTake(5 * kSecond - 1));
  EXPECT_TRUE(bucket.TryTake(5 * kSecond + 1000));
}

TEST(Pace, VerySlowRatesWaitInPieces) {
  Bucket bucket(1e-9, 1);
  ASSERT_TRUE(bucket.TryTake(0));
  EXPECT_EQ(bucket.WaitUs(0), kDay);
}

TEST(Pace, ExtremeRatesAndBurstsOverflowNothing) {
  constexpr double kEdges[] = {1e-300, 1e-12, 1, 1e12, 1e300};
  for (const double rate : kEdges) {
    for (const double burst : kEdges) {
      for (const int64_t now : {int64_t{0}, 30000 * kDay}) {
        Bucket bucket(rate, burst);
        EXPECT_GE(bucket.Ready(now), 1) << rate << ' ' << burst;
        for (int i = 0; i < 3; ++i) bucket.TryTake(now);
        EXPECT_GE(bucket.WaitUs(now), 0);
        EXPECT_LE(bucket.WaitUs(now), kDay);
        bucket.PauseUntil(now + 10);
        EXPECT_LE(bucket.WaitUs(now), kDay);
        EXPECT_GE(bucket.Ready(now + kDay), 0);
      }
    }
  }
}

// Whatever wrote it: the account must not stand still until somebody restarts the server.
TEST(Pace, TimesFarAheadOfTheClockHoldForADayAtMost) {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  for (const bool paused : {true, false}) {
    Bucket bucket(4, 8);
    (paused ? bucket.state.paused_until_us : bucket.state.full_at_us) = kNever;
    EXPECT_FALSE(bucket.TryTake(kSecond));
    EXPECT_EQ(bucket.WaitUs(kSecond), kDay);
    EXPECT_EQ(bucket.Ready(kSecond), 0);
    EXPECT_TRUE(bucket.TryTake(kSecond + kDay + kSecond)) << paused;
  }
  Bucket bucket(4, 8);
  bucket.state.full_at_us = std::numeric_limits<int64_t>::min();
  bucket.state.paused_until_us = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(bucket.Ready(0), 8);
}

// Two processes with settings of their own: what one has used the other cannot use again.
TEST(Pace, SendersOnOneStateShareItEachByItsOwnRate) {
  PaceState state = {};
  PaceState* const states = &state;
  const Pace slow(2, 4);
  const Pace fast(20, 40);
  int taken = 0;
  while (slow.TryTake(&states, 1, 0)) ++taken;
  EXPECT_EQ(taken, 4);
  EXPECT_FALSE(fast.TryTake(&states, 1, 0)) << "two seconds are used up, the whole of its burst";
  EXPECT_EQ(fast.WaitUs(&states, 1, 0), 50000);
  EXPECT_EQ(slow.WaitUs(&states, 1, 0), 500000);
  taken = 0;
  for (int64_t now = 0; now <= kSecond; now += 1000) {
    while (fast.TryTake(&states, 1, now)) ++taken;
    EXPECT_FALSE(now < kSecond && slow.TryTake(&states, 1, now)) << "no room beside the fast one";
  }
  EXPECT_EQ(taken, 20);
}

TEST(Pace, APauseEmptiesTheBucketOfEverySender) {
  PaceState state = {};
  PaceState* const states = &state;
  const Pace small(10, 1);
  const Pace large(10, 100);
  small.PauseUntil(&states, 1, 5 * kSecond);  // the one that got the 429
  EXPECT_EQ(large.Ready(&states, 1, 5 * kSecond), 0);
  EXPECT_EQ(large.WaitUs(&states, 1, 4 * kSecond), 1100000);
  EXPECT_EQ(small.WaitUs(&states, 1, 4 * kSecond), 1100000);
}

// An account is known by its key and by its library.
TEST(Pace, TakesFromEveryStateOrFromNone) {
  PaceState key = {};
  PaceState library = {};
  PaceState* const both[] = {&key, &library};
  PaceState* const other_key[] = {both[1]};
  const Pace pace(4, 3);
  ASSERT_TRUE(pace.TryTake(both, 2, 0));
  ASSERT_TRUE(pace.TryTake(other_key, 1, 0));
  ASSERT_TRUE(pace.TryTake(other_key, 1, 0));
  EXPECT_EQ(pace.Ready(both, 2, 0), 0);
  EXPECT_EQ(pace.Ready(both, 1, 0), 2);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(pace.TryTake(both, 2, 0));
  EXPECT_EQ(pace.Ready(both, 1, 0), 2) << "a refusal of the second gives the first its own back";
  EXPECT_EQ(pace.WaitUs(both, 2, 0), 250000) << "the longer wait counts";
  pace.GiveBack(both, 2);
  EXPECT_EQ(pace.Ready(both, 2, 0), 1);
  pace.PauseUntil(both, 2, kSecond);
  EXPECT_EQ(pace.Ready(other_key, 1, kSecond), 0);
}

TEST(Pace, ThreadsNeverTakeMoreTogetherThanIsThere) {
  PaceState first = {};
  PaceState second = {};
  PaceState* const states[] = {&first, &second};
  const double rate = 20000;
  const double burst = 100;
  const Pace pace(rate, burst);
  std::atomic<int> taken{0};
  const int64_t deadline = MonotonicUs() + 30000000;
  const auto hammer = [&](int count) {
    int tries = 0;
    while (taken < burst + rate * 0.1 && MonotonicUs() < deadline) {
      if (!pace.TryTake(states, count, MonotonicUs())) continue;
      if (++tries % 7 == 0) {
        pace.GiveBack(states, count);
      } else {
        ++taken;
      }
    }
  };
  const int64_t start = MonotonicUs();
  std::thread one(hammer, 2);
  std::thread two(hammer, 2);
  one.join();
  two.join();
  const double seconds = static_cast<double>(MonotonicUs() - start) / 1e6;
  EXPECT_LE(taken, burst + rate * seconds);
  EXPECT_GE(taken, burst + rate * 0.1) << "and they do not starve each other";
}

}  // namespace
}  // namespace imagekit
