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

/// Look-ups that never share a request: names that cannot be quoted, each in a folder of its own.
LibraryPath Alone(uint64_t number) { return {"/f" + std::to_string(number), "a\"b.jpg"}; }

TEST(ApiPacing, ReadsWaitForTokensAndTheTimeoutSaysSo) {
  ScriptedServer server(Serve);
  ApiClient client({});
  AccountAccess access = FastAccount(server.url());
  access.read_rate = 10;  // one in 100 ms
  access.read_burst = 2;
  const int account = client.AddAccount(access);
  const int64_t start = NowMs();
  for (uint64_t ticket = 0; ticket < 4; ++ticket) client.Find(ticket, account, Alone(ticket));
  EXPECT_EQ(TakeAnswers(&client, 2).size(), 2u);
  const int wait = client.TimeoutMs();
  EXPECT_GE(wait, 0);
  EXPECT_LE(wait, 100);
  EXPECT_EQ(TakeAnswers(&client, 2).size(), 2u);
  EXPECT_GE(NowMs() - start, 199) << "two beyond the burst take two periods";
}

TEST(ApiPacing, DeletesAreReservedAtTheirPace) {
  ScriptedServer server(Serve);
  ApiClient client({});
  AccountAccess access = FastAccount(server.url());
  access.write_rate = 10;
  access.write_burst = 2;
  const int account = client.AddAccount(access);
  const int64_t start = NowMs();
  EXPECT_EQ(client.DeleteWaitMs(account), 0);
  EXPECT_EQ(client.ReserveDeletes(account, 5), 2);
  EXPECT_EQ(client.ReserveDeletes(account, 5), 0);
  EXPECT_GT(client.DeleteWaitMs(account), 0);
  EXPECT_LE(client.DeleteWaitMs(account), 100);
  client.ReturnDeletes(account, 1);
  EXPECT_EQ(client.DeleteWaitMs(account), 0) << "what was given back is there again";
  client.Delete(account, {{0, kId}});
  EXPECT_THROW(client.Delete(account, {{9, kId}}), std::invalid_argument) << "not reserved";
  client.ReturnDeletes(account, 7);  // nothing is reserved: nothing comes back
  for (uint64_t ticket = 1; ticket < 4; ++ticket) SendDelete(&client, account, ticket, kId);
  EXPECT_EQ(TakeAnswers(&client, 4).size(), 4u);
  EXPECT_EQ(server.request_count(), 4u);
  EXPECT_GE(NowMs() - start, 199);
}

TEST(ApiPacing, LookUpsThatShareNothingAreSentInOrder) {
  ScriptedServer server(Serve);
  TransportOptions options;
  options.max_in_flight = 1;
  ApiClient client(options);
  const int account = client.AddAccount(FastAccount(server.url()));
  for (uint64_t ticket = 0; ticket < 10; ++ticket) client.Find(ticket, account, Alone(ticket));
  uint64_t expected = 0;
  for (const Answer& answer : TakeAnswers(&client, 10)) EXPECT_EQ(answer.ticket, expected++);
}

TEST(ApiPacing, AnEmptyBucketBlocksNeitherTheOtherClassNorAnotherAccount) {
  ScriptedServer server(Serve);
  ApiClient client({});
  AccountAccess slow = FastAccount(server.url());
  slow.read_rate = 0.001;
  slow.read_burst = 1;
  const int first = client.AddAccount(slow);
  const int second = client.AddAccount(FastAccount(server.url()));
  for (uint64_t ticket = 0; ticket < 20; ++ticket) client.Find(ticket, first, Alone(ticket));
  EXPECT_EQ(TakeAnswer(&client).ticket, 0u);
  SendDelete(&client, first, 100, kId);
  EXPECT_EQ(TakeAnswer(&client).ticket, 100u);
  client.Find(101, second, kCat);
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
  for (uint64_t ticket = 0; ticket < 10; ++ticket) client.Find(ticket, first, Alone(ticket));
  client.Find(100, second, kCat);
  const std::vector<Answer> answers = TakeAnswers(&client, 2);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_TRUE(answers[0].ticket == 100 || answers[1].ticket == 100) << "not behind all ten of the other account";
}

