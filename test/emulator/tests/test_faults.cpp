// Fault rules without a socket: matching, counting, and what is executed under each kind.
#include <atomic>
#include <thread>

#include "fixture.h"
#include "times.h"

namespace ikemu {

class FaultTest : public EmulatorTest {
  protected:
    int fault(const std::string &rule) { return control("POST", "faults", rule)["id"].asInt(); }
    int list_status() { return send("GET", "/v1/files").status; }
    int stalled() { return control("GET", "health")["stalled"].asInt(); }
    Json::Value last_entry() {
        const Json::Value journal = control("GET", "journal");
        return journal["entries"][journal["entries"].size() - 1];
    }
    // Waits for a condition, ten seconds at most.
    template <typename Condition>
    static bool eventually(Condition condition) {
        const std::int64_t until = monotonic_ms() + 10000;
        while (!condition()) {
            if (monotonic_ms() > until)
                return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
        return true;
    }
};

TEST_F(FaultTest, CountsSkipsAndRepeats) {
    fault(R"({"kind":"text_500","count":2})");
    EXPECT_EQ(list_status(), 500);
    EXPECT_EQ(list_status(), 500);
    EXPECT_EQ(list_status(), 200);
    control("DELETE", "faults");
    fault(R"({"kind":"html_502","every":3})");
    std::string statuses;
    for (int i = 0; i < 7; ++i)
        statuses += std::to_string(list_status()) + " ";
    EXPECT_EQ(statuses, "200 200 502 200 200 502 200 ");
    control("DELETE", "faults");
    fault(R"({"kind":"html_502","skip":1,"count":1})");
    EXPECT_EQ(list_status(), 200);
    EXPECT_EQ(list_status(), 502);
    EXPECT_EQ(list_status(), 200);
    EXPECT_TRUE(control("GET", "faults")[0]["spent"].asBool());
    const int always = fault(R"({"kind":"html_502","count":0})");
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(list_status(), 502);
    EXPECT_TRUE(control("DELETE", "faults/" + std::to_string(always))["ok"].asBool());
    EXPECT_EQ(list_status(), 200);
}

TEST_F(FaultTest, MatchesByMethodPathAccountAndText) {
    const auto ids = seed(R"(["/a.jpg"])");
    control("POST", "accounts", R"({"account":"other","keys":["private_other"]})");
    fault(R"({"kind":"text_500","method":"DELETE"})");
    EXPECT_EQ(list_status(), 200);
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0]).status, 500);
    fault(R"({"kind":"text_500","method":"DELETE|POST","count":2})");
    EXPECT_EQ(list_status(), 200);
    EXPECT_EQ(send("POST", "/v1/files/batch/deleteByFileIds", "{}").status, 500);
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0]).status, 500);
    fault(R"({"kind":"text_500","prefix":"/v1/accounts"})");
    EXPECT_EQ(list_status(), 200);
    EXPECT_EQ(send("GET", "/v1/accounts/url-endpoints").status, 500);
    fault(R"({"kind":"text_500","path":"^/v1/files/[0-9a-f]{24}/details$"})");
    EXPECT_EQ(list_status(), 200);
    EXPECT_EQ(send("GET", "/v1/files/" + ids[0] + "/details").status, 500);
    fault(R"({"kind":"text_500","account":"other"})");
    EXPECT_EQ(list_status(), 200);
    EXPECT_EQ(send("GET", "/v1/files", "", "private_other").status, 500);
    fault(R"({"kind":"text_500","contains":"x y"})");
    EXPECT_EQ(list_status(), 200);
    EXPECT_EQ(send("GET", "/v1/files?path=x%20y").status, 500);
    EXPECT_EQ(send("GET", "/_control/health", "", "").status, 200) << "the control API is beyond faults";
}

TEST_F(FaultTest, FixedAnswersAreTheApisOwn) {
    const std::vector<std::pair<std::string, int>> kinds{{"unauthorized", 401}, {"forbidden", 403}, {"expired", 403},
                                                         {"disabled", 403},     {"bulk_job", 423},  {"rate_limited", 429}};
    const auto ids = seed(R"(["/a.jpg"])");
    for (const auto &[kind, status] : kinds) {
        fault("{\"kind\":\"" + kind + "\"}");
        const Reply reply = send("DELETE", "/v1/files/" + ids[0]);
        EXPECT_EQ(reply.status, status) << kind;
        EXPECT_FALSE(message(reply).empty()) << kind;
        EXPECT_FALSE(last_entry()["executed"].asBool());
        EXPECT_EQ(last_entry()["fault"], kind);
    }
    EXPECT_EQ(count(), 1);
    fault(R"({"kind":"rate_limited","reset":700,"retry_after":3})");
    const Reply limited = send("GET", "/v1/files");
    std::string headers;
    for (const auto &[name, value] : limited.headers)
        headers += name + "=" + value + " ";
    EXPECT_NE(headers.find("X-RateLimit-Reset=700 "), std::string::npos);
    EXPECT_NE(headers.find("Retry-After=3 "), std::string::npos);
    fault(R"({"status":418,"json":{"message":"tea"},"headers":{"x-one":"1"}})");
    const Reply tea = send("GET", "/v1/files");
    EXPECT_EQ(tea.status, 418);
    EXPECT_EQ(tea.body, R"({"message":"tea"})");
}

