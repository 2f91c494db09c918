// What the requests add up to, and the look-up by name that measurements lean on.
#include "fixture.h"

namespace ikemu {

class Rates : public EmulatorTest {};
class Names : public EmulatorTest {};

TEST_F(Rates, CountReadsWritesAndFilesApart) {
    const auto ids = seed(R"(["/a/1.jpg","/a/2.jpg","/a/3.jpg"])");
    send("GET", "/v1/files?limit=1");
    send("GET", "/v1/files/" + unknown + "/details");
    send("POST", "/v1/files/batch/deleteByFileIds", R"({"fileIds":[")" + ids[0] + R"(",")" + ids[1] + R"("]})");
    send("DELETE", "/v1/files/" + ids[2]);
    send("DELETE", "/v1/files/" + ids[2]);

    const Json::Value rates = control("GET", "rates");
    EXPECT_EQ(rates["deleted"].asInt(), 3);
    EXPECT_EQ(rates["all"]["requests"].asInt(), 5);
    EXPECT_EQ(rates["reads"]["requests"].asInt(), 2);
    EXPECT_EQ(rates["reads"]["failed"].asInt(), 1);
    EXPECT_EQ(rates["writes"]["requests"].asInt(), 3);
    EXPECT_EQ(rates["writes"]["failed"].asInt(), 1);
    EXPECT_EQ(rates["writes"]["refused"].asInt(), 0);
    EXPECT_FALSE(rates.isMember("series"));
    EXPECT_LE(rates["all"]["first_us"].asInt64(), rates["reads"]["last_us"].asInt64());
    EXPECT_LE(rates["writes"]["last_us"].asInt64(), rates["all"]["ended_us"].asInt64());

    const Json::Value entries = control("GET", "journal")["entries"];
    EXPECT_EQ(entries[2]["deleted"].asInt(), 2);
    EXPECT_EQ(entries[4]["deleted"].asInt(), 0);
    EXPECT_EQ(entries[0]["wall_us"].asInt64(), rates["all"]["first_us"].asInt64());
}

TEST_F(Rates, KnowTheBusiestWindowAndWhatWasRefused) {
    control("POST", "limits", R"({"read_rate":1,"read_burst":2})");
    for (int i = 0; i < 5; ++i)
        send("GET", "/v1/files?limit=1");
    const Json::Value rates = control("GET", "rates?window_ms=60000&bucket_ms=1000");
    EXPECT_EQ(rates["reads"]["busiest"].asInt(), 5);
    EXPECT_EQ(rates["reads"]["refused"].asInt(), 3);
    EXPECT_EQ(rates["reads"]["failed"].asInt(), 0);
    EXPECT_GE(rates["series"].size(), 1u);

    turn(R"({"latency_ms":30})");
    for (int i = 0; i < 3; ++i)
        send("DELETE", "/v1/files/" + unknown);
    EXPECT_LE(control("GET", "rates?window_ms=25")["writes"]["busiest"].asInt(), 1);
}

TEST_F(Rates, AreAskedForAnAccountAndATime) {
    control("POST", "accounts", R"({"account":"other","keys":["private_other"]})");
    send("GET", "/v1/files?limit=1");
    send("GET", "/v1/files?limit=1", "", "private_other");
    EXPECT_EQ(control("GET", "rates?account=other")["all"]["requests"].asInt(), 1);
    const std::string last = control("GET", "rates")["all"]["last_us"].asString();
    EXPECT_EQ(control("GET", "rates?since_us=" + last)["all"]["requests"].asInt(), 0);

    control("DELETE", "journal");
    EXPECT_EQ(control("GET", "rates?bucket_ms=10")["all"]["requests"].asInt(), 0);
}

TEST_F(Names, AreNumberedFromTheFirst) {
    control("POST", "seed_many", R"({"count":2,"folders":10,"prefix":"/many","first":12345678})");
    EXPECT_EQ(found(R"(name : "f1")"), "/many/d0008/f12345678.jpg /many/d0009/f12345679.jpg");
}

TEST_F(Names, AreFoundInAllFoldersAndForgottenWithTheirFiles) {
    const auto ids = seed(R"(["/a/same.jpg","/b/same.jpg","/c/same.jpg","/c/else.jpg"])");
    const std::string query = R"(name IN ["same.jpg","none.jpg"])";
    EXPECT_EQ(found(query), "/a/same.jpg /b/same.jpg /c/same.jpg");
    send("DELETE", "/v1/files/" + ids[1]);
    EXPECT_EQ(found(query), "/a/same.jpg /c/same.jpg");
    send("PUT", "/v1/files/rename", R"({"filePath":"/a/same.jpg","newFileName":"other.jpg"})");
    EXPECT_EQ(found(query), "/c/same.jpg");
    EXPECT_EQ(found(R"(name = "other.jpg")"), "/a/other.jpg");
    send("DELETE", "/v1/folder", R"({"folderPath":"/c"})");
    EXPECT_EQ(found(query), "");
    EXPECT_EQ(found(R"(name = "else.jpg")"), "");
}

}  // namespace ikemu
