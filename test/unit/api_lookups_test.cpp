// Proves that look-ups that share a request are answered as each would have been alone, and how few requests they take:
// against the emulator, whose journal counts them.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "emulator_test_support.h"

namespace imagekit {
namespace {

using namespace test;  // the support of this folder

LibraryPath PathOf(const std::string& file_path) {
  const size_t slash = file_path.rfind('/');
  return {slash == 0 ? "/" : file_path.substr(0, slash), file_path.substr(slash + 1)};
}

class ApiLookUps : public EmulatorTest {
 protected:
  ApiLookUps() : client_(TransportOptions()) {}

  int Account(int search_size = 25) {
    AccountAccess access = FastAccount(Url());
    access.search_size = search_size;
    return account_ = client_.AddAccount(access);
  }
  /// Looks for some files at the same time; tickets are their places in the list.
  std::map<uint64_t, Answer> Find(const std::vector<std::string>& paths, const std::vector<std::string>& ids = {}) {
    if (account_ < 0) Account();
    for (size_t i = 0; i < paths.size(); ++i) {
      client_.Find(i, account_, PathOf(paths[i]), i < ids.size() ? ids[i] : "");
    }
    return ByTicket(&client_, paths.size());
  }
  static std::vector<std::string> Queries() {
    std::vector<std::string> queries;
    for (const Json::Value& request : Requests("GET", "/v1/files")) {
      queries.push_back(request["query"]["searchQuery"].asString());
    }
    return queries;
  }

