// Proves when a run of files that are not found is suspicious, and what ends the suspicion.

#include "core/missing_run.h"

#include <gtest/gtest.h>

#include <climits>

namespace imagekit {
namespace {

void Add(MissingRun* run, int count, bool missing) {
  for (int i = 0; i < count; ++i) run->Add(missing);
}

TEST(MissingRun, TwentyInARowAreSuspicious) {
  MissingRun run;
  Add(&run, 19, true);
  EXPECT_FALSE(run.Suspicious());
  run.Add(true);
  EXPECT_TRUE(run.Suspicious());
}

TEST(MissingRun, AHandfulIsNot) {
  MissingRun run;
  for (int i = 0; i < 1000; ++i) {
    Add(&run, 5, true);
    Add(&run, 5, false);
    ASSERT_FALSE(run.Suspicious());
  }
}

TEST(MissingRun, FortyOfTheLastFiftyAreSuspicious) {
  MissingRun run;
  for (int i = 0; i < 49; ++i) run.Add(i % 5 != 0);
  EXPECT_FALSE(run.Suspicious()) << "not before there are fifty";
  run.Add(true);
  EXPECT_TRUE(run.Suspicious());

  MissingRun fewer;
  for (int i = 0; i < 500; ++i) {
    fewer.Add(i % 4 != 0);
    ASSERT_FALSE(fewer.Suspicious()) << "three of four";
  }
}

TEST(MissingRun, OnlyTheLastFiftyCount) {
  MissingRun run;
  for (int i = 0; i < 49; ++i) run.Add(i % 5 != 0);
  Add(&run, 50, false);
  Add(&run, 19, true);
  EXPECT_FALSE(run.Suspicious());
}

TEST(MissingRun, StaysSuspiciousUntilAFileIsThere) {
  MissingRun run;
  Add(&run, 100, true);
  EXPECT_TRUE(run.Suspicious());
  run.Add(false);
  EXPECT_FALSE(run.Suspicious());
  Add(&run, 19, true);
  EXPECT_FALSE(run.Suspicious()) << "it begins anew";
  run.Add(true);
  EXPECT_TRUE(run.Suspicious());
}

TEST(MissingRun, IsKeptAsANumber) {
  MissingRun run;
  for (int i = 0; i < 200; ++i) {
    run.Add(i % 7 == 0 || i > 150);
    const MissingRun kept(run.Stored());
    ASSERT_EQ(kept.Stored(), run.Stored());
    ASSERT_EQ(kept.Suspicious(), run.Suspicious());
    ASSERT_GT(run.Stored(), 0);
  }
}

TEST(MissingRun, ANumberThatIsNoRunIsAnEmptyOne) {
  for (const int64_t wrong : {int64_t{0}, int64_t{-1}, INT64_MIN, INT64_MAX, int64_t{1} << 51}) {
    MissingRun run(wrong);
    EXPECT_FALSE(run.Suspicious());
    Add(&run, 19, true);
    EXPECT_FALSE(run.Suspicious());
  }
}

}  // namespace
}  // namespace imagekit
