// Proves that the offset errs to the side on which a file is kept, and that no single answer decides it.

#include "core/clock_offset.h"

#include <gtest/gtest.h>

namespace imagekit {
namespace {

TEST(ClockOffset, IsNothingBeforeTheFirstAnswer) { EXPECT_EQ(ClockOffset().Ms(), 0); }

// A Date is cut to seconds and older than its arrival: what is measured is never above the truth.
TEST(ClockOffset, IsNeverAboveTheTruth) {
  for (const int64_t truth : {-7000, -400, 0, 300, 90000}) {
    ClockOffset clock;
    for (int64_t now = 1000000; now < 1010000; now += 730) {
      const int64_t way = now % 600;
      const int64_t sent = now + truth - way;
      clock.Add(sent - sent % 1000, now);
      EXPECT_LE(clock.Ms(), truth);
      EXPECT_GT(clock.Ms(), truth - 1600);
    }
  }
}

TEST(ClockOffset, OneWrongClockAmongManyDecidesNothing) {
  ClockOffset clock;
  for (int i = 0; i < 8; ++i) clock.Add(5000, 5400);
  clock.Add(9000000, 5400);
  clock.Add(0, 5400);
  EXPECT_EQ(clock.Ms(), -400);
}

TEST(ClockOffset, OfTwoInTheMiddleTakesTheLower) {
  ClockOffset clock;
  clock.Add(1000, 1000);
  clock.Add(1000, 1900);
  EXPECT_EQ(clock.Ms(), -900);
}

TEST(ClockOffset, FollowsAClockThatWasSet) {
  ClockOffset clock;
  for (int i = 0; i < 100; ++i) clock.Add(0, 0);
  for (int i = 0; i < 15; ++i) clock.Add(0, 60000);
  EXPECT_EQ(clock.Ms(), -60000);
}

// Behind by a day: then much is kept. Ahead by a day: then everything uploaded since yesterday would be deleted.
TEST(ClockOffset, BelievesADayBehindButNotADayAhead) {
  constexpr int64_t kDay = 24 * 3600 * 1000;
  ClockOffset behind, ahead;
  behind.Add(0, kDay);
  ahead.Add(kDay, 0);
  EXPECT_EQ(behind.Ms(), -kDay);
  EXPECT_EQ(ahead.Ms(), 0);
}

}  // namespace
}  // namespace imagekit