  ApiClient client_;
  int account_ = -1;
};

TEST_F(ApiLookUps, AThousandNamesInTwoHundredFoldersTakeFortySearches) {
  std::vector<std::string> paths;
  for (int i = 0; i < 1000; ++i) {
    paths.push_back("/f" + std::to_string(i % 200) + "/image" + std::to_string(i) + ".jpg");
  }
  const std::vector<std::string> ids = Seed(paths);
  const auto answers = Find(paths);
  for (size_t i = 0; i < paths.size(); ++i) {
    ASSERT_EQ(answers.at(i).verdict, Verdict::kFound) << answers.at(i).detail;
    EXPECT_EQ(answers.at(i).file.file_id, ids[i]);
    EXPECT_EQ(answers.at(i).file.file_path, paths[i]);
    EXPECT_EQ(answers.at(i).shared_by, 25);
  }
  EXPECT_LE(Searches(), 41u);
}

TEST_F(ApiLookUps, AThousandKnownIdsTakeTenSearches) {
  std::vector<std::string> paths;
  for (int i = 0; i < 1000; ++i) paths.push_back("/f" + std::to_string(i % 7) + "/" + std::to_string(i) + ".jpg");
  const std::vector<std::string> ids = Seed(paths);
  const auto answers = Find(paths, ids);
  for (size_t i = 0; i < paths.size(); ++i) {
    ASSERT_EQ(answers.at(i).verdict, Verdict::kFound) << answers.at(i).detail;
    EXPECT_EQ(answers.at(i).file.file_id, ids[i]);
  }
  EXPECT_LE(Searches(), 11u);
}

TEST_F(ApiLookUps, OneNameInManyFoldersIsOneName) {
  std::vector<std::string> paths;
  const std::string name = std::string(80, 'c') + ".jpg";  // fifty of it would not fit into a request
  for (int i = 0; i < 300; ++i) paths.push_back("/f" + std::to_string(i) + "/" + name);
  const std::vector<std::string> ids = Seed(paths);
  const std::vector<std::string> wanted(paths.begin() + 200, paths.begin() + 250);
  const auto answers = Find(wanted);
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_EQ(answers.at(i).verdict, Verdict::kFound) << answers.at(i).detail;
    EXPECT_EQ(answers.at(i).file.file_id, ids[200 + i]);
  }
  EXPECT_EQ(Searches(), 2u) << "300 entries are two pages";
  EXPECT_EQ(Queries()[0], "type = \"file\" AND name IN [\"" + name + "\"]");
}

TEST_F(ApiLookUps, ANameInTooManyFoldersIsAskedForFolderByFolderAndRemembered) {
  std::vector<std::string> paths;
  for (int i = 0; i < 1500; ++i) paths.push_back("/f" + std::to_string(i) + "/cover.jpg");
  paths.push_back("/rare/one.jpg");
  const std::vector<std::string> ids = Seed(paths);
  std::vector<std::string> wanted(paths.begin() + 1450, paths.end());
  wanted.push_back("/rare/two.jpg");
  const auto answers = Find(wanted);
  for (size_t i = 0; i < 51; ++i) {
    ASSERT_EQ(answers.at(i).verdict, Verdict::kFound) << answers.at(i).detail;
    EXPECT_EQ(answers.at(i).file.file_id, ids[1450 + i]);
  }
  EXPECT_EQ(answers.at(51).verdict, Verdict::kNotFound) << answers.at(51).detail;
  EXPECT_LE(Searches(), 5u + 52u) << "about one request a file";

  Control("DELETE", "journal");
  Find({paths[3], paths[4], "/rare/one.jpg", "/rare/two.jpg"});
  for (const Json::Value& request : Requests("GET", "/v1/files")) {
    EXPECT_TRUE(request["query"].isMember("path")) << request["query"]["searchQuery"].asString();
  }
  EXPECT_EQ(Searches(), 3u);
}

TEST_F(ApiLookUps, NamesOfOneFolderAreLookedForThere) {
  Seed({"/pets/cat.jpg", "/pets/dog.jpg", "/old/cat.jpg"});
  const auto answers = Find({"/pets/cat.jpg", "/pets/dog.jpg", "/pets/cow.jpg"});
  EXPECT_EQ(answers.at(0).verdict, Verdict::kFound);
  EXPECT_EQ(answers.at(1).verdict, Verdict::kFound);
  EXPECT_EQ(answers.at(2).verdict, Verdict::kNotFound);
  ASSERT_EQ(Searches(), 1u);
  const Json::Value query = Requests("GET", "/v1/files")[0]["query"];
  EXPECT_EQ(query["path"], "/pets");
  EXPECT_EQ(query["searchQuery"], R"(type = "file" AND name IN ["cat.jpg", "dog.jpg", "cow.jpg"])");
  EXPECT_EQ(query["limit"], "200");
}

TEST_F(ApiLookUps, NamesOfSeveralFoldersAreLookedForInTheWholeLibrary) {
  Seed({"/pets/cat.jpg", "/farm/cow.jpg"});
  Find({"/pets/cat.jpg", "/farm/cow.jpg"});
  ASSERT_EQ(Searches(), 1u);
  const Json::Value query = Requests("GET", "/v1/files")[0]["query"];
  EXPECT_FALSE(query.isMember("path"));
  EXPECT_EQ(query["searchQuery"], R"(type = "file" AND name IN ["cat.jpg", "cow.jpg"])");
}

TEST_F(ApiLookUps, ASharedSearchJudgesEachPathByItself) {
  const std::vector<std::string> ids =
      Seed({"/pets/cat.jpg", "/old/cat.jpg", "/pets/Dog.jpg", "/a/b/\xC3\xA9.jpg", "/farm/50% + #1?.jpg"});
  const auto answers = Find({"/pets/cat.jpg", "/new/cat.jpg", "/pets/dog.jpg", "/a/b/\xC3\xA9.jpg",
                             "/farm/50% + #1?.jpg", "/pets/cat.jpg", "/old/cat.jpg", "/pets/e\xCC\x81.jpg"});
  const Verdict expected[] = {Verdict::kFound, Verdict::kElsewhere, Verdict::kNotFound, Verdict::kFound,
                              Verdict::kFound, Verdict::kFound,     Verdict::kFound,    Verdict::kNotFound};
  const int file[] = {0, -1, -1, 3, 4, 0, 1, -1};
  for (size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_EQ(answers.at(i).verdict, expected[i]) << i << VerdictName(answers.at(i).verdict);
    EXPECT_EQ(answers.at(i).file.file_id, file[i] < 0 ? "" : ids[static_cast<size_t>(file[i])]) << i;
  }
  EXPECT_NE(answers.at(1).detail.find("/pets/cat.jpg"), std::string::npos) << answers.at(1).detail;
  EXPECT_EQ(Searches(), 1u);
}

TEST_F(ApiLookUps, ThePathParameterIsNotReliedOn) {
  Turn(R"({"search_path_parameter":"ignored"})");
  std::vector<std::string> paths;
  for (int i = 0; i < 60; ++i) paths.push_back("/f" + std::to_string(i) + "/a.jpg");
  paths.push_back("/pets/a.jpg");
  paths.push_back("/pets/b.jpg");
  const std::vector<std::string> ids = Seed(paths);
  const auto answers = Find({"/pets/a.jpg", "/pets/b.jpg", "/pets/c.jpg"});
  EXPECT_EQ(answers.at(0).file.file_id, ids[60]);
  EXPECT_EQ(answers.at(1).file.file_id, ids[61]);
  EXPECT_EQ(answers.at(2).verdict, Verdict::kNotFound);
}

TEST_F(ApiLookUps, OneListingServesAllThatWaitForItsFolder) {
  const std::vector<std::string> ids = Seed({"/pets/a\"b.jpg", "/pets/c\\d.jpg", "/pets/cat.jpg", "/old/cat.jpg"});
  const auto answers = Find({"/pets/a\"b.jpg", "/pets/c\\d.jpg", "/pets/e\"f.jpg", "/pets/cat.jpg", "/pets/dog.jpg"});
  EXPECT_EQ(answers.at(0).file.file_id, ids[0]);
  EXPECT_EQ(answers.at(1).file.file_id, ids[1]);
  EXPECT_EQ(answers.at(2).verdict, Verdict::kNotFound);
  EXPECT_EQ(answers.at(3).file.file_id, ids[2]);
  EXPECT_EQ(answers.at(4).verdict, Verdict::kNotFound);
  EXPECT_EQ(Searches(), 1u);
}

TEST_F(ApiLookUps, AnIdThatIsNoProofIsFollowedByTheSearchByPath) {
  const std::vector<std::string> ids = Seed({"/pets/cat.jpg", "/pets/dog.jpg", "/old/cow.jpg"});
  const std::string unknown = "0123456789abcdef01234567";
  // In turn: right, of another file, unknown, moved, no id at all, the same id twice.
  const auto answers = Find({"/pets/cat.jpg", "/pets/dog.jpg", "/pets/cat.jpg", "/new/cow.jpg", "/old/cow.jpg",
                             "/pets/cat.jpg", "/pets/dog.jpg"},
                            {ids[0], ids[0], unknown, ids[2], "no id!", ids[1], ids[1]});
  const int file[] = {0, 1, 0, -1, 2, 0, 1};
  for (size_t i = 0; i < std::size(file); ++i) {
    EXPECT_EQ(answers.at(i).file.file_id, file[i] < 0 ? "" : ids[static_cast<size_t>(file[i])]) << i;
  }
  EXPECT_EQ(answers.at(3).verdict, Verdict::kElsewhere);
  const std::vector<std::string> queries = Queries();
  ASSERT_EQ(queries.size(), 3u) << "the ids, the one path without, and the paths that no id has proven";
  size_t by_id = 0;
  for (const std::string& query : queries) {
    if (query.find(" id IN ") == std::string::npos) continue;
    ++by_id;
    EXPECT_EQ(query, "type = \"file\" AND id IN [\"" + ids[0] + "\", \"" + unknown + "\", \"" + ids[2] + "\", \"" +
                         ids[1] + "\"]");
  }
  EXPECT_EQ(by_id, 1u);
}

TEST_F(ApiLookUps, AnAccountThatIsRefusedIdsIsNotAskedByIdAgain) {
  Fault(
      R"({"kind":"status","status":400,"json":{"message":"Invalid search query - id"},"contains":" id IN ","count":0})");
  std::vector<std::string> paths;
  for (int i = 0; i < 250; ++i) paths.push_back("/p/" + std::to_string(i) + ".jpg");
  const std::vector<std::string> ids = Seed(paths);
  AccountAccess access = FastAccount(Url());
  access.read_burst = 1;  // one after the other
  access.read_rate = 500;
  account_ = client_.AddAccount(access);
  for (int round = 0; round < 2; ++round) {
    const auto answers = Find(paths, ids);
    for (size_t i = 0; i < paths.size(); ++i) EXPECT_EQ(answers.at(i).file.file_id, ids[i]);
  }
  size_t by_id = 0;
  for (const std::string& query : Queries()) by_id += query.find(" id IN ") != std::string::npos ? 1 : 0;
  EXPECT_LE(by_id, 3u) << "those that were on the wire when the first was refused";
}

TEST_F(ApiLookUps, EachOfAGroupGetsTheVerdictOfTheRequest) {
  Seed({"/a/1.jpg", "/b/2.jpg"});
  const struct {
    const char* fault;
    Verdict verdict;
  } kCases[] = {{R"({"kind":"rate_limited","reset":1000})", Verdict::kThrottled},
                {R"({"kind":"forbidden"})", Verdict::kCredentials},
                {R"({"kind":"unauthorized"})", Verdict::kCredentials},
                {R"({"kind":"text_500"})", Verdict::kTransient},
                {R"({"kind":"html_502"})", Verdict::kTransient},
                {R"({"kind":"html_404"})", Verdict::kBroken},
                {R"({"kind":"truncated_json"})", Verdict::kBroken},
                {R"({"kind":"reset_before"})", Verdict::kTransient},
                {R"({"kind":"cut_body"})", Verdict::kTransient}};
  for (const auto& c : kCases) {
    Fault(c.fault);
    ApiClient client{TransportOptions()};
    const int account = client.AddAccount(FastAccount(Url()));
    client.Find(0, account, {"/a", "1.jpg"});
    client.Find(1, account, {"/b", "2.jpg"});
    client.Find(2, account, {"/b", "3.jpg"});
    for (const auto& [ticket, answer] : ByTicket(&client, 3)) {
      EXPECT_EQ(answer.verdict, c.verdict) << c.fault << answer.detail;
      EXPECT_EQ(answer.shared_by, 3);
      EXPECT_FALSE(answer.detail.empty());
    }
    Control("DELETE", "faults");
  }
}

// A folder may be missing, a library may not: such a 404 is about the address, and nothing is believed to be gone by it.
TEST_F(ApiLookUps, AMissingFolderSettlesOnlyWhatWasLookedForInIt) {
  Fault(R"({"kind":"status","status":404,"json":{"message":"no such route"},"count":0})");
  for (const auto& [ticket, answer] : Find({"/a/1.jpg", "/b/2.jpg"})) EXPECT_EQ(answer.verdict, Verdict::kBroken);
  for (const auto& [ticket, answer] : Find({"/a/1.jpg", "/a/2.jpg"})) EXPECT_EQ(answer.verdict, Verdict::kNotFound);
}

TEST_F(ApiLookUps, ARejectedNameDoesNotTakeTheOthersAlong) {
  Fault(
      R"({"kind":"status","status":400,"json":{"message":"Invalid search query - x"},"contains":"bad.jpg","count":0})");
  std::vector<std::string> paths;
  for (int i = 0; i < 25; ++i) paths.push_back("/f" + std::to_string(i) + "/" + std::to_string(i) + ".jpg");
  paths[17] = "/f17/bad.jpg";
  const std::vector<std::string> ids = Seed(paths);
  const auto answers = Find(paths);
  for (size_t i = 0; i < paths.size(); ++i) {
    if (i == 17) {
      EXPECT_EQ(answers.at(i).verdict, Verdict::kRejected) << answers.at(i).detail;
    } else {
      EXPECT_EQ(answers.at(i).file.file_id, ids[i]) << answers.at(i).detail;
    }
  }
  EXPECT_LE(Searches(), 11u) << "once, and two for each halving";
}

TEST_F(ApiLookUps, ARejectedNameOfManyFoldersIsTriedFolderByFolder) {
  Fault(R"({"kind":"status","status":400,"json":{"message":"Invalid search query - x"},"contains":" IN ","count":0})");
  const std::vector<std::string> paths = {"/a/cat.jpg", "/b/cat.jpg", "/c/cat.jpg", "/a/cat.jpg"};
  const std::vector<std::string> ids = Seed({paths[0], paths[1], paths[2]});
  const auto answers = Find(paths);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(answers.at(i).file.file_id, ids[i]) << answers.at(i).detail;
  EXPECT_EQ(answers.at(3).file.file_id, ids[0]);
  EXPECT_LE(Searches(), 4u);
}

TEST_F(ApiLookUps, NoTargetIsLongerThanFourKilobytes) {
  std::vector<std::string> paths;
  for (int i = 0; i < 60; ++i) {
    paths.push_back("/" + std::string(static_cast<size_t>(i), 'f') + "/" + std::string(200, ' ') + std::to_string(i));
  }
  paths[0] = "/" + std::string(200, ' ') + "0";
  paths.push_back("/" + std::string(3900, 'n'));
  paths.push_back("/" + std::string(3900, 'm'));
  const std::vector<std::string> ids = Seed(paths);
  AccountAccess access = FastAccount(Url());
  account_ = client_.AddAccount(access);
  const auto answers = Find(paths, {});
  for (size_t i = 0; i < paths.size(); ++i) EXPECT_EQ(answers.at(i).file.file_id, ids[i]) << answers.at(i).detail;
  for (const Json::Value& request : Requests("GET", "/v1/files")) {
    size_t bytes = request["path"].asString().size();
    for (const std::string& name : request["query"].getMemberNames()) {
      bytes += 2 + name.size() + ikemu::percent_encode(request["query"][name].asString()).size();
    }
    EXPECT_LT(bytes, 4096u);
  }
  EXPECT_LE(Searches(), 16u);
}

TEST_F(ApiLookUps, SearchSizeIsTheMostNamesInOneSearch) {
  Account(3);
  std::vector<std::string> paths;
  for (int i = 0; i < 10; ++i) paths.push_back("/f" + std::to_string(i) + "/" + std::to_string(i) + ".jpg");
  Seed(paths);
  Find(paths);
  EXPECT_EQ(Searches(), 4u);
}

TEST_F(ApiLookUps, AccountsDoNotShareSearches) {
  Control("POST", "accounts", R"({"account":"other","keys":["private_other"]})");
  Seed({"/a/1.jpg", "/b/2.jpg"});
  AccountAccess access = FastAccount(Url());
  const int one = client_.AddAccount(access);
  access.private_key = "private_other";
  const int two = client_.AddAccount(access);
  client_.Find(0, one, {"/a", "1.jpg"});
  client_.Find(1, two, {"/a", "1.jpg"});
  const auto answers = ByTicket(&client_, 2);
  EXPECT_EQ(answers.at(0).verdict, Verdict::kFound);
  EXPECT_EQ(answers.at(1).verdict, Verdict::kNotFound);
}

}  // namespace
}  // namespace imagekit
