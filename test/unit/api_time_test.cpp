// Proves that times are read to the millisecond whatever the process's locale and time zone, and that a waiting time is
// always sane.

#include "core/api_time.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <string>

namespace imagekit {
namespace {

TEST(ApiTime, IsoTimesAreReadToTheMillisecond) {
  EXPECT_EQ(ParseIsoTime("1970-01-01T00:00:00.000Z"), 0);
  EXPECT_EQ(ParseIsoTime("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(ParseIsoTime("2025-03-04T10:11:12.345Z"), 1741083072345);
  EXPECT_EQ(ParseIsoTime("2025-03-04T10:11:12.3Z"), 1741083072300);
  EXPECT_EQ(ParseIsoTime("2025-03-04T10:11:12.345678901Z"), 1741083072345);
  EXPECT_EQ(ParseIsoTime("2025-03-04T10:11:12Z"), 1741083072000);
  EXPECT_EQ(ParseIsoTime("2025-03-04T15:41:12.345+05:30"), 1741083072345);
  EXPECT_EQ(ParseIsoTime("2025-03-04T02:11:12.345-08:00"), 1741083072345);
  EXPECT_EQ(ParseIsoTime("2000-02-29T00:00:00Z"), 951782400000);
  EXPECT_EQ(ParseIsoTime("2024-12-31T23:59:59.999Z"), 1735689599999);
  EXPECT_EQ(ParseIsoTime("9999-12-31T23:59:59.999Z"), 253402300799999);
}

// An independent calendar: the C library's, in UTC.
TEST(ApiTime, EveryDayOfTwoCenturiesAgreesWithTheCLibrary) {
  for (int64_t day = 0; day < 365 * 200; ++day) {
    const time_t seconds = static_cast<time_t>(day * 86400 + 12 * 3600 + 34 * 60 + 56);
    struct tm parts;
    ASSERT_NE(gmtime_r(&seconds, &parts), nullptr);
    char text[40];
    ASSERT_GT(strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts), 0u);
    ASSERT_EQ(ParseIsoTime(text), static_cast<int64_t>(seconds) * 1000) << text;
  }
}

TEST(ApiTime, TimeZoneOfTheProcessChangesNothing) {
  const char* before = getenv("TZ");
  const std::string saved = before == nullptr ? "" : before;
  setenv("TZ", "Pacific/Kiritimati", 1);
  tzset();
  EXPECT_EQ(ParseIsoTime("2025-03-04T10:11:12.345Z"), 1741083072345);
  EXPECT_EQ(RetryAfterMs("", "Tue, 04 Mar 2025 10:11:22 GMT", 1741083072000), 10000);
  before == nullptr ? unsetenv("TZ") : setenv("TZ", saved.c_str(), 1);
  tzset();
}

TEST(ApiTime, AnythingElseIsUnreadable) {
  for (const char* bad : {"",
                          "2025",
                          "2025-03-04",
                          "2025-03-04T10:11:12",
                          "2025-03-04 10:11:12Z",
                          "2025-03-04T10:11Z",
                          "2025-13-01T00:00:00Z",
                          "2025-00-01T00:00:00Z",
                          "2025-02-29T00:00:00Z",
                          "1900-02-29T00:00:00Z",
                          "2025-04-31T00:00:00Z",
                          "2025-03-00T00:00:00Z",
                          "2025-03-04T24:00:00Z",
                          "2025-03-04T10:60:00Z",
                          "2025-03-04T10:11:60Z",
                          "1969-12-31T23:59:59Z",
                          "1970-01-01T00:00:00+05:00",
                          "2025-03-04T10:11:12.Z",
                          "2025-03-04T10:11:12.345Zx",
                          "2025-03-04T10:11:12.345z",
                          "2025-03-04T10:11:12+0530",
                          "2025-03-04T10:11:12+24:00",
                          "2025-03-04T10:11:12+05:60",
                          "+2025-03-04T10:11:12Z",
                          "-025-03-04T10:11:12Z",
                          "2025-3-4T1:1:1Z",
                          "20a5-03-04T10:11:12Z",
                          " 2025-03-04T10:11:12Z"}) {
    EXPECT_EQ(ParseIsoTime(bad), -1) << bad;
  }
}

TEST(ApiTime, WaitIsTheLongerHeaderWithinOneSecondAndFifteenMinutes) {
  constexpr int64_t kNow = 1741083072000;  // Tue, 04 Mar 2025 10:11:12 GMT
  EXPECT_EQ(RetryAfterMs("", "", kNow), 1000);
  EXPECT_EQ(RetryAfterMs("640", "", kNow), 1000);
  EXPECT_EQ(RetryAfterMs("2500", "", kNow), 2500);
  EXPECT_EQ(RetryAfterMs("2500.75", "", kNow), 2500);
  EXPECT_EQ(RetryAfterMs("2500", "2", kNow), 2500);
  EXPECT_EQ(RetryAfterMs("2500", "3", kNow), 3000);
  EXPECT_EQ(RetryAfterMs("", "Tue, 04 Mar 2025 10:11:42 GMT", kNow), 30000);
  EXPECT_EQ(RetryAfterMs("", "Tuesday, 04-Mar-25 10:11:42 GMT", kNow), 30000);
  EXPECT_EQ(RetryAfterMs("", "Tue Mar  4 10:11:42 2025", kNow), 30000);
  EXPECT_EQ(RetryAfterMs("", "Tue, 04 Mar 2025 10:11:02 GMT", kNow), 1000);
  EXPECT_EQ(RetryAfterMs("900000", "", kNow), 900000);
  EXPECT_EQ(RetryAfterMs("900001", "", kNow), 900000);
  EXPECT_EQ(RetryAfterMs("", "901", kNow), 900000);
  EXPECT_EQ(RetryAfterMs("99999999999999999999999999", "", kNow), 900000);
  EXPECT_EQ(RetryAfterMs("", "99999999999999999999999999", kNow), 900000);
  for (const char* bad : {"-1", "+5000", "0x9999", "9999ms", " ", ".", "NaN", "1e9"}) {
    EXPECT_EQ(RetryAfterMs(bad, "", kNow), 1000) << bad;
    EXPECT_EQ(RetryAfterMs("", bad, kNow), 1000) << bad;
  }
}

TEST(ApiTime, AWaitIsNamedByAReadableHeader) {
  EXPECT_TRUE(NamesAWait("640", ""));
  EXPECT_TRUE(NamesAWait("", "2"));
  EXPECT_TRUE(NamesAWait("0", "Tue, 04 Mar 2025 10:11:42 GMT"));
  for (const char* none : {"", "0", "-5", "soon", " "}) EXPECT_FALSE(NamesAWait(none, none)) << none;
}

}  // namespace
}  // namespace imagekit
