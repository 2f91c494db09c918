// Proves what a look-up and a delete put on the wire and which verdict each answer gets, against a server that answers
// as told.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "api_test_support.h"
#include "core/api.h"

namespace imagekit {
namespace {

using namespace test;  // the support of this folder

const LibraryPath kCat = {"/pets", "cat.jpg"};
constexpr char kId[] = "67c6d1a4432c47641600aa01";

TEST(ApiClientFind, SendsTheContractsRequestAndFindsTheFile) {
  ScriptedServer server(
      Reply(200, "[" + FileJson(kId, "/pets", "cat_Xy12-aB_9.jpg") + "]", "X-IK-RequestId: 5f0c1d3e-7a11\r\n"));
  const Answer answer = FindOnce(server.url(), {"/pets", "cat_Xy12-aB_9.jpg"});
  EXPECT_EQ(answer.verdict, Verdict::kFound) << answer.detail;
  EXPECT_EQ(answer.ticket, 1u);
  EXPECT_EQ(answer.operation, Operation::kFind);
  EXPECT_EQ(answer.http_status, 200);
  EXPECT_EQ(answer.file.file_id, kId);
  EXPECT_EQ(answer.file.name, "cat_Xy12-aB_9.jpg");
  EXPECT_EQ(answer.file.file_path, "/pets/cat_Xy12-aB_9.jpg");
  EXPECT_EQ(answer.file.url, "https://ik.imagekit.io/acme/pets/cat_Xy12-aB_9.jpg?updatedAt=1741083072345");
  EXPECT_EQ(answer.file.created_ms, 1741083072345);
  EXPECT_EQ(answer.file.updated_ms, 1741083072345 + 86400000);
  EXPECT_EQ(answer.detail, "HTTP 200 (request 5f0c1d3e-7a11)");

  ASSERT_EQ(server.request_count(), 1u);
  const SeenRequest request = server.requests()[0];
  EXPECT_EQ(request.method, "GET");
  // Word for word the exchange of section 10.
  EXPECT_EQ(request.target,
            "/v1/files?path=%2Fpets&searchQuery=type%20%3D%20%22file%22%20AND%20name%20%3D%20%22cat_Xy12-aB_9.jpg%22"
            "&limit=10");
  EXPECT_EQ(request.Header("Authorization"), kAuthorization);
  EXPECT_EQ(request.Header("Host"), server.authority());
  EXPECT_EQ(request.Header("User-Agent"), "imagekit_cleanup");
  EXPECT_EQ(request.Header("Accept"), "application/json");
  EXPECT_EQ(request.Header("Cookie"), "");
}

TEST(ApiClientDelete, SendsTheContractsRequest) {
  ScriptedServer server(NoContent());
  const Answer answer = DeleteOnce(server.url(), kId);
  EXPECT_EQ(answer.verdict, Verdict::kDeleted) << answer.detail;
  EXPECT_EQ(answer.operation, Operation::kDelete);
  EXPECT_EQ(answer.http_status, 204);
  ASSERT_EQ(server.request_count(), 1u);
  const SeenRequest request = server.requests()[0];
  EXPECT_EQ(request.method, "DELETE");
  EXPECT_EQ(request.target, std::string("/v1/files/") + kId);
  EXPECT_EQ(request.Header("Authorization"), kAuthorization);
  EXPECT_EQ(request.Header("Content-Length"), "");
}

const std::string kMissing = R"({"message":"The requested file does not exist.","help":"For support ..."})";
constexpr char kHtmlPage[] = "<!DOCTYPE html><html><title>Sign in</title></html>";

struct VerdictCase {
  std::string name;
  std::string bytes;
  Verdict find;
  Verdict remove;
};

class ApiClientVerdict : public testing::TestWithParam<VerdictCase> {};

TEST_P(ApiClientVerdict, FollowsStatusAndBody) {
  ScriptedServer server(GetParam().bytes);
  const Answer find = FindOnce(server.url(), kCat);
  EXPECT_EQ(find.verdict, GetParam().find) << VerdictName(find.verdict) << ": " << find.detail;
  const Answer remove = DeleteOnce(server.url(), kId);
  EXPECT_EQ(remove.verdict, GetParam().remove) << VerdictName(remove.verdict) << ": " << remove.detail;
  EXPECT_EQ(server.request_count(), 2u) << "one request, no hidden retry";
}

const std::string kOther = R"({"code":7})";

INSTANTIATE_TEST_SUITE_P(
    ApiAnswers, ApiClientVerdict,
    testing::Values(
        VerdictCase{"NoContent", NoContent(), Verdict::kBroken, Verdict::kDeleted},
        VerdictCase{"EmptyList", Reply(200, "[]"), Verdict::kNotFound, Verdict::kBroken},
        VerdictCase{"OkEmptyBody", Reply(200, ""), Verdict::kBroken, Verdict::kUndecided},
        VerdictCase{"OkObject", Reply(200, "{}"), Verdict::kBroken, Verdict::kUndecided},
        VerdictCase{"OkMessage", Reply(200, kMissing), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"OkPortalPage", Reply(200, kHtmlPage, "", "text/html"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"OkPageWithoutType", Reply(200, kHtmlPage), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"OkText", Reply(200, "welcome", "", "text/plain"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"OkTruncatedJson", Reply(200, "[{\"type\":\"fi"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"Created", Reply(201, "[]"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"Accepted", Reply(202, "{}"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"MultiStatus", Reply(207, "{}"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"Moved", Reply(301, "", "Location: https://example.com/\r\n"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"Found302", Reply(302, "", "Location: /login\r\n"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"NotModified", "HTTP/1.1 304 Not Modified\r\n\r\n", Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"BadRequest", Reply(400, R"({"message":"Invalid search query - x"})"), Verdict::kRejected,
                    Verdict::kRejected},
        VerdictCase{"BadRequestBare", Reply(400, ""), Verdict::kRejected, Verdict::kRejected},
        VerdictCase{"BadRequestPage", Reply(400, kHtmlPage, "", "text/html"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"Unauthorized", Reply(401, R"({"message":"Your request does not contain private API key."})"),
                    Verdict::kCredentials, Verdict::kCredentials},
        VerdictCase{"Forbidden", Reply(403, R"({"message":"Your account cannot be authenticated."})"),
                    Verdict::kCredentials, Verdict::kCredentials},
        VerdictCase{"ForbiddenBare", Reply(403, ""), Verdict::kCredentials, Verdict::kCredentials},
        VerdictCase{"ForbiddenPage", Reply(403, kHtmlPage, "", "text/html"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"Missing", Reply(404, kMissing), Verdict::kNotFound, Verdict::kGone},
        VerdictCase{"MissingOtherJson", Reply(404, kOther), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"MissingMessageNoString", Reply(404, R"({"message":7})"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"MissingMessageEmpty", Reply(404, R"({"message":""})"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"MissingMessageTwice", Reply(404, R"({"message":"a","message":"b"})"), Verdict::kBroken,
                    Verdict::kBroken},
        VerdictCase{"MissingList", Reply(404, "[]"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"MissingPage", Reply(404, kHtmlPage, "", "text/html"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"MissingText", Reply(404, "404 page not found", "", "text/plain"), Verdict::kBroken,
                    Verdict::kBroken},
        VerdictCase{"MissingBare", Reply(404, ""), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"MethodNotAllowedPage", Reply(405, kHtmlPage, "", "text/html"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"ProxyWantsPassword", Reply(407, kHtmlPage, "", "text/html"), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"RequestTimeout", Reply(408, ""), Verdict::kTransient, Verdict::kTransient},
        VerdictCase{"Conflict", Reply(409, R"({"message":"no"})"), Verdict::kRejected, Verdict::kRejected},
        VerdictCase{"TooLong", Reply(414, kHtmlPage, "", "text/html"), Verdict::kRejected, Verdict::kRejected},
        VerdictCase{"Locked", Reply(423, R"({"message":"A bulk job is running"})"), Verdict::kTransient,
                    Verdict::kTransient},
        VerdictCase{"Throttled", Reply(429, R"({"message":"rate limit exceeded"})"), Verdict::kThrottled,
                    Verdict::kThrottled},
        VerdictCase{"ThrottledPage", Reply(429, kHtmlPage, "", "text/html"), Verdict::kThrottled, Verdict::kThrottled},
        VerdictCase{"ServerErrorText", Reply(500, "Internal server error", "", "text/plain"), Verdict::kTransient,
                    Verdict::kTransient},
        VerdictCase{"BadGatewayPage", Reply(502, kHtmlPage, "", "text/html"), Verdict::kTransient, Verdict::kTransient},
        VerdictCase{"Unavailable", Reply(503, kMissing), Verdict::kTransient, Verdict::kTransient},
        VerdictCase{"UnheardOf", Reply(799, kMissing), Verdict::kBroken, Verdict::kBroken},
        VerdictCase{"Garbage", "\x16\x03\x01 hello\r\n\r\n", Verdict::kBroken, Verdict::kBroken}),
    [](const auto& info) { return info.param.name; });

// A list is answered in one page; the verdict is decided by its entries.
Answer FindInList(const std::string& list, const LibraryPath& path = kCat) {
  ScriptedServer server(Reply(200, list));
  return FindOnce(server.url(), path);
}

TEST(ApiClientFind, TakesTheOneFileAtThePathAmongOthers) {
  const Answer answer = FindInList("[" + FileJson("a1", "/pets/old", "cat.jpg") + "," +
                                   FileJson("a2", "/pets", "cat.jpg") + "," + FileJson("a3", "/", "cat.jpg") + "]");
  EXPECT_EQ(answer.verdict, Verdict::kFound);
  EXPECT_EQ(answer.file.file_id, "a2");
}

TEST(ApiClientFind, RootFolderIsASingleSlash) {
  ScriptedServer server(Reply(200, "[" + FileJson("a3", "/", "cat.jpg") + "]"));
  EXPECT_EQ(FindOnce(server.url(), {"/", "cat.jpg"}).verdict, Verdict::kFound);
  EXPECT_EQ(server.requests().at(0).target.substr(0, 22), "/v1/files?path=%2F&sea");
}

TEST(ApiClientFind, TwoFilesAtThePathAreAmbiguous) {
  const Answer answer =
      FindInList("[" + FileJson("a1", "/pets", "cat.jpg") + "," + FileJson("a2", "/pets", "cat.jpg") + "]");
  EXPECT_EQ(answer.verdict, Verdict::kAmbiguous);
  EXPECT_TRUE(answer.file.file_id.empty());
}

TEST(ApiClientFind, NameAtAnotherPathOnlyIsElsewhereAndSaysWhere) {
  const Answer answer = FindInList("[" + FileJson("a1", "/Pets", "cat.jpg") + "]");
  EXPECT_EQ(answer.verdict, Verdict::kElsewhere);
  EXPECT_NE(answer.detail.find("/Pets/cat.jpg"), std::string::npos) << answer.detail;
}

TEST(ApiClientFind, OtherNamesInASearchByNameAreAContradiction) {
  EXPECT_EQ(FindInList("[" + FileJson("a1", "/pets", "dog.jpg") + "]").verdict, Verdict::kAmbiguous);
}

TEST(ApiClientFind, FoldersAndVersionsNameNoFile) {
  std::string version = FileJson("v1", "/pets", "cat.jpg");
  version.replace(version.find("\"file\""), 6, "\"file-version\"");
  const std::string folder = R"({"type":"folder","name":"cat.jpg","folderId":"f1","folderPath":"/pets/cat.jpg"})";
  EXPECT_EQ(FindInList("[" + folder + "," + version + "]").verdict, Verdict::kNotFound);
  EXPECT_EQ(FindInList("[" + version + "," + FileJson("a1", "/pets", "cat.jpg") + "]").file.file_id, "a1");
}

TEST(ApiClientFind, NonAsciiAndReservedCharactersAreEncodedAsUtf8) {
  ScriptedServer server(Reply(200, "[]"));
  EXPECT_EQ(FindOnce(server.url(), {"/a&b=c/\xC3\xA9", "50% + #1?.jpg"}).verdict, Verdict::kNotFound);
  EXPECT_EQ(server.requests().at(0).target,
            "/v1/files?path=%2Fa%26b%3Dc%2F%C3%A9&searchQuery=type%20%3D%20%22file%22%20AND%20name%20%3D%20%22"
            "50%25%20%2B%20%231%3F.jpg%22&limit=10");
}

TEST(ApiClientFind, BasePathOfTheApiUrlComesFirst) {
  ScriptedServer server(Reply(200, "[]"));
  EXPECT_EQ(FindOnce(server.url() + "/proxy/ik/", kCat).verdict, Verdict::kNotFound);
  EXPECT_EQ(server.requests().at(0).target.substr(0, 20), "/proxy/ik/v1/files?p");
}

/// The number after `parameter` in a request target; `otherwise` when it is not there.
size_t NumberIn(const std::string& target, const std::string& parameter, size_t otherwise) {
  const size_t at = target.find(parameter);
  return at == std::string::npos ? otherwise : std::stoul(target.substr(at + parameter.size()));
}

/// Serves `files` in pages, as `limit` and `skip` ask.
std::string Page(const std::vector<std::string>& files, const std::string& target) {
  const size_t limit = NumberIn(target, "limit=", 1000);
  std::string list;
  for (size_t i = NumberIn(target, "skip=", 0), n = 0; i < files.size() && n < limit; ++i, ++n) {
    list += (n == 0 ? "" : ",") + files[i];
  }
  return Reply(200, "[" + list + "]");
}

std::vector<std::string> SameNameInFolders(size_t count) {
  std::vector<std::string> files;
  for (size_t i = 0; i < count; ++i) {
    files.push_back(FileJson("id" + std::to_string(i), "/f" + std::to_string(i), "cat.jpg"));
  }
  return files;
}

ScriptedServer::Handler Pages(const std::vector<std::string>& files) {
  return [files](const SeenRequest& request, Connection& connection) { connection.Send(Page(files, request.target)); };
}

TEST(ApiClientFind, ReadsFurtherPagesUntilTheFileAppears) {
  std::vector<std::string> files = SameNameInFolders(25);
  files.push_back(FileJson("wanted", "/pets", "cat.jpg"));
  ScriptedServer server(Pages(files));
  const Answer answer = FindOnce(server.url(), kCat);
  EXPECT_EQ(answer.verdict, Verdict::kFound) << answer.detail;
  EXPECT_EQ(answer.file.file_id, "wanted");
  ASSERT_EQ(server.request_count(), 3u);
  // Each page begins with the last entry of the page before.
  EXPECT_EQ(NumberIn(server.requests()[1].target, "&skip=", 0), 9u);
  EXPECT_EQ(NumberIn(server.requests()[2].target, "&skip=", 0), 18u);
}

TEST(ApiClientFind, AllPagesWithoutTheFileAreElsewhere) {
  ScriptedServer server(Pages(SameNameInFolders(25)));
  EXPECT_EQ(FindOnce(server.url(), kCat).verdict, Verdict::kElsewhere);
}

TEST(ApiClientFind, ExactlyOneFullPageIsFollowedByAnother) {
  ScriptedServer server(Pages(SameNameInFolders(10)));
  EXPECT_EQ(FindOnce(server.url(), kCat).verdict, Verdict::kElsewhere);
  EXPECT_EQ(server.request_count(), 2u);
}

TEST(ApiClientFind, EndlessPagesAreGivenUp) {
  ScriptedServer server(Pages(SameNameInFolders(1000)));
  const Answer answer = FindOnce(server.url(), kCat);
  EXPECT_EQ(answer.verdict, Verdict::kAmbiguous);
  EXPECT_NE(answer.detail.find("there are more"), std::string::npos) << answer.detail;
  EXPECT_EQ(server.request_count(), 20u);
}

// An entry deleted between two pages moves the wanted one into the gap: "not found" would be a lie.
TEST(ApiClientFind, ListThatMovedWhileBeingReadProvesNothing) {
  std::vector<std::string> files = SameNameInFolders(15);
  files[10] = FileJson("wanted", "/pets", "cat.jpg");
  int requests = 0;
  ScriptedServer server([&](const SeenRequest& request, Connection& connection) {
    if (++requests == 2) files.erase(files.begin());
    connection.Send(Page(files, request.target));
  });
  // The overlap of one entry catches both the gap and a service that ignores `skip`.
  const Answer answer = FindOnce(server.url(), kCat);
  EXPECT_EQ(answer.verdict, Verdict::kTransient) << answer.detail;
  ScriptedServer stubborn(Page(SameNameInFolders(30), "limit=10"));
  EXPECT_EQ(FindOnce(stubborn.url(), kCat).verdict, Verdict::kTransient);
}

TEST(ApiClientFind, NameThatCannotBeQuotedIsFoundByListingItsFolder) {
  std::vector<std::string> files;
  for (int i = 0; i < 1500; ++i)
    files.push_back(FileJson("id" + std::to_string(i), "/pets", std::to_string(i) + ".jpg"));
  files.push_back(FileJson("wanted", "/pets", R"(my \"cat\".jpg)"));  // as JSON writes it
  ScriptedServer server(Pages(files));
  const Answer answer = FindOnce(server.url(), {"/pets", "my \"cat\".jpg"});
  EXPECT_EQ(answer.verdict, Verdict::kFound) << answer.detail;
  EXPECT_EQ(answer.file.file_id, "wanted");
  ASSERT_EQ(server.request_count(), 2u);
  EXPECT_EQ(server.requests()[0].target, "/v1/files?path=%2Fpets&type=file&limit=1000");
  EXPECT_EQ(server.requests()[1].target, "/v1/files?path=%2Fpets&type=file&limit=1000&skip=999");
}

TEST(ApiClientFind, QuotesBackslashesAndControlsNeverReachAQuery) {
  for (const char* name : {"a\"b", "a\\b", "a\nb", "a\tb", "a\x7F", "\x01"}) {
    ScriptedServer server(Reply(200, "[" + FileJson("a1", "/pets", "other.jpg") + "]"));
    EXPECT_EQ(FindOnce(server.url(), {"/pets", name}).verdict, Verdict::kNotFound);
    EXPECT_EQ(server.requests().at(0).target.find("searchQuery"), std::string::npos);
  }
}

TEST(ApiClientFind, PathThatCannotBeAskedForIsRejectedWithoutARequest) {
  ScriptedServer server(Reply(200, "[]"));
  const LibraryPath bad[] = {{"/pets", ""},
                             {"/pets", "a/b.jpg"},
                             {"pets", "a.jpg"},
                             {"", "a.jpg"},
                             {"/pets/", "a.jpg"},
                             {"/pets", "\xFF.jpg"},
                             {"/\xC0\xAF", "a.jpg"},
                             {"/pets", std::string(4000, 'a')},
                             {"/" + std::string(1400, ' '), "a.jpg"}};
  for (const LibraryPath& path : bad) {
    const Answer answer = FindOnce(server.url(), path);
    EXPECT_EQ(answer.verdict, Verdict::kRejected);
    EXPECT_EQ(answer.http_status, 0);
    EXPECT_FALSE(answer.detail.empty());
  }
  EXPECT_EQ(server.request_count(), 0u);
}

TEST(ApiClientFind, LongestAllowedTargetStaysUnderFourKilobytes) {
  ScriptedServer server(Reply(200, "[]"));
  size_t longest = 0;
  for (size_t length = 3950; length < 4050; ++length) {
    if (FindOnce(server.url(), {"/p", std::string(length, 'n')}).verdict == Verdict::kNotFound) longest = length;
  }
  ASSERT_GT(longest, 0u);
  for (const SeenRequest& request : server.requests()) EXPECT_LT(request.target.size(), 4096u);
}

TEST(ApiClientDelete, StrangeFileIdsAreRejectedWithoutARequest) {
  ScriptedServer server(NoContent());
  for (const std::string& id : {std::string(""), std::string("a/b"), std::string("../x"), std::string("a b"),
                                std::string("a?b"), std::string("a%2F"), std::string("\xC3\xA9"),
                                std::string("a\0b", 3), std::string("batch/deleteByFileIds"), std::string(300, 'a')}) {
    EXPECT_EQ(DeleteOnce(server.url(), id).verdict, Verdict::kRejected);
  }
  EXPECT_EQ(server.request_count(), 0u);
  EXPECT_EQ(DeleteOnce(server.url(), "aZ09_-").verdict, Verdict::kDeleted);
}

TEST(ApiClient, EachTicketIsAnsweredOnce) {
  ScriptedServer server([](const SeenRequest& request, Connection& connection) {
    connection.Send(request.method == "DELETE" ? NoContent() : Reply(200, "[]"));
  });
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  EXPECT_FALSE(client.Busy());
  EXPECT_EQ(client.TimeoutMs(), -1);
  for (uint64_t ticket = 0; ticket < 60; ticket += 2) {
    client.Find(ticket, account, {"/pets", "cat" + std::to_string(ticket % 8) + ".jpg"});
    SendDelete(&client, account, ticket + 1, kId);
  }
  EXPECT_TRUE(client.Busy());
  std::map<uint64_t, int> seen;
  for (const Answer& answer : TakeAnswers(&client, 60)) {
    ++seen[answer.ticket];
    EXPECT_EQ(answer.operation, answer.ticket % 2 == 0 ? Operation::kFind : Operation::kDelete);
  }
  EXPECT_EQ(seen.size(), 60u);
  EXPECT_FALSE(client.Busy());
}

TEST(ApiClient, RefusedRequestKeepsTheClientBusyUntilItsAnswerIsTaken) {
  ApiClient client({});
  const int account = client.AddAccount(FastAccount("https://api.imagekit.io"));
  client.Find(7, account, {"/pets", ""});
  EXPECT_TRUE(client.Busy());
  EXPECT_EQ(client.TimeoutMs(), 0);
  Answer answer;
  ASSERT_TRUE(client.NextAnswer(&answer));
  EXPECT_EQ(answer.ticket, 7u);
  EXPECT_FALSE(client.Busy());
}

TEST(ApiClient, UnknownAccountsAreInvalid) {
  ApiClient client({});
  EXPECT_THROW(client.Find(1, 0, kCat), std::invalid_argument);
  EXPECT_THROW(client.ReserveDeletes(-1, 1), std::invalid_argument);
  EXPECT_THROW(client.ReturnDeletes(0, 0), std::invalid_argument);
  EXPECT_THROW(client.Delete(-1, {{1, kId}}), std::invalid_argument);
  EXPECT_THROW(client.BulkSize(0), std::invalid_argument);
  EXPECT_THROW(client.Purge(1, 0, "https://ik.imagekit.io/acme/cat.jpg"), std::invalid_argument);
  EXPECT_THROW(client.Probe(1, 0), std::invalid_argument);
}

TEST(ApiClient, UnusableAccountsAndOptionsAreInvalid) {
  ApiClient client({});
  const auto refused = [&](auto change) {
    AccountAccess access = FastAccount("https://api.imagekit.io");
    change(&access);
    EXPECT_THROW(client.AddAccount(access), std::invalid_argument);
  };
  refused([](AccountAccess* a) { a->private_key = ""; });
  refused([](AccountAccess* a) { a->private_key = "private_x\r\nX-Evil: 1"; });
  refused([](AccountAccess* a) { a->private_key = "private_\xC3\xA9"; });
  refused([](AccountAccess* a) { a->private_key = "private:x"; });
  refused([](AccountAccess* a) { a->api_url = "http://api.imagekit.io"; });
  refused([](AccountAccess* a) { a->read_rate = 0; });
  refused([](AccountAccess* a) { a->write_rate = -1; });
  refused([](AccountAccess* a) { a->write_rate = std::nan(""); });
  refused([](AccountAccess* a) { a->read_burst = -1; });
  EXPECT_EQ(client.AddAccount(FastAccount("https://api.imagekit.io")), 0) << "the refused ones have left no trace";

  TransportOptions options;
  options.max_in_flight = 0;
  EXPECT_THROW(ApiClient{options}, std::invalid_argument);
  options = {};
  options.request_timeout_ms = 0;
  EXPECT_THROW(ApiClient{options}, std::invalid_argument);
  options = {};
  options.user_agent = "a\r\nX-Evil: 1";
  EXPECT_THROW(ApiClient{options}, std::invalid_argument);
}

TEST(ApiClientDetail, HoldsStatusMessageAndRequestId) {
  ScriptedServer server(
      Reply(500, "Internal server error", "x-request-id: other\r\nx-ik-requestid: 5f0c\r\n", "text/plain"));
  EXPECT_EQ(DeleteOnce(server.url(), kId).detail, "HTTP 500: Internal server error (request 5f0c)");
  ScriptedServer json(Reply(404, kMissing, "x-request-id: 77\r\n"));
  EXPECT_EQ(DeleteOnce(json.url(), kId).detail, "HTTP 404: The requested file does not exist. (request 77)");
  ScriptedServer page(Reply(403, kHtmlPage, "", "text/html"));
  EXPECT_EQ(DeleteOnce(page.url(), kId).detail, "HTTP 403: an HTML page, not an answer of ImageKit");
  ScriptedServer text(Reply(404, "nothing here", "", "text/plain"));
  EXPECT_EQ(DeleteOnce(text.url(), kId).detail, "HTTP 404: not an answer of ImageKit: nothing here");
}

// A proxy's error page that repeats the request is not far-fetched.
TEST(ApiClientDetail, NeverShowsTheKey) {
  for (const char* form :
       {kKey, "private_TestKey123", "private_TestKey123%3D", kAuthorization, "cHJpdmF0ZV9UZXN0S2V5MTIzPTo"}) {
    const std::string said = "bad request from " + std::string(form) + " refused";
    ScriptedServer server(
        Reply(400, "{\"message\":\"" + said + "\"}", "x-ik-requestid: " + std::string(form) + "\r\n"));
    const std::string detail = DeleteOnce(server.url(), kId).detail;
    EXPECT_EQ(detail.find("TestKey123"), std::string::npos) << detail;
    EXPECT_EQ(detail.find("cHJpdmF0"), std::string::npos) << detail;
    EXPECT_NE(detail.find("***"), std::string::npos) << detail;
  }
  // Where the words are cut, no half of the key is left.
  for (size_t before = 300; before < 360; ++before) {
    ScriptedServer server(Reply(400, "{\"message\":\"" + std::string(before, 'x') + kKey + "\"}"));
    EXPECT_EQ(DeleteOnce(server.url(), kId).detail.find("private"), std::string::npos);
  }
}

// However often a page repeats it: what is cut first ends in a half of the key that nobody knows for one.
TEST(ApiClientDetail, HidesTheKeyBeforeItCutsAPage) {
  const std::string key(kKey);
  std::string page;
  while (page.size() + key.size() < 460) page += key + ' ';
  for (size_t before = page.size(); before < 510; ++before) {
    ScriptedServer server(Reply(500, page + std::string(before - page.size(), '.') + key + " end", "", "text/plain"));
    const std::string detail = DeleteOnce(server.url(), kId).detail;
    EXPECT_EQ(detail.find("priv"), std::string::npos) << detail;
    EXPECT_NE(detail.find("***= end"), std::string::npos) << detail;
  }
}

TEST(ApiClientDetail, IsShortCleanUtf8WhateverTheServerSays) {
  std::string hostile(5000, '\xFF');
  hostile += "\x1B[2J";
  ScriptedServer server(Reply(500, hostile, "x-ik-requestid: " + std::string(900, 'r') + "\r\n", "text/plain"));
  const std::string detail = DeleteOnce(server.url(), kId).detail;
  EXPECT_LE(detail.size(), 500u);
  EXPECT_NE(detail.find("????"), std::string::npos);
  EXPECT_NE(detail.find("(request rrrr"), std::string::npos) << "the id survives a long message";
  ScriptedServer lines(Reply(500, "one\ntwo\tthree\x1B[2J", "", "text/plain"));
  EXPECT_EQ(DeleteOnce(lines.url(), kId).detail, "HTTP 500: one two three [2J");
}

}  // namespace
}  // namespace imagekit
