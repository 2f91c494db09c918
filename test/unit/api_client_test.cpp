// Proves what a look-up and a delete put on the wire and which verdict each answer gets, against a server that answers
// as told.

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "api_test_support.h"
#include "core/api.h"

namespace imagekit {
namespace {

using namespace test;  // the support of this folder

const LibraryPath kCat = {"/pets", "cat.jpg"};
constexpr char kId[] = "67c6d1a4432c47641600aa01";

TEST(ApiClientFind, SendsTheContractsRequestAndFindsTheFile) {
  ScriptedServer server(Reply(200, "[" + FileJson(kId, "/pets", "cat_Xy12-aB_9.jpg") + "]",
                              "X-IK-RequestId: 5f0c1d3e-7a11\r\n"));
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

}  // namespace
}  // namespace imagekit
