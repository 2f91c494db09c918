// Proves what is asked to tell whose library a key opens, what the answers mean, and that answers tell ImageKit's clock.

#include <gtest/gtest.h>

#include <string>

#include "api_test_support.h"

namespace imagekit {
namespace {

using namespace test;  // the support of this folder

constexpr char kId[] = "67c6d1a4432c47641600aa01";

Answer ProbeOnce(const std::string& url) {
  ApiClient client{TransportOptions()};
  client.Probe(7, client.AddAccount(FastAccount(url)));
  return TakeAnswer(&client);
}

TEST(ApiClientProbe, AsksForOneFileAndHandsItsUrlOn) {
  ScriptedServer server(Reply(200, "[" + FileJson(kId, "/pets", "cat.jpg") + "]"));
  const Answer answer = ProbeOnce(server.url());
  EXPECT_EQ(answer.verdict, Verdict::kFound) << answer.detail;
  EXPECT_EQ(answer.operation, Operation::kProbe);
  EXPECT_EQ(answer.ticket, 7u);
  EXPECT_EQ(answer.file.url, "https://ik.imagekit.io/acme/pets/cat.jpg?updatedAt=1741083072345");
  EXPECT_EQ(answer.file.file_id, "") << "nobody asked for this file to be deleted";
  ASSERT_EQ(server.request_count(), 1u);
  EXPECT_EQ(server.requests()[0].method, "GET");
  EXPECT_EQ(server.requests()[0].target, "/v1/files?type=file&limit=1");
  EXPECT_EQ(server.requests()[0].Header("Authorization"), kAuthorization);
}

TEST(ApiClientProbe, AnythingButAFileOrNoneIsNoAnswer) {
  const struct {
    std::string bytes;
    Verdict verdict;
  } kCases[] = {
      {Reply(200, "[]"), Verdict::kNotFound},
      {Reply(200, "{}"), Verdict::kBroken},
      {Reply(200, "[1]"), Verdict::kBroken},
      {Reply(200, R"([{"type":"folder","folderId":"1","name":"pets"}])"), Verdict::kBroken},
      {Reply(200, "<!DOCTYPE html>", "", "text/html"), Verdict::kBroken},
      {Reply(404, "<!DOCTYPE html>", "", "text/html"), Verdict::kBroken},
      {Reply(404, R"({"message":"no such thing"})"), Verdict::kRejected},
      {Reply(301, "", "Location: https://example.com/\r\n"), Verdict::kBroken},
      {Reply(403, R"({"message":"Your account cannot be authenticated."})"), Verdict::kCredentials},
      {Reply(429, R"({"message":"rate limit exceeded"})"), Verdict::kThrottled},
      {Reply(500, "oops", "", "text/plain"), Verdict::kTransient},
  };
  for (const auto& c : kCases) {
    ScriptedServer server(c.bytes);
    const Answer answer = ProbeOnce(server.url());
    EXPECT_EQ(answer.verdict, c.verdict) << c.bytes << VerdictName(answer.verdict);
  }
}

// Year 2001: any clock of a machine that runs this is ahead of it.
TEST(ApiClientClock, ComesFromTheDateOfItsAnswers) {
  constexpr char kDate[] = "Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n";
  const struct {
    std::string bytes;
    bool known;
  } kCases[] = {
      {Reply(200, "[]", kDate), true},
      {Reply(500, R"({"message":"Internal server error"})", kDate), true},
      {Reply(200, "[]"), false},
      {Reply(200, "[]", "Date: yesterday\r\n"), false},
      {Reply(404, "<!DOCTYPE html>", kDate, "text/html"), false},  // somebody else's clock
  };
  for (const auto& c : kCases) {
    ScriptedServer server(c.bytes);
    ApiClient client{TransportOptions()};
    const int account = client.AddAccount(FastAccount(server.url()));
    const int other = client.AddAccount(FastAccount(server.url()));
    EXPECT_EQ(client.ClockOffsetMs(account), 0);
    client.Probe(1, account);
    TakeAnswer(&client);
    const int64_t now =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count();
    if (c.known)
      EXPECT_NEAR(static_cast<double>(client.ClockOffsetMs(account)), static_cast<double>(1000000000000 - now), 5000);
    else
      EXPECT_EQ(client.ClockOffsetMs(account), 0) << c.bytes;
    EXPECT_EQ(client.ClockOffsetMs(other), 0) << "an account's own";
  }
}

}  // namespace
}  // namespace imagekit
