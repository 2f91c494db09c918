// Credentials, rights, rate limits, the journal, and the switches and seeds of the control API.
#include <thread>

#include "fixture.h"

namespace ikemu {

class AccountTest : public EmulatorTest {
  protected:
    std::string refusal(const std::string &key, int status) {
        const Reply reply = send("GET", "/v1/files", "", key);
        EXPECT_EQ(reply.status, status);
        return status == 200 ? "" : message(reply);
    }
    static std::string header(const Reply &reply, const std::string &name) {
        for (const auto &[key, value] : reply.headers)
            if (key == name)
                return value;
        return "";
    }
};

TEST_F(AccountTest, KeysAreKnownMissingExpiredOrDisabled) {
    refusal("private_test_acme", 200);
    refusal("private_test_acme:some password", 200);
    EXPECT_EQ(refusal("", 401), "Your request does not contain private API key.");
    EXPECT_EQ(refusal("private_else", 403), "Your account cannot be authenticated.");
    control("POST", "accounts", R"({"account":"acme","add_keys":["private_new"],"expire_keys":["private_test_acme"]})");
    EXPECT_EQ(refusal("private_test_acme", 403), "Your request contains expired private API key.");
    control("POST", "accounts", R"({"account":"acme","revoke_keys":["private_test_acme"]})");
    EXPECT_EQ(refusal("private_test_acme", 403), "Your account cannot be authenticated.");
    refusal("private_new", 200);
    control("POST", "accounts", R"({"account":"acme","disabled":true})");
    EXPECT_EQ(refusal("private_new", 403), "Your account is disabled.");
    control("POST", "reset");
    refusal("private_test_acme", 200);
}

TEST_F(AccountTest, OtherCredentialsThanBasicAreNone) {
    Request request;
    request.method = "GET";
    request.path = "/v1/files";
    request.has_authorization = true;
    for (const std::string text : {"Bearer private_test_acme", "Basic private_test_acme", "Basic ", ""}) {
        request.authorization = text;
        EXPECT_EQ(emulator.handle(request).status, 401) << text;
    }
    request.authorization = basic("private_test_acme");
    EXPECT_EQ(emulator.handle(request).status, 401) << "the colon is part of the scheme";
    request.authorization = basic(":private_test_acme");
    EXPECT_EQ(emulator.handle(request).status, 401);
}

TEST_F(AccountTest, AnotherAccountsKeySeesNothing) {
    const auto ids = seed(R"(["/a.jpg"])");
    control("POST", "accounts", R"({"account":"other","keys":["private_other"]})");
    EXPECT_EQ(send("GET", "/v1/files", "", "private_other").body, "[]");
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0], "", "private_other").status, 404);
    EXPECT_EQ(count(), 1);
}

TEST_F(AccountTest, RestrictedKeysDoWhatTheirRightsSay) {
    const auto ids = seed(R"(["/a.jpg"])");
    control("POST", "accounts", R"({"account":"acme","add_keys":[{"key":"private_r","rights":{"media":"read"}}]})");
    refusal("private_r", 200);
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0], "", "private_r").status, 403);
    EXPECT_EQ(send("GET", "/v1/accounts/url-endpoints", "", "private_r").status, 403);
    turn(R"({"restricted_status":401})");
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0], "", "private_r").status, 401);
    EXPECT_EQ(count(), 1);
}

TEST_F(AccountTest, RateLimitsRefuseAndSayHowLongToWait) {
    seed(R"(["/a.jpg"])");
    control("POST", "limits", R"({"read_rate":10,"read_burst":2,"write_rate":1,"write_burst":1})");
    refusal("private_test_acme", 200);
    refusal("private_test_acme", 200);
    const Reply reply = send("GET", "/v1/files");
    EXPECT_EQ(reply.status, 429);
    EXPECT_EQ(reply.body, "{\"message\":\"rate limit exceeded\"}");
    EXPECT_EQ(header(reply, "X-RateLimit-Limit"), "2");
    EXPECT_EQ(header(reply, "X-RateLimit-Interval"), "1000");
    const int wait = std::stoi(header(reply, "X-RateLimit-Reset"));
    EXPECT_GT(wait, 0);
    EXPECT_LE(wait, 100);
    std::this_thread::sleep_for(std::chrono::milliseconds(wait));
    EXPECT_EQ(send("GET", "/v1/files").status, 200) << "the advice was right";
    EXPECT_EQ(send("DELETE", "/v1/files/" + unknown).status, 404) << "writes have a bucket of their own";
    EXPECT_EQ(send("DELETE", "/v1/files/" + unknown).status, 429);
    turn(R"({"rate_headers":"never"})");
    EXPECT_EQ(header(send("DELETE", "/v1/files/" + unknown), "X-RateLimit-Reset"), "");
    control("POST", "limits", R"({"read_rate":0,"write_rate":0})");
    EXPECT_EQ(header(send("GET", "/v1/files"), "X-RateLimit-Limit"), "");
    turn(R"({"rate_headers":"always"})");
    EXPECT_NE(header(send("GET", "/v1/files"), "X-RateLimit-Limit"), "");
}

