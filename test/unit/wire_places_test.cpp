// Who finds a place on the wire, beside whom.

#include "core/wire_places.h"

#include <gtest/gtest.h>

namespace imagekit {
namespace {

constexpr int64_t kNow = 1000000000;

int ReadsThatFit(WirePlaces* places) {
  int reads = 0;
  for (; places->RoomForRead(kNow) && reads < 10000; ++reads) places->Take(WirePlaces::kRead);
  return reads;
}

TEST(WirePlaces, ReadsLeaveAQuarterToDeletes) {
  for (const auto& [most, reads] :
       {std::pair(1, 1), std::pair(3, 3), std::pair(4, 3), std::pair(8, 6), std::pair(1000, 750)}) {
    WirePlaces places(most);
    EXPECT_EQ(ReadsThatFit(&places), reads) << most;
    int deletes = 0;
    for (; places.RoomForDelete(); ++deletes) places.Take(WirePlaces::kDelete);
    EXPECT_EQ(deletes, most - reads) << most;
  }
}

TEST(WirePlaces, DeletesMayHaveAllOfThem) {
  WirePlaces places(8);
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(places.RoomForDelete());
    places.Take(i % 2 == 0 ? WirePlaces::kReserved : WirePlaces::kDelete);
  }
  EXPECT_FALSE(places.RoomForDelete());
  EXPECT_FALSE(places.RoomForRead(kNow));
  places.GiveBack(WirePlaces::kReserved, 2);
  EXPECT_TRUE(places.RoomForDelete());
  EXPECT_TRUE(places.RoomForRead(kNow));
}

TEST(WirePlaces, PurgesHaveTheirOwn) {
  WirePlaces places(8);
  EXPECT_EQ(places.extra(), 2);
  while (places.RoomForPurge()) places.Take(WirePlaces::kPurge);
  EXPECT_EQ(ReadsThatFit(&places), 6) << "purges that hang hold up no read";
  places.GiveBack(WirePlaces::kPurge);
  EXPECT_TRUE(places.RoomForPurge());
  EXPECT_EQ(WirePlaces(1).extra(), 1) << "one at least";
}

TEST(WirePlaces, ADeleteThatFoundNoneHasTheNext) {
  WirePlaces places(2);
  EXPECT_EQ(ReadsThatFit(&places), 2);
  places.WantDelete(kNow);
  places.GiveBack(WirePlaces::kRead);
  EXPECT_FALSE(places.RoomForRead(kNow)) << "it is left to the delete";
  EXPECT_TRUE(places.RoomForDelete());
  EXPECT_GT(places.HeldUs(kNow), 0);
  EXPECT_TRUE(places.RoomForRead(kNow + places.HeldUs(kNow))) << "for a moment, should nobody come for it";
  places.WantDelete(kNow);
  EXPECT_TRUE(places.RoomForRead(kNow)) << "nor once one found a place";
}

TEST(WirePlaces, NoneIsLeftWhereAQuarterIsFree) {
  WirePlaces places(8);
  while (places.RoomForDelete()) places.Take(WirePlaces::kDelete);
  places.WantDelete(kNow);
  places.GiveBack(WirePlaces::kDelete);
  EXPECT_TRUE(places.RoomForRead(kNow));
}

TEST(WirePlaces, AllAreFreeWhenAllIsAbandoned) {
  WirePlaces places(2);
  places.Take(WirePlaces::kRead);
  places.Take(WirePlaces::kReserved);
  places.Take(WirePlaces::kPurge);
  places.WantDelete(kNow);
  places.GiveBackAll();
  EXPECT_EQ(ReadsThatFit(&places), 2);
  EXPECT_TRUE(places.RoomForPurge());
}

}  // namespace
}  // namespace imagekit
