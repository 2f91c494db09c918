// The service's own clock: what it stamps, and that it is another than this machine's when it is told so.
#include "fixture.h"
#include "times.h"

namespace ikemu {

class ClockTest : public EmulatorTest {
  protected:
    static std::string date_of(const Reply &reply) {
        for (const auto &[name, value] : reply.headers)
            if (name == "date")
                return value;
        return "";
    }
};

TEST_F(ClockTest, AnswersHaveADateOnlyWhenTold) {
    EXPECT_EQ(date_of(send("GET", "/v1/files")), "");
    turn(R"({"date_header":"on"})");
    const std::string before = http_date(wall_ms());
    const std::string date = date_of(send("GET", "/v1/files"));
    EXPECT_TRUE(date == before || date == http_date(wall_ms())) << date;
    EXPECT_EQ(http_date(1741083072345), "Tue, 04 Mar 2025 10:11:12 GMT");
}

TEST_F(ClockTest, MayBeAheadOrBehind) {
    for (const int offset : {-3600000, 7200000}) {
        control("POST", "reset");
        turn(R"({"date_header":"on","clock_offset_ms":)" + std::to_string(offset) + "}");
        const std::int64_t before = wall_ms() + offset;
        seed(R"(["/a.jpg"])");
        const Reply reply = send("GET", "/v1/files");
        const std::int64_t after = wall_ms() + offset;
        const auto created = parse_time(from_json(reply.body)[0]["createdAt"].asString());
        ASSERT_TRUE(created);
        EXPECT_GE(*created, before);
        EXPECT_LE(*created, after);
        EXPECT_TRUE(date_of(reply) == http_date(before) || date_of(reply) == http_date(after));
    }
    control("POST", "reset");
    seed(R"(["/b.jpg"])");
    const std::int64_t now = wall_ms();
    const auto created = parse_time(from_json(send("GET", "/v1/files").body)[0]["createdAt"].asString());
    EXPECT_LE(*created, now) << "a reset sets it right";
    EXPECT_GT(*created, now - 60000);
}

}  // namespace ikemu
