// Proves that requests wait for their account's tokens, that a 429 stops its account and class and nothing else, and
// that the owner is told how long.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api_test_support.h"
#include "core/api.h"

namespace imagekit {
namespace {

using namespace test;

const LibraryPath kCat = {"/pets", "cat.jpg"};
constexpr char kId[] = "67c6d1a4432c47641600aa01";

void Serve(const SeenRequest& request, Connection& connection) {
  connection.Send(request.method == "DELETE" ? NoContent() : Reply(200, "[]"));
}

TEST(ApiPacing, RequestsWaitForTokensAndTheTimeoutSaysSo) {
  ScriptedServer server(Serve);
  ApiClient client({});
  AccountAccess access = FastAccount(server.url());
  access.write_rate = 10;  // one in 100 ms
  access.write_burst = 2;
  const int account = client.AddAccount(access);
  const int64_t start = NowMs();
  for (uint64_t ticket = 0; ticket < 4; ++ticket) client.Delete(ticket, account, kId);
  EXPECT_EQ(TakeAnswers(&client, 2).size(), 2u);
  const int wait = client.TimeoutMs();
  EXPECT_GE(wait, 0);
  EXPECT_LE(wait, 100);
  EXPECT_EQ(TakeAnswers(&client, 2).size(), 2u);
  EXPECT_GE(NowMs() - start, 200) << "two beyond the burst take two periods";
}

TEST(ApiPacing, QueueIsFirstInFirstOutWithinAClass) {
  ScriptedServer server(Serve);
  TransportOptions options;
  options.max_in_flight = 1;
  ApiClient client(options);
  const int account = client.AddAccount(FastAccount(server.url()));
  for (uint64_t ticket = 0; ticket < 10; ++ticket) client.Delete(ticket, account, kId);
  uint64_t expected = 0;
  for (const Answer& answer : TakeAnswers(&client, 10)) EXPECT_EQ(answer.ticket, expected++);
}

TEST(ApiPacing, AnEmptyBucketBlocksNeitherTheOtherClassNorAnotherAccount) {
  ScriptedServer server(Serve);
  ApiClient client({});
  AccountAccess slow = FastAccount(server.url());
  slow.write_rate = 0.001;
  slow.write_burst = 1;
  const int first = client.AddAccount(slow);
  const int second = client.AddAccount(FastAccount(server.url()));
  for (uint64_t ticket = 0; ticket < 20; ++ticket) client.Delete(ticket, first, kId);
  EXPECT_EQ(TakeAnswer(&client).ticket, 0u);
  client.Find(100, first, kCat);
  EXPECT_EQ(TakeAnswer(&client).ticket, 100u);
  client.Delete(101, second, kId);
  EXPECT_EQ(TakeAnswer(&client).ticket, 101u);
  EXPECT_TRUE(client.Busy());
  EXPECT_GT(client.TimeoutMs(), 1000) << "no spinning while only the clock can help";
}

TEST(ApiPacing, AccountsTakeTurnsForTheWire) {
  ScriptedServer server(Serve);
  TransportOptions options;
  options.max_in_flight = 1;
  ApiClient client(options);
  const int first = client.AddAccount(FastAccount(server.url()));
  const int second = client.AddAccount(FastAccount(server.url()));
  for (uint64_t ticket = 0; ticket < 10; ++ticket) client.Delete(ticket, first, kId);
  client.Delete(100, second, kId);
  const std::vector<Answer> answers = TakeAnswers(&client, 2);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_TRUE(answers[0].ticket == 100 || answers[1].ticket == 100) << "not behind all ten of the other account";
}

TEST(ApiPacing, RetryAfterIsTheLongerOfBothHeadersWithinBounds) {
  struct Case {
    const char* headers;
    int64_t least;
    int64_t most;
  };
  const Case cases[] = {
      {"", 1000, 1000},
      {"X-RateLimit-Reset: 640\r\n", 1000, 1000},
      {"X-RateLimit-Reset: 3000\r\nX-RateLimit-Limit: 5\r\nX-RateLimit-Interval: 9000\r\n", 3000, 3000},
      {"x-ratelimit-reset: 3000\r\nretry-after: 2\r\n", 3000, 3000},
      {"X-RateLimit-Reset: 3000\r\nRetry-After: 7\r\n", 7000, 7000},
      {"Retry-After: 99999999999999999999\r\n", 900000, 900000},
      {"X-RateLimit-Reset: -5\r\nRetry-After: soon\r\n", 1000, 1000},
      {"Retry-After: Fri, 01 Jan 2100 00:00:00 GMT\r\n", 900000, 900000},
      {"Retry-After: Sat, 01 Jan 2000 00:00:00 GMT\r\n", 1000, 1000},
  };
  for (const Case& item : cases) {
    ScriptedServer server(Reply(429, R"({"message":"rate limit exceeded"})", item.headers));
    const Answer answer = DeleteOnce(server.url(), kId);
    EXPECT_EQ(answer.verdict, Verdict::kThrottled);
    EXPECT_GE(answer.retry_after_ms, item.least) << item.headers;
    EXPECT_LE(answer.retry_after_ms, item.most) << item.headers;
    EXPECT_EQ(answer.detail, "HTTP 429: rate limit exceeded");
  }
}

TEST(ApiPacing, A429PausesItsAccountAndClassOnly) {
  std::atomic<int> deletes{0};
  std::atomic<int64_t> throttled_at{0};
  std::atomic<int64_t> next_at{0};
  ScriptedServer server([&](const SeenRequest& request, Connection& connection) {
    if (request.method != "DELETE" || request.Header("Authorization") != kAuthorization)
      return Serve(request, connection);
    if (++deletes == 1) {
      throttled_at = NowMs();
      connection.Send(Reply(429, R"({"message":"rate limit exceeded"})", "X-RateLimit-Reset: 1200\r\n"));
    } else {
      if (next_at == 0) next_at = NowMs();
      connection.Send(NoContent());
    }
  });
  TransportOptions options;
  options.max_in_flight = 1;  // so that the second delete cannot start before the first is answered
  ApiClient client(options);
  const int account = client.AddAccount(FastAccount(server.url()));
  AccountAccess access = FastAccount(server.url());
  access.private_key = "other";
  const int other = client.AddAccount(access);

  client.Delete(1, account, kId);
  client.Delete(2, account, kId);
  const Answer throttled = TakeAnswer(&client);
  EXPECT_EQ(throttled.ticket, 1u);
  EXPECT_EQ(throttled.verdict, Verdict::kThrottled);
  EXPECT_EQ(throttled.retry_after_ms, 1200);
  EXPECT_GT(client.TimeoutMs(), 0);
  EXPECT_LE(client.TimeoutMs(), 1201);

  client.Find(3, account, kCat);
  EXPECT_EQ(TakeAnswer(&client).ticket, 3u);
  client.Delete(4, other, kId);
  EXPECT_EQ(TakeAnswer(&client).ticket, 4u);
  EXPECT_EQ(deletes, 1) << "the account's writes are still paused";

  const Answer late = TakeAnswer(&client);
  EXPECT_EQ(late.ticket, 2u);
  EXPECT_EQ(late.verdict, Verdict::kDeleted);
  EXPECT_GE(next_at - throttled_at, 1200);
}

TEST(ApiPacing, EveryPageOfALookUpTakesAToken) {
  std::string full;
  for (int i = 0; i < 10; ++i) full += (i == 0 ? "" : ",") + FileJson("same", "/f" + std::to_string(i), "cat.jpg");
  ScriptedServer server([&](const SeenRequest& request, Connection& connection) {
    const bool first = request.target.find("skip=") == std::string::npos;
    connection.Send(Reply(200, "[" + (first ? full : FileJson("same", "/f9", "cat.jpg")) + "]"));
  });
  ApiClient client({});
  AccountAccess access = FastAccount(server.url());
  access.read_rate = 10;
  access.read_burst = 1;
  const int64_t start = NowMs();
  client.Find(1, client.AddAccount(access), kCat);
  EXPECT_EQ(TakeAnswer(&client).verdict, Verdict::kElsewhere);
  EXPECT_EQ(server.request_count(), 2u);
  EXPECT_GE(NowMs() - start, 100);
}

// The longer the pages of one look-up lie apart, the likelier the list changes between them.
TEST(ApiPacing, NextPageOfALookUpGoesBeforeOtherLookUps) {
  std::string full;
  for (int i = 0; i < 10; ++i) full += (i == 0 ? "" : ",") + FileJson("same", "/f" + std::to_string(i), "cat.jpg");
  ScriptedServer server([&](const SeenRequest& request, Connection& connection) {
    const bool first =
        request.target.find("cat.jpg") != std::string::npos && request.target.find("skip=") == std::string::npos;
    connection.Send(Reply(200, first ? "[" + full + "]" : "[" + FileJson("same", "/f9", "cat.jpg") + "]"));
  });
  TransportOptions options;
  options.max_in_flight = 1;
  ApiClient client(options);
  const int account = client.AddAccount(FastAccount(server.url()));
  client.Find(1, account, kCat);
  client.Find(2, account, {"/pets", "dog.jpg"});
  const std::vector<Answer> answers = TakeAnswers(&client, 2);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].ticket, 1u);
  EXPECT_EQ(server.request_count(), 3u);
}

}  // namespace
}  // namespace imagekit