// What one process has used up, another cannot use again.
TEST(ApiPacing, StatesThatAreHandedInAreSharedBetweenClients) {
  ScriptedServer server(Serve);
  PaceState key = {};
  PaceState library = {};
  AccountAccess access = FastAccount(server.url());
  access.write_rate = 0.01;
  access.write_burst = 3;
  access.write_pace[0] = &key;
  access.write_pace[1] = &library;
  ApiClient one({});
  const int in_one = one.AddAccount(access);
  EXPECT_EQ(one.ReserveDeletes(in_one, 2), 2);
  access.write_pace[0] = nullptr;  // another key of the same library
  ApiClient two({});
  const int in_two = two.AddAccount(access);
  EXPECT_EQ(two.ReserveDeletes(in_two, 5), 1);
  EXPECT_EQ(one.ReserveDeletes(in_one, 5), 0);
  access.write_pace[0] = &library;  // two names with one place
  ApiClient three({});
  EXPECT_EQ(three.ReserveDeletes(three.AddAccount(access), 1), 0);
  one.ReturnDeletes(in_one, 2);
  EXPECT_EQ(three.ReserveDeletes(0, 5), 2) << "and each is taken from once";
}

TEST(ApiPacing, APauseHoldsForWhoeverSharesTheState) {
  ScriptedServer server(Reply(429, R"({"message":"rate limit exceeded"})", "X-RateLimit-Reset: 5000\r\n"));
  PaceState reads = {};
  PaceState writes = {};
  AccountAccess access = FastAccount(server.url());
  access.read_pace[0] = &reads;
  access.write_pace[1] = &writes;
  ApiClient one({});
  ApiClient two({});
  const int in_one = one.AddAccount(access);
  const int in_two = two.AddAccount(access);
  SendDelete(&one, in_one, 1, kId);
  EXPECT_EQ(TakeAnswer(&one).verdict, Verdict::kThrottled);
  EXPECT_EQ(two.ReserveDeletes(in_two, 1), 0);
  EXPECT_GT(two.DeleteWaitMs(in_two), 4000);
  one.Find(2, in_one, kCat);
  EXPECT_EQ(TakeAnswer(&one).verdict, Verdict::kThrottled);
  two.Find(3, in_two, kCat);
  EXPECT_GT(two.TimeoutMs(), 4000);
}

TEST(ApiPacing, APauseOfPurgesHoldsForWhoeverSharesTheState) {
  ScriptedServer server(Reply(429, R"({"message":"rate limit exceeded"})", "X-RateLimit-Reset: 5000\r\n"));
  PaceState purges = {};
  AccountAccess access = FastAccount(server.url());
  access.purge_pace[0] = &purges;
  ApiClient one({});
  ApiClient two({});
  const int in_one = one.AddAccount(access);
  const int in_two = two.AddAccount(access);
  one.Purge(1, in_one, "https://ik.imagekit.io/acme/cat.jpg");
  EXPECT_EQ(TakeAnswer(&one).verdict, Verdict::kThrottled);
  two.Purge(2, in_two, "https://ik.imagekit.io/acme/dog.jpg");
  EXPECT_GT(two.TimeoutMs(), 4000);
  EXPECT_EQ(two.ReserveDeletes(in_two, 1), 1) << "deletes go on";
}

TEST(ApiPacing, HandsBackWhatWouldWaitTooLong) {
  ScriptedServer server(Reply(429, R"({"message":"rate limit exceeded"})", "X-RateLimit-Reset: 5000\r\n"));
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  client.Find(1, account, kCat);
  EXPECT_EQ(TakeAnswer(&client).verdict, Verdict::kThrottled);
  client.Find(2, account, kCat);
  client.Probe(3, account);
  client.GiveBackLookUps(account, 60000);
  Answer answer;
  EXPECT_FALSE(client.NextAnswer(&answer)) << "that is not too long";
  client.GiveBackLookUps(account, 2000);
  for (const uint64_t ticket : {2u, 3u}) {
    ASSERT_TRUE(client.NextAnswer(&answer));
    EXPECT_EQ(answer.ticket, ticket);
    EXPECT_EQ(answer.verdict, Verdict::kThrottled);
    EXPECT_GT(answer.retry_after_ms, 4000);
  }
  EXPECT_FALSE(client.Busy());
  EXPECT_EQ(server.requests().size(), 1u) << "unasked";
}

