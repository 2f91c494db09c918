// Proves what a purge sends, what its answers mean, and that it stands back behind everything else.

#include <gtest/gtest.h>

#include <string>

#include "core/taxonomy.h"
#include "emulator_test_support.h"

namespace imagekit {
namespace {

using namespace test;  // the support of this folder

constexpr char kUrl[] = "https://ik.imagekit.io/acme/pets/my%20\"cat\"\\.jpg*";

class ApiPurge : public EmulatorTest {
 protected:
  Answer Purge(const std::string& url = kUrl) {
    ApiClient client{TransportOptions()};
    client.Purge(7, client.AddAccount(FastAccount(Url())), url);
    return TakeAnswer(&client);
  }
};

TEST_F(ApiPurge, SendsTheContractsRequest) {
  const Answer answer = Purge();
  EXPECT_EQ(answer.verdict, Verdict::kPurged) << answer.detail;
  EXPECT_EQ(answer.operation, Operation::kPurge);
  EXPECT_EQ(answer.ticket, 7u);
  EXPECT_EQ(answer.http_status, 201);
  ASSERT_EQ(Requests().size(), 1u);
  EXPECT_EQ(Requests()[0]["method"], "POST");
  EXPECT_EQ(Requests()[0]["path"], "/v1/files/purge");
  Json::Value body;
  std::istringstream(Requests()[0]["body"].asString()) >> body;
  EXPECT_EQ(body["url"], kUrl);
  EXPECT_EQ(body.size(), 1u);
  Turn(R"({"purge_status":200})");
  EXPECT_EQ(Purge().verdict, Verdict::kPurged);
}

TEST_F(ApiPurge, WhatIsNoUrlIsNotSent) {
  for (const std::string& url : {std::string(), std::string("https://x/\n"), std::string("https://x/\xFF"),
                                 std::string("https://x/\0", 11), "https://x/" + std::string(5000, 'x')}) {
    const Answer answer = Purge(url);
    EXPECT_EQ(answer.verdict, Verdict::kRejected);
    EXPECT_EQ(answer.operation, Operation::kPurge);
  }
  EXPECT_TRUE(Requests().empty());
}

TEST_F(ApiPurge, RefusalsAreToldApart) {
  const struct {
    const char* fault;
    Verdict verdict;
  } kCases[] = {
      {R"({"kind":"status","status":429,"json":{"message":"Purge cache request limit exceeded."}})", Verdict::kQuota},
      {R"({"kind":"status","status":429,"json":{"message":"x"},"headers":{"X-RateLimit-Reset":"0"}})", Verdict::kQuota},
      {R"({"kind":"rate_limited","reset":1500})", Verdict::kThrottled},
      {R"({"kind":"status","status":403,"json":{"message":"Purge cache request LIMIT exceeded."}})", Verdict::kQuota},
      {R"({"kind":"status","status":403,"json":{"message":"Your monthly quota is used up."}})", Verdict::kQuota},
      {R"({"kind":"forbidden"})", Verdict::kCredentials},
      {R"({"kind":"status","status":400,"json":{"message":"The URL is not valid for cache purging."}})",
       Verdict::kRejected},
      {R"({"kind":"status","status":200,"body":""})", Verdict::kBroken},
      {R"({"kind":"status","status":200,"body":"<html>"})", Verdict::kBroken},
      {R"({"kind":"html_404"})", Verdict::kBroken},
      {R"({"kind":"text_500"})", Verdict::kTransient},
      {R"({"kind":"reset_before"})", Verdict::kTransient}};
  for (const auto& c : kCases) {
    Fault(c.fault);
    const Answer answer = Purge();
    EXPECT_EQ(answer.verdict, c.verdict) << c.fault << answer.detail;
    Control("DELETE", "faults");
  }
  for (const char* quota : {"429", "403"}) {
    Turn(std::string(R"({"purge_quota_limit":0,"purge_quota":")") + quota + "\"}");
    EXPECT_EQ(Purge().verdict, Verdict::kQuota);
  }
}

TEST_F(ApiPurge, ItsRefusalPausesPurgesAndNoDeletes) {
  const std::vector<std::string> ids = Seed({"/a.jpg"});
  Fault(R"({"kind":"rate_limited","reset":30000,"prefix":"/v1/files/purge"})");
  ApiClient client{TransportOptions()};
  const int account = client.AddAccount(FastAccount(Url()));
  client.Purge(1, account, kUrl);
  EXPECT_EQ(TakeAnswer(&client).verdict, Verdict::kThrottled);
  client.Purge(2, account, kUrl);
  SendDelete(&client, account, 3, ids[0]);
  EXPECT_EQ(TakeAnswer(&client).ticket, 3u);
  EXPECT_EQ(Requests("POST").size(), 1u);
  EXPECT_GT(client.TimeoutMs(), 20000);
  EXPECT_LE(client.TimeoutMs(), 30000);
}

TEST_F(ApiPurge, GoesAfterLookUps) {
  ApiClient client{TransportOptions()};
  AccountAccess access = FastAccount(Url());
  access.search_size = 1;
  const int account = client.AddAccount(access);
  client.Purge(100, account, kUrl);
  for (uint64_t i = 0; i < 30; ++i) client.Find(i, account, {"/pets", std::to_string(i) + ".jpg"});
  ByTicket(&client, 31);
  const std::vector<Json::Value> requests = Requests();
  ASSERT_EQ(requests.size(), 31u);
  for (size_t i = 0; i + 8 < requests.size(); ++i) EXPECT_EQ(requests[i]["method"], "GET") << i;
}

TEST_F(ApiPurge, LeavesTheLastTokenToDeletesUntilNoneIsWanted) {
  ApiClient client{TransportOptions()};
  AccountAccess access = FastAccount(Url());
  access.write_rate = 0.01;
  access.write_burst = 3;
  const int account = client.AddAccount(access);
  EXPECT_EQ(client.ReserveDeletes(account, 1), 1);
  client.ReturnDeletes(account, 1);
  const int64_t wanted = NowMs();
  for (uint64_t ticket = 1; ticket <= 4; ++ticket) client.Purge(ticket, account, kUrl);
  EXPECT_EQ(TakeAnswers(&client, 2).size(), 2u);
  EXPECT_LT(NowMs() - wanted, 900) << "with two tokens or more they go at once";
  EXPECT_GT(client.TimeoutMs(), 0);
  EXPECT_LE(client.TimeoutMs(), 1000);
  EXPECT_EQ(TakeAnswer(&client).ticket, 3u);
  EXPECT_GE(NowMs() - wanted, 999) << "the last one waits until no delete was wanted for a second";
  EXPECT_GT(client.TimeoutMs(), 10000);
  EXPECT_EQ(client.ReserveDeletes(account, 1), 0);
}

// Each of them would hold a place until it times out.
TEST_F(ApiPurge, ThoseThatHangTakeNoPlaceFromLookUpsAndDeletes) {
  for (const int places : {1, 2, 8}) {
    Control("POST", "faults", R"({"kind":"stall","path":"/purge$","count":0})");
    Control("DELETE", "journal");
    TransportOptions options;
    options.max_in_flight = places;
    ApiClient client(options);
    const int account = client.AddAccount(FastAccount(Url()));
    for (uint64_t ticket = 1; ticket <= 20; ++ticket) client.Purge(ticket, account, kUrl);
    const auto hanging = [&] { return Requests().size(); };
    const size_t most = static_cast<size_t>(std::max(places / 4, 1));
    ASSERT_TRUE(RunUntil(&client, [&] { return hanging() == most; }));
    for (uint64_t ticket = 100; ticket < 130; ++ticket) {
      client.Find(ticket, account, {"/pets", std::to_string(ticket) + ".jpg"});
      EXPECT_EQ(TakeAnswer(&client).ticket, ticket) << places;
      SendDelete(&client, account, ticket + 100, "5f0c0c0c0c0c0c0c0c0c0c0c");
      EXPECT_EQ(TakeAnswer(&client).ticket, ticket + 100) << places;
    }
    EXPECT_EQ(client.ReserveDeletes(account, places + 1), places) << "every place is free for deletes";
    client.ReturnDeletes(account, places);
    EXPECT_EQ(hanging(), most + 60) << "and no further purge went";
    Control("DELETE", "faults");
  }
}

}  // namespace
}  // namespace imagekit