TEST_F(FaultTest, ResetsBeforeAndAfterTheCommit) {
    const auto ids = seed(R"(["/a.jpg"])");
    fault(R"({"kind":"reset_before"})");
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0]).delivery, Delivery::abort);
    EXPECT_EQ(count(), 1);
    EXPECT_EQ(last_entry()["status"], 0);
    fault(R"({"kind":"reset_after"})");
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0]).delivery, Delivery::abort);
    EXPECT_EQ(count(), 0);
    EXPECT_TRUE(last_entry()["executed"].asBool());
    EXPECT_EQ(last_entry()["removed"][0], ids[0]);
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0]).status, 404);
    EXPECT_EQ(last_entry()["removed"].size(), 0U);
}

TEST_F(FaultTest, SpoiltBodiesOfExecutedRequests) {
    seed(R"(["/a.jpg"])");
    const std::string whole = send("GET", "/v1/files").body;
    fault(R"({"kind":"truncated_json"})");
    EXPECT_EQ(send("GET", "/v1/files").body, whole.substr(0, whole.size() / 2));
    fault(R"({"kind":"wrong_content_type"})");
    const Reply wrong = send("GET", "/v1/files");
    EXPECT_EQ(wrong.content_type, "text/html");
    EXPECT_EQ(wrong.body, whole);
    fault(R"({"kind":"huge_body","bytes":1000})");
    EXPECT_EQ(send("GET", "/v1/files").delivery, Delivery::filler);
    fault(R"({"kind":"headers","headers":{"X-RateLimit-Reset":"5"}})");
    EXPECT_EQ(send("GET", "/v1/files").body, whole);
}

TEST_F(FaultTest, AStalledRequestWaitsForReleaseAndThenRuns) {
    const auto ids = seed(R"(["/a.jpg"])");
    fault(R"({"kind":"stall","method":"DELETE"})");
    std::atomic<int> status{0};
    std::thread client([&] { status = send("DELETE", "/v1/files/" + ids[0]).status; });
    EXPECT_TRUE(eventually([&] { return stalled() == 1; }));
    EXPECT_EQ(count(), 1);
    EXPECT_FALSE(last_entry()["done"].asBool());
    EXPECT_EQ(control("POST", "release")["released"], 1);
    client.join();
    EXPECT_EQ(status, 204);
    EXPECT_EQ(count(), 0);
}

TEST_F(FaultTest, StallAfterHasRunAlready) {
    const auto ids = seed(R"(["/a.jpg"])");
    fault(R"({"kind":"stall_after"})");
    std::thread client([&] { send("DELETE", "/v1/files/" + ids[0]); });
    EXPECT_TRUE(eventually([&] { return stalled() == 1; }));
    EXPECT_EQ(count(), 0);
    control("POST", "reset");
    client.join();
}

TEST_F(FaultTest, AStallEndsByItselfAfterItsTime) {
    fault(R"({"kind":"stall","ms":120})");
    const std::int64_t started = monotonic_ms();
    EXPECT_EQ(list_status(), 200);
    EXPECT_GE(monotonic_ms() - started, 115);
    EXPECT_EQ(stalled(), 0);
}

TEST_F(FaultTest, AStalledRequestOfAClientThatHasGoneIsDroppedUnlessLate) {
    const auto ids = seed(R"(["/a.jpg"])");
    Request request;
    request.method = "DELETE";
    request.path = "/v1/files/" + ids[0];
    request.has_authorization = true;
    request.authorization = basic("private_test_acme:");
    request.client_gone = [] { return true; };
    fault(R"({"kind":"stall"})");
    EXPECT_EQ(emulator.handle(request).delivery, Delivery::abort);
    EXPECT_EQ(count(), 1);
    fault(R"({"kind":"stall","late":true})");
    emulator.handle(request);
    EXPECT_EQ(count(), 0);
}

TEST_F(FaultTest, LatencyOfOneAndOfAll) {
    fault(R"({"kind":"latency","ms":60})");
    std::int64_t started = monotonic_ms();
    EXPECT_EQ(list_status(), 200);
    EXPECT_GE(monotonic_ms() - started, 55);
    turn(R"({"latency_ms":40})");
    started = monotonic_ms();
    EXPECT_EQ(list_status(), 200);
    EXPECT_GE(monotonic_ms() - started, 35);
    EXPECT_GE(last_entry()["duration_ms"].asInt(), 35);
}

TEST_F(FaultTest, RulesThatMakeNoSenseAreRefused) {
    for (const char *bad : {R"({"kind":"unknown"})", R"({"pathh":"x"})", R"({"path":"("})", "[]", "7",
                            R"({"status":9})", R"({"count":"many"})"})
        EXPECT_EQ(send("POST", "/_control/faults", bad, "").status, 400) << bad;
    EXPECT_EQ(control("GET", "faults").size(), 0u);
}

}  // namespace ikemu
