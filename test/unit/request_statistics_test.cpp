// Proves that each request is counted once, under its kind and its status, with the time it took, and taken once.

#include "core/request_statistics.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>

#include "api_test_support.h"

namespace imagekit {
namespace {

using namespace test;  // the support of this folder

using Counts = std::map<std::string, int64_t>;

/// What is not zero, as "kind status".
Counts CountsOf(const RequestStatistics& statistics) {
  Counts counts;
  for (int kind = 0; kind < kRequestKinds; ++kind) {
    for (int status = 0; status < kStatusClasses; ++status) {
      const int64_t count = statistics.requests[kind][status];
      if (count == 0) continue;
      counts[std::string(RequestKindName(static_cast<RequestKind>(kind))) + ' ' +
             StatusClassName(static_cast<StatusClass>(status))] = count;
    }
  }
  return counts;
}

int64_t Times(const RequestStatistics& statistics) {
  return std::accumulate(std::begin(statistics.times.counts), std::end(statistics.times.counts), int64_t{0});
}

constexpr int64_t kBounds[] = {10, 20};

TEST(Histogram, BoundsBelongToTheirOwnBucket) {
  Histogram<kBounds> histogram = {};
  for (const int64_t us : {-5, 0, 10, 11, 20, 21, 1000000}) histogram.Add(us);
  EXPECT_EQ(histogram.counts[0], 3);
  EXPECT_EQ(histogram.counts[1], 2);
  EXPECT_EQ(histogram.counts[2], 2);
  EXPECT_EQ(histogram.sum_us, 10 + 11 + 20 + 21 + 1000000);
}

TEST(Histogram, AddsUp) {
  Histogram<kBounds> one = {}, other = {};
  one.Add(5);
  other.Add(5);
  other.Add(30);
  one.Add(other);
  EXPECT_EQ(one.counts[0], 2);
  EXPECT_EQ(one.counts[1], 0);
  EXPECT_EQ(one.counts[2], 1);
  EXPECT_EQ(one.sum_us, 40);
}

TEST(RequestStatistics, KindsAndStatusesAreToldApart) {
  const struct {
    Request request;
    const char* name;
  } kKinds[] = {{Request::kFolderSearch, "search"}, {Request::kLibrarySearch, "search"},
                {Request::kIdSearch, "search"},     {Request::kProbe, "probe"},
                {Request::kDelete, "delete"},       {Request::kBulkDelete, "bulk_delete"},
                {Request::kPurge, "purge"},         {Request::kList, "list"},
                {Request::kUsage, "usage"}};
  const struct {
    int status;
    const char* name;
  } kStatuses[] = {{0, "none"},  {200, "2xx"}, {204, "2xx"}, {207, "2xx"}, {299, "2xx"},   {302, "other"},
                   {400, "400"}, {401, "401"}, {403, "403"}, {404, "404"}, {408, "4xx"},   {423, "4xx"},
                   {429, "429"}, {499, "4xx"}, {500, "5xx"}, {599, "5xx"}, {999, "other"}, {-1, "other"}};
  for (const auto& kind : kKinds) {
    for (const auto& status : kStatuses) {
      RequestStatistics statistics = {};
      statistics.Add(kind.request, status.status, 1);
      EXPECT_EQ(CountsOf(statistics), (Counts{{std::string(kind.name) + ' ' + status.name, 1}})) << status.status;
      EXPECT_EQ(Times(statistics), 1);
    }
  }
}

TEST(RequestStatistics, AddUp) {
  RequestStatistics one = {}, other = {};
  one.Add(Request::kDelete, 204, 1000);
  other.Add(Request::kDelete, 204, 1000);
  other.Add(Request::kPurge, 429, 1000);
  one.Add(other);
  EXPECT_EQ(CountsOf(one), (Counts{{"delete 2xx", 2}, {"purge 429", 1}}));
  EXPECT_EQ(Times(one), 3);
  EXPECT_EQ(one.times.sum_us, 3000);
}

TEST(ApiClientStatistics, CountEachRequestOnceForItsAccountAndAreTakenOnce) {
  ScriptedServer good(Reply(200, "[]"));
  ScriptedServer busy(Reply(429, R"({"message":"slow down"})"));
  ApiClient client{TransportOptions()};
  const int first = client.AddAccount(FastAccount(good.url()));
  const int second = client.AddAccount(FastAccount(busy.url()));
  client.Probe(1, first);
  client.Find(2, first, {"/", "a.jpg"});
  client.Find(3, first, {"/", "b.jpg"});  // in the same search
  client.Probe(4, second);
  EXPECT_EQ(TakeAnswers(&client, 4).size(), 4u);
  const RequestStatistics of_first = client.TakeStatistics(first), of_second = client.TakeStatistics(second);
  EXPECT_EQ(CountsOf(of_first), (Counts{{"probe 2xx", 1}, {"search 2xx", 1}}));
  EXPECT_EQ(CountsOf(of_second), (Counts{{"probe 429", 1}}));
  EXPECT_EQ(Times(of_first), 2);
  EXPECT_GT(of_first.times.sum_us, 0);
  EXPECT_EQ(CountsOf(client.TakeStatistics(first)), Counts());
  EXPECT_EQ(Times(client.TakeStatistics(first)), 0);
  EXPECT_THROW(client.TakeStatistics(2), std::invalid_argument);
}

TEST(ApiClientStatistics, TimeIsThatOfTheRequest) {
  constexpr int kMs = 60;
  ScriptedServer server([&](const SeenRequest&, Connection& connection) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kMs));  // what is measured
    connection.Send(NoContent());
  });
  ApiClient client{TransportOptions()};
  const int account = client.AddAccount(FastAccount(server.url()));
  SendDelete(&client, account, 1, "abc");
  TakeAnswer(&client);
  const RequestStatistics statistics = client.TakeStatistics(account);
  EXPECT_EQ(CountsOf(statistics), (Counts{{"delete 2xx", 1}}));
  EXPECT_GE(statistics.times.sum_us, kMs * 1000);
  EXPECT_EQ(statistics.times.counts[0] + statistics.times.counts[1] + statistics.times.counts[2], 0);  // up to 25 ms
}

TEST(ApiClientStatistics, BrokenAndAbandonedRequestsHaveNoStatus) {
  ScriptedServer server([&](const SeenRequest& request, Connection& connection) {
    if (request.method == "GET") {  // a status, and then not the whole body
      connection.Send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[");
      return connection.Close(true);
    }
    connection.WaitForClose();
  });
  ApiClient client{TransportOptions()};
  const int account = client.AddAccount(FastAccount(server.url()));
  client.Probe(1, account);
  EXPECT_EQ(TakeAnswer(&client).verdict, Verdict::kTransient);
  EXPECT_EQ(CountsOf(client.TakeStatistics(account)), (Counts{{"probe none", 1}}));
  SendDelete(&client, account, {{2, "abc"}, {3, "def"}});
  ASSERT_TRUE(RunUntil(&client, [&] { return server.request_count() == 2; }));
  client.Abandon();
  const RequestStatistics statistics = client.TakeStatistics(account);
  EXPECT_EQ(CountsOf(statistics), (Counts{{"bulk_delete none", 1}}));
  EXPECT_EQ(Times(statistics), 1);
}

}  // namespace
}  // namespace imagekit
