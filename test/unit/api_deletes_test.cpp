// Proves what a delete of one or many files puts on the wire, and that each file gets the verdict that the answer gives
// it, and no better one.

#include "core/api_deletes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/api_reply.h"
#include "emulator_test_support.h"

namespace imagekit {
namespace {

using namespace test;  // the support of this folder

class ApiDeletes : public EmulatorTest {
 protected:
  ApiDeletes() : client_(TransportOptions()), account_(client_.AddAccount(FastAccount(Url()))) {}

  /// Deletes files in one request; tickets are their places in the list.
  std::map<uint64_t, Answer> Delete(const std::vector<std::string>& ids) {
    std::vector<FileToDelete> files;
    for (const std::string& id : ids) files.push_back({files.size(), id});
    SendDelete(&client_, account_, files);
    return ByTicket(&client_, ids.size());
  }
  static std::vector<std::string> SeedSome(int count) {
    std::vector<std::string> paths;
    for (int i = 0; i < count; ++i) paths.push_back("/p/" + std::to_string(i) + ".jpg");
    return Seed(paths);
  }

  const std::string unknown_ = "0123456789abcdef01234567";
  ApiClient client_;
  int account_;
};

TEST_F(ApiDeletes, SeveralFilesGoInOneCall) {
  const std::vector<std::string> ids = SeedSome(5);
  const auto answers = Delete({ids[0], ids[1], ids[0], ids[2]});
  for (const auto& [ticket, answer] : answers) {
    EXPECT_EQ(answer.verdict, Verdict::kDeleted) << answer.detail;
    EXPECT_EQ(answer.operation, Operation::kDelete);
    EXPECT_EQ(answer.http_status, 200);
    EXPECT_EQ(answer.shared_by, 4);
  }
  EXPECT_EQ(Count(), 2);
  ASSERT_EQ(Requests().size(), 1u);
  const Json::Value request = Requests()[0];
  EXPECT_EQ(request["method"], "POST");
  EXPECT_EQ(request["path"], "/v1/files/batch/deleteByFileIds");
  EXPECT_EQ(request["body"], "{\"fileIds\":[\"" + ids[0] + "\",\"" + ids[1] + "\",\"" + ids[2] + "\"]}");
}

TEST_F(ApiDeletes, TheBodyIsAnnouncedAsJsonAndSentAtOnce) {
  std::string list;
  std::vector<FileToDelete> files;
  for (uint64_t i = 0; i < 100; ++i) {
    files.push_back({i, "67c6d1a4432c47641600" + std::to_string(1000 + i)});
    list += (i == 0 ? "\"" : ",\"") + files.back().file_id + "\"";
  }
  ScriptedServer server(Reply(200, "{\"successfullyDeletedFileIds\":[" + list + "]}"));
  ApiClient client{TransportOptions()};
  SendDelete(&client, client.AddAccount(FastAccount(server.url())), files);
  for (const auto& [ticket, answer] : ByTicket(&client, 100)) EXPECT_EQ(answer.verdict, Verdict::kDeleted);
  ASSERT_EQ(server.request_count(), 1u);
  const SeenRequest request = server.requests()[0];
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/v1/files/batch/deleteByFileIds");
  EXPECT_EQ(request.body, "{\"fileIds\":[" + list + "]}");
  EXPECT_EQ(request.Header("Content-Type"), "application/json");
  EXPECT_EQ(request.Header("Content-Length"), std::to_string(request.body.size()));
  EXPECT_EQ(request.Header("Expect"), "");
  EXPECT_EQ(request.Header("Authorization"), kAuthorization);
}

TEST_F(ApiDeletes, OneFileGoesByItself) {
  const std::vector<std::string> ids = SeedSome(2);
  EXPECT_EQ(Delete({ids[0]}).at(0).verdict, Verdict::kDeleted);
  for (const auto& [ticket, answer] : Delete({ids[1], ids[1]})) EXPECT_EQ(answer.verdict, Verdict::kDeleted);
  EXPECT_EQ(Count(), 0);
  ASSERT_EQ(Requests().size(), 2u);
  EXPECT_EQ(Requests()[0]["method"], "DELETE");
  EXPECT_EQ(Requests()[0]["path"], "/v1/files/" + ids[0]);
  EXPECT_EQ(Requests()[1]["path"], "/v1/files/" + ids[1]) << "one id given twice is one file";
}

TEST_F(ApiDeletes, StrangeIdsAreNeverSent) {
  const std::vector<std::string> ids = SeedSome(2);
  const auto answers = Delete({ids[0], "", "../x", "a\",\"b", ids[1], std::string(300, 'a')});
  for (const uint64_t good : {0, 4}) EXPECT_EQ(answers.at(good).verdict, Verdict::kDeleted);
  for (const uint64_t bad : {1, 2, 3, 5}) {
    EXPECT_EQ(answers.at(bad).verdict, Verdict::kRejected);
    EXPECT_EQ(answers.at(bad).http_status, 0);
  }
  EXPECT_EQ(Requests()[0]["body"], "{\"fileIds\":[\"" + ids[0] + "\",\"" + ids[1] + "\"]}");

  AccountAccess access = FastAccount(Url());
  access.write_rate = 0.001;
  access.write_burst = 1;
  account_ = client_.AddAccount(access);
  Delete({"a/b", "c d"});
  EXPECT_EQ(Requests().size(), 1u);
  EXPECT_EQ(client_.ReserveDeletes(account_, 1), 1) << "what was reserved for nothing was given back";
}

TEST_F(ApiDeletes, MissingFilesAreGoneAndTheOthersAskedForAgain) {
  const std::vector<std::string> ids = SeedSome(3);
  const auto answers = Delete({ids[0], unknown_, ids[1], ids[2]});
  EXPECT_EQ(answers.at(1).verdict, Verdict::kGone) << answers.at(1).detail;
  for (const uint64_t other : {0, 2, 3}) {
    EXPECT_EQ(answers.at(other).verdict, Verdict::kUndecided);
    EXPECT_FALSE(answers.at(other).alone);
  }
  EXPECT_EQ(Count(), 3) << "nothing was deleted";
  for (const auto& [ticket, answer] : Delete(ids)) EXPECT_EQ(answer.verdict, Verdict::kDeleted);
}

// The other way to read the contract: what was there is gone too. Asked again, it is missing.
TEST_F(ApiDeletes, FilesBesideMissingOnesAreNeverTakenForDone) {
  Turn(R"({"bulk_404":"deletes_found"})");
  const std::vector<std::string> ids = SeedSome(2);
  EXPECT_EQ(Delete({ids[0], unknown_, ids[1]}).at(0).verdict, Verdict::kUndecided);
  for (const auto& [ticket, answer] : Delete(ids)) EXPECT_EQ(answer.verdict, Verdict::kGone);
}

TEST_F(ApiDeletes, ALostAnswerIsFollowedByGone) {
  const std::vector<std::string> ids = SeedSome(3);
  Fault(R"({"kind":"reset_after"})");
  for (const auto& [ticket, answer] : Delete(ids)) {
    EXPECT_EQ(answer.verdict, Verdict::kTransient) << answer.detail;
    EXPECT_EQ(answer.shared_by, 3);
  }
  for (const auto& [ticket, answer] : Delete(ids)) EXPECT_EQ(answer.verdict, Verdict::kGone);
}

TEST_F(ApiDeletes, FilesThatFailWithinABulkAreTransientWithTheirOwnWords) {
  const std::vector<std::string> ids = SeedSome(3);
  Turn(R"({"bulk_207_ids":["/p/1.jpg"]})");
  const auto answers = Delete(ids);
  EXPECT_EQ(answers.at(0).verdict, Verdict::kDeleted);
  EXPECT_EQ(answers.at(1).verdict, Verdict::kTransient);
  EXPECT_NE(answers.at(1).detail.find("HTTP 207: Error in deleting tags"), std::string::npos) << answers.at(1).detail;
  EXPECT_EQ(answers.at(2).verdict, Verdict::kDeleted);
  EXPECT_EQ(Count(), 1);
}

TEST_F(ApiDeletes, AFileThatTheAnswerDoesNotMentionIsAskedForAlone) {
  for (const char* omit : {"on", "on_deleted"}) {
    Turn(std::string(R"({"bulk_omit":")") + omit + "\"}");
    const std::vector<std::string> ids = SeedSome(3);
    const auto answers = Delete(ids);
    EXPECT_EQ(answers.at(0).verdict, Verdict::kDeleted);
    EXPECT_EQ(answers.at(1).verdict, Verdict::kDeleted);
    EXPECT_EQ(answers.at(2).verdict, Verdict::kUndecided);
    EXPECT_TRUE(answers.at(2).alone);
    const bool done = std::string(omit) == "on_deleted";
    EXPECT_EQ(Delete({ids[2]}).at(0).verdict, done ? Verdict::kGone : Verdict::kDeleted);
  }
}

TEST_F(ApiDeletes, BulkSizeFollowsWhatImageKitSays) {
  AccountAccess access = FastAccount(Url());
  access.bulk_size = 40;
  account_ = client_.AddAccount(access);
  const int other = client_.AddAccount(access);
  EXPECT_EQ(client_.BulkSize(account_), 40);
  Turn(R"({"bulk_limit":7})");
  const std::vector<std::string> ids = SeedSome(40);
  for (const auto& [ticket, answer] : Delete(ids)) {
    EXPECT_EQ(answer.verdict, Verdict::kUndecided);
    EXPECT_FALSE(answer.alone);
  }
  EXPECT_EQ(client_.BulkSize(account_), 7);
  EXPECT_EQ(client_.BulkSize(other), 40);
  const std::vector<std::string> seven(ids.begin(), ids.begin() + 7);
  for (const auto& [ticket, answer] : Delete(seven)) EXPECT_EQ(answer.verdict, Verdict::kDeleted);
  Turn(R"({"bulk_limit":100})");
  EXPECT_EQ(client_.BulkSize(account_), 7) << "it is not forgotten";

  access.bulk_size = 1000;
  EXPECT_EQ(client_.BulkSize(client_.AddAccount(access)), 100);
  access.bulk_size = 0;
  EXPECT_EQ(client_.BulkSize(client_.AddAccount(access)), 1);
}

TEST_F(ApiDeletes, AMalformedIdDoesNotTakeTheOthersAlong) {
  const std::vector<std::string> ids = SeedSome(2);
  for (const auto& [ticket, answer] : Delete({ids[0], "not-24-hex-digits", ids[1]})) {
    EXPECT_EQ(answer.verdict, Verdict::kUndecided);
    EXPECT_TRUE(answer.alone);
  }
  EXPECT_EQ(client_.BulkSize(account_), 50) << "the size was not what it was about";
  EXPECT_EQ(Delete({"not-24-hex-digits"}).at(0).verdict, Verdict::kRejected);
  EXPECT_EQ(Delete({ids[0]}).at(0).verdict, Verdict::kDeleted);
}

TEST_F(ApiDeletes, EachOfABulkGetsTheVerdictOfTheRequest) {
  const struct {
    const char* fault;
    Verdict verdict;
  } kCases[] = {{R"({"kind":"rate_limited","reset":1000})", Verdict::kThrottled},
                {R"({"kind":"forbidden"})", Verdict::kCredentials},
                {R"({"kind":"unauthorized"})", Verdict::kCredentials},
                {R"({"kind":"text_500"})", Verdict::kTransient},
                {R"({"kind":"bulk_job"})", Verdict::kTransient},
                {R"({"kind":"html_404"})", Verdict::kBroken},
                {R"({"kind":"status","status":404,"json":{"code":7}})", Verdict::kBroken},
                {R"({"kind":"status","status":200,"body":"<html>welcome</html>"})", Verdict::kBroken},
                {R"({"kind":"status","status":200,"json":{"status":"ok"}})", Verdict::kBroken},
                {R"({"kind":"status","status":204,"body":""})", Verdict::kBroken},
                {R"({"kind":"status","status":202,"json":{"successfullyDeletedFileIds":[]}})", Verdict::kBroken},
                {R"({"kind":"truncated_json"})", Verdict::kBroken},
                {R"({"kind":"reset_before"})", Verdict::kTransient},
                {R"({"kind":"cut_body"})", Verdict::kTransient}};
  for (const auto& c : kCases) {
    const std::vector<std::string> ids = SeedSome(2);
    Fault(c.fault);
    ApiClient client{TransportOptions()};  // libcurl itself repeats what a used connection has lost
    SendDelete(&client, client.AddAccount(FastAccount(Url())), {{0, ids[0]}, {1, ids[1]}});
    for (const auto& [ticket, answer] : ByTicket(&client, 2)) {
      EXPECT_EQ(answer.verdict, c.verdict) << c.fault << answer.detail;
      EXPECT_EQ(answer.shared_by, 2);
    }
    Control("DELETE", "faults");
  }
}

TEST_F(ApiDeletes, AbandonGivesReservationsBack) {
  AccountAccess access = FastAccount(Url());
  access.write_rate = 0.001;
  access.write_burst = 2;
  account_ = client_.AddAccount(access);
  EXPECT_EQ(client_.ReserveDeletes(account_, 5), 2);
  client_.Abandon();
  client_.ReturnDeletes(account_, 2);
  EXPECT_EQ(client_.ReserveDeletes(account_, 5), 2);
}

/// The verdicts of one answer on the files "a", "b" and "c", as letters: Deleted, Gone, Transient, Broken, Undecided, and
/// Alone for undecided ones that must be asked for alone.
std::string Judged(int status, const std::string& json, int* bulk_size = nullptr) {
  Deletion deletion;
  for (const char* id : {"a", "b", "c"}) deletion.Add({0, id});
  const ReplyBody body = ReadBody(json, "application/json");
  int size = 50;
  std::string letters;
  for (const FileVerdict& file : deletion.Judge(JudgeAnswer(Request::kBulkDelete, status, body.kind), body, "words",
                                                bulk_size == nullptr ? &size : bulk_size)) {
    switch (file.verdict) {
      case Verdict::kDeleted:
        letters += 'D';
        break;
      case Verdict::kGone:
        letters += 'G';
        break;
      case Verdict::kTransient:
        letters += 'T';
        break;
      case Verdict::kBroken:
        letters += 'B';
        break;
      case Verdict::kUndecided:
        letters += file.alone ? 'A' : 'U';
        break;
      default:
        letters += '?';
    }
    EXPECT_TRUE(file.verdict == Verdict::kUndecided || !file.alone);
  }
  return letters;
}

TEST(BulkAnswer, OnlyWhatIsListedAsDeletedIsDeleted) {
  EXPECT_EQ(Judged(200, R"({"successfullyDeletedFileIds":["c","a","b"]})"), "DDD");
  EXPECT_EQ(Judged(200, R"({"successfullyDeletedFileIds":["c","c","other"]})"), "AAD");
  EXPECT_EQ(Judged(200, R"({"successfullyDeletedFileIds":[]})"), "AAA");
  EXPECT_EQ(Judged(200, R"({"successfullyDeletedFileIds":["a"],"errors":null})"), "DAA");
  EXPECT_EQ(Judged(200, R"({"message":"done","successfullyDeletedFileIds":["a","b","c"]})"), "DDD");
  EXPECT_EQ(Judged(207, R"({"successfullyDeletedFileIds":["a"],"errors":[{"fileId":"b","error":"x"}]})"), "DTA");
  EXPECT_EQ(Judged(200, R"({"successfullyDeletedFileIds":["a"],"errors":[{"fileId":"b"}]})"), "DTA");
  EXPECT_EQ(Judged(207, R"({"errors":[{"fileId":"b","error":"x"},{"fileId":"z","error":"y"}]})"), "ATA");
}

TEST(BulkAnswer, WhatIsListedAsBothIsUndecided) {
  EXPECT_EQ(Judged(207, R"({"successfullyDeletedFileIds":["a","b"],"errors":[{"fileId":"b","error":"x"}]})"), "DAA");
  EXPECT_EQ(Judged(207, R"({"successfullyDeletedFileIds":["b"],"errors":[{"fileId":"b"},{"fileId":"b"}]})"), "AAA");
}

TEST(BulkAnswer, AnAnswerWithoutListsIsBroken) {
  for (const char* json :
       {"{}", R"({"message":"done"})", R"({"status":"login"})", R"({"successfullyDeletedFileIds":"a"})",
        R"({"successfullyDeletedFileIds":["a",7]})", R"({"successfullyDeletedFileIds":{"a":1}})",
        R"({"successfullyDeletedFileIds":7,"errors":[]})", R"({"errors":{"a":"x"}})", "[]", "[\"a\"]", "", "done",
        R"({"successfullyDeletedFileIds":["a"],"successfullyDeletedFileIds":["b"]})"}) {
    EXPECT_EQ(Judged(200, json), "BBB") << json;
  }
  // Entries of `errors` that name no file say nothing about any; those listed as deleted are.
  EXPECT_EQ(Judged(207, R"({"successfullyDeletedFileIds":["a"],"errors":[7,{"error":"x"},{"fileId":7}]})"), "DAA");
}

TEST(BulkAnswer, OnlyWhatIsListedAsMissingIsGone) {
  EXPECT_EQ(Judged(404, R"({"message":"no","missingFileIds":["b"]})"), "UGU");
  EXPECT_EQ(Judged(404, R"({"message":"no","missingFileIds":["a","b","c","z"]})"), "GGG");
  for (const char* missing : {"", R"(,"missingFileIds":[])", R"(,"missingFileIds":null)", R"(,"missingFileIds":"a")",
                              R"(,"missingFileIds":["a",7])", R"(,"missingFileIds":["z"])"}) {
    EXPECT_EQ(Judged(404, R"({"message":"no")" + std::string(missing) + "}"), "AAA") << missing;
  }
  EXPECT_EQ(Judged(404, R"({"missingFileIds":["a"]})"), "BBB") << "not ImageKit's words";
}

TEST(BulkAnswer, TooManyIsReadTolerantly) {
  const auto size = [](const std::string& message, const char* letters) {
    int bulk_size = 3;
    EXPECT_EQ(Judged(400, "{\"message\":\"" + message + "\"}", &bulk_size), letters) << message;
    return bulk_size;
  };
  EXPECT_EQ(size("fileIds cannot have more than 2 items.", "UUU"), 2);
  EXPECT_EQ(size("You may not send more than 2.", "UUU"), 2);
  EXPECT_EQ(size("fileIds cannot have more than 0 items.", "UUU"), 1);
  EXPECT_EQ(size("fileIds cannot have more than 100 items.", "UUU"), 1) << "three were sent: halved";
  EXPECT_EQ(size("more than 99999999999999999999 items", "UUU"), 1);
  EXPECT_EQ(size("fileIds cannot have more than some items.", "AAA"), 3);
  EXPECT_EQ(size("Your request contains invalid fileId parameter 100.", "AAA"), 3);
  EXPECT_EQ(size("fileIds is empty.", "AAA"), 3);
}

}  // namespace
}  // namespace imagekit