TEST(ApiPacing, HandsBackPurgesThatWait) {
  ScriptedServer server(Reply(201, "{}"));
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  const int other = client.AddAccount(FastAccount(server.url()));
  client.Purge(1, account, "https://ik.imagekit.io/acme/cat.jpg");
  client.Purge(2, other, "https://ik.imagekit.io/acme/dog.jpg");
  client.GiveBackPurges(account);
  Answer answer;
  ASSERT_TRUE(client.NextAnswer(&answer));
  EXPECT_EQ(answer.ticket, 1u);
  EXPECT_EQ(answer.operation, Operation::kPurge);
  EXPECT_EQ(answer.verdict, Verdict::kThrottled);
  EXPECT_EQ(TakeAnswer(&client).ticket, 2u) << "another account's goes on";
  EXPECT_EQ(server.requests().size(), 1u) << "unsent";
}

TEST(ApiPacing, ReadsLeaveAQuarterOfTheWireToDeletes) {
  Gate gate;
  std::atomic<int> reads{0};
  ScriptedServer server([&](const SeenRequest& request, Connection& connection) {
    if (request.method == "GET") {
      ++reads;
      gate.Wait();
    }
    Serve(request, connection);
  });
  TransportOptions options;
  options.max_in_flight = 8;
  ApiClient client(options);
  const int account = client.AddAccount(FastAccount(server.url()));
  for (uint64_t ticket = 0; ticket < 20; ++ticket) client.Find(ticket, account, Alone(ticket));
  ASSERT_TRUE(RunUntil(&client, [&] { return reads == 6; }));
  EXPECT_EQ(client.ReserveDeletes(account, 5), 2);
  client.Delete(account, {{100, kId}});
  EXPECT_EQ(TakeAnswer(&client).ticket, 100u);
  client.ReturnDeletes(account, 1);
  EXPECT_EQ(reads, 6);
  gate.Open();
  EXPECT_EQ(TakeAnswers(&client, 20).size(), 20u);
}

TEST(ApiPacing, OnANarrowWireReadsAndDeletesTakeTurns) {
  ScriptedServer server(Serve);
  for (const int places : {1, 2, 3}) {
    TransportOptions options;
    options.max_in_flight = places;
    ApiClient client(options);
    const int account = client.AddAccount(FastAccount(server.url()));
    for (uint64_t ticket = 0; ticket < 400; ++ticket) client.Find(ticket, account, Alone(ticket));
    int reads = 0;
    int deletes = 0;
    const auto count_answers = [&] {
      const int before = reads + deletes;
      Answer answer;
      while (client.NextAnswer(&answer)) ++(answer.operation == Operation::kFind ? reads : deletes);
      return reads + deletes - before;
    };
    uint64_t ticket = 1000;
    int64_t refused_at = 0;  // 0: the last one was granted
    int waited = 0;
    ASSERT_TRUE(RunUntil(&client, [&] {
      const bool place_freed = count_answers() > 0;
      const bool granted = client.ReserveDeletes(account, 1) == 1;
      // The place is held for 100 ms.
      if (refused_at > 0 && place_freed && NowMs() - refused_at < 90) {
        ++waited;
        EXPECT_TRUE(granted) << "the place that was freed belongs to the delete that was refused one; " << places;
      }
      if (granted) client.Delete(account, {{ticket++, kId}});
      refused_at = granted ? 0 : NowMs();
      return deletes >= 20;
    }));
    EXPECT_GT(waited, 0) << places;
    EXPECT_LT(reads, 400) << "the deletes did not have to wait for the look-ups";
    ASSERT_TRUE(RunUntil(&client, [&] {
      count_answers();
      return reads == 400;
    })) << "and these go on when nothing is deleted any more";
  }
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
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  AccountAccess access = FastAccount(server.url());
  access.private_key = "other";
  const int other = client.AddAccount(access);

  SendDelete(&client, account, 1, kId);
  const Answer throttled = TakeAnswer(&client);
  EXPECT_EQ(throttled.ticket, 1u);
  EXPECT_EQ(throttled.verdict, Verdict::kThrottled);
  EXPECT_EQ(throttled.retry_after_ms, 1200);
  EXPECT_GT(client.DeleteWaitMs(account), 0);
  EXPECT_LE(client.DeleteWaitMs(account), 1201);
  EXPECT_EQ(client.ReserveDeletes(account, 1), 0);

  client.Find(3, account, kCat);
  EXPECT_EQ(TakeAnswer(&client).ticket, 3u);
  SendDelete(&client, other, 4, kId);
  EXPECT_EQ(TakeAnswer(&client).ticket, 4u);
  EXPECT_EQ(deletes, 1) << "the account's writes are still paused";

  SendDelete(&client, account, 2, kId);
  const Answer late = TakeAnswer(&client);
  EXPECT_EQ(late.ticket, 2u);
  EXPECT_EQ(late.verdict, Verdict::kDeleted);
  EXPECT_GE(next_at - throttled_at, 1199);
}