TEST_F(AccountTest, EveryAnswerHasARequestId) {
    const Reply one = send("GET", "/v1/files"), two = send("DELETE", "/v1/files/" + unknown);
    EXPECT_EQ(header(one, "x-ik-requestid").size(), 36u);
    EXPECT_NE(header(one, "x-ik-requestid"), header(two, "x-ik-requestid"));
    EXPECT_EQ(header(one, "access-control-allow-origin"), "*");
    EXPECT_EQ(header(one, "etag").substr(0, 3), "W/\"");
    EXPECT_EQ(one.content_type, "application/json; charset=utf-8");
}

TEST_F(AccountTest, TheJournalTellsEverythingButTheKey) {
    const int last = control("GET", "journal")["last"].asInt();
    send("GET", "/v1/files?path=%2Fa&searchQuery=name%20%3D%20%22private_test_acme%22");
    send("POST", "/v1/files/batch/deleteByFileIds", R"({"fileIds":[]})");
    send("DELETE", "/v1/files/private_test_acme", "", "");
    const Json::Value journal = control("GET", "journal?since=" + std::to_string(last));
    ASSERT_EQ(journal["entries"].size(), 3u);
    const Json::Value &search = journal["entries"][0], &bulk = journal["entries"][1];
    EXPECT_EQ(search["query"]["path"], "/a");
    EXPECT_EQ(search["query"]["searchQuery"], "name = \"***\"");
    EXPECT_EQ(search["account"], "acme");
    EXPECT_EQ(search["status"], 200);
    EXPECT_TRUE(search["done"].asBool() && search["executed"].asBool());
    EXPECT_EQ(bulk["body"], R"({"fileIds":[]})");
    EXPECT_EQ(bulk["status"], 400);
    EXPECT_EQ(journal["entries"][2]["status"], 401);
    EXPECT_FALSE(journal["entries"][2]["executed"].asBool());
    EXPECT_EQ(compact_json(journal).find("private_test"), std::string::npos);
    EXPECT_EQ(control("GET", "journal?method=DELETE")["entries"].size(), 1u);
    EXPECT_EQ(control("DELETE", "journal")["last"].asInt(), last + 3);
    EXPECT_EQ(control("GET", "journal")["entries"].size(), 0u);
}

TEST_F(AccountTest, SwitchesAreCheckedAsAWhole) {
    const Json::Value before = control("GET", "switches");
    EXPECT_EQ(before["bulk_404"], "atomic");
    EXPECT_EQ(before["bulk_limit"], 100);
    for (const char *bad : {R"({"bulk_limit":50,"no_such":1})", R"({"bulk_404":"maybe"})", R"({"purge_status":204})",
                            R"({"bulk_207_ids":"x"})", "[]", "nonsense", R"({"latency_ms":-1})"}) {
        EXPECT_EQ(send("POST", "/_control/switches", bad, "").status, 400) << bad;
        EXPECT_EQ(control("GET", "switches"), before) << bad;
    }
    turn(R"({"single_quotes":"accepted","restricted_status":401})");
    EXPECT_EQ(control("GET", "switches")["single_quotes"], "accepted");
    control("POST", "reset");
    EXPECT_EQ(control("GET", "switches"), before);
}

TEST_F(AccountTest, SeedsRefuseNonsense) {
    for (const char *bad : {R"(["a.jpg"])", R"(["/a/"])", R"([{"filePath":"/a.jpg","sise":1}])", "{}",
                            R"([{"filePath":"/a.jpg","fileId":"x"}])", R"([{"account":"nobody","filePath":"/a.jpg"}])"})
        EXPECT_EQ(send("POST", "/_control/seed", bad, "").status, 400) << bad;
    EXPECT_EQ(send("POST", "/_control/seed_many", R"({"count":0})", "").status, 400);
    EXPECT_EQ(send("GET", "/_control/nothing", "", "").status, 400);
    const auto ids = seed(R"([{"filePath":"/x.jpg","fileId":"0123456789abcdef01234567","versions":3}])");
    EXPECT_EQ(ids[0], unknown);
    EXPECT_EQ(control("GET", "files?prefix=/x")[0]["version"], 3);
    EXPECT_EQ(control("POST", "remove", R"({"filePaths":["/x.jpg","/y.jpg"]})")["removed"], 1);
    seed(R"(["/p/1.jpg","/p/2.jpg","/pq.jpg"])");
    EXPECT_EQ(control("GET", "count?prefix=/p")["count"], 3);
    EXPECT_EQ(control("GET", "count?prefix=/p/")["count"], 2);
    EXPECT_EQ(control("GET", "files?after=/p/1.jpg&limit=1")[0]["filePath"], "/p/2.jpg");
}

}  // namespace ikemu