// What ImageKit allows is not known beforehand: these are the rates of an account of which nobody has said anything.
TEST(ApiPacing, AnAccountIsCarefulUnlessToldOtherwise) {
  ScriptedServer server(Serve);
  AccountAccess access;
  EXPECT_EQ(access.read_rate, 20);
  EXPECT_EQ(access.read_burst, 40);
  EXPECT_EQ(access.write_rate, 4);
  EXPECT_EQ(access.write_burst, 8);
  access.api_url = server.url();
  access.private_key = kKey;
  TransportOptions options;
  options.max_in_flight = 100;
  ApiClient client(options);
  const int account = client.AddAccount(access);
  EXPECT_EQ(client.ReserveDeletes(account, 100), 8);
  EXPECT_GT(client.DeleteWaitMs(account), 200);
  EXPECT_LE(client.DeleteWaitMs(account), 250);
  const int64_t start = NowMs();
  for (uint64_t ticket = 0; ticket < 42; ++ticket) client.Find(ticket, account, Alone(ticket));
  EXPECT_EQ(TakeAnswers(&client, 42).size(), 42u);
  EXPECT_GE(NowMs() - start, 99) << "two beyond the burst take two periods";
}

TEST(ApiPacing, AnInquiryLeavesTheLastTokenToLookUps) {
  ScriptedServer server(Serve);
  PaceState reads = {};
  AccountAccess access = FastAccount(server.url());
  access.read_rate = 0.01;
  access.read_burst = 4;
  access.list_share = 1;
  access.read_pace[0] = &reads;
  ApiClient client({});
  const int account = client.AddAccount(access);
  for (uint64_t ticket = 1; ticket <= 5; ++ticket) client.List(ticket, account, "/v1/files?limit=10");
  for (const Answer& answer : TakeAnswers(&client, 3)) EXPECT_EQ(answer.operation, Operation::kList);
  EXPECT_FALSE(RunUntil(
      &client, [&] { return server.request_count() > 3; }, 200))
      << "one token is left";
  EXPECT_GT(client.TimeoutMs(), 0);
  EXPECT_LE(client.TimeoutMs(), 50) << "it is looked soon whether there is a second one";
  // It may be another process that has something to look up.
  ApiClient other({});
  other.Find(100, other.AddAccount(access), kCat);
  EXPECT_EQ(TakeAnswer(&other).ticket, 100u);
  EXPECT_FALSE(RunUntil(
      &client, [&] { return server.request_count() > 4; }, 200))
      << "and now none is";
  EXPECT_GT(client.TimeoutMs(), 1000);
}

TEST(ApiPacing, ALookUpGoesBeforeInquiriesThatWaitedLonger) {
  ScriptedServer server(Serve);
  TransportOptions options;
  options.max_in_flight = 1;
  ApiClient client(options);
  AccountAccess access = FastAccount(server.url());
  access.read_rate = 20;
  access.read_burst = 2;
  access.list_share = 1;
  const int account = client.AddAccount(access);
  for (uint64_t ticket = 1; ticket <= 2; ++ticket) client.List(ticket, account, "/v1/files?limit=10");
  for (uint64_t ticket = 100; ticket <= 103; ++ticket) client.Find(ticket, account, Alone(ticket));
  std::vector<uint64_t> order;
  for (const Answer& answer : TakeAnswers(&client, 6)) order.push_back(answer.ticket);
  EXPECT_EQ(order, (std::vector<uint64_t>{100, 101, 102, 103, 1, 2}));
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
  RunUntil(&client, [&] { return server.request_count() == 1; });
  client.Find(2, account, {"/pets", "dog.jpg"});
  const std::vector<Answer> answers = TakeAnswers(&client, 2);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].ticket, 1u);
  EXPECT_EQ(server.request_count(), 3u);
}

}  // namespace
}  // namespace imagekit
