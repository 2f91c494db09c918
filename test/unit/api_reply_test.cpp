// Proves that reading an answer survives anything, and never turns a damaged list into a file to delete.

#include "core/api_reply.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "api_test_support.h"
#include "core/path_search.h"

namespace imagekit {
namespace {

using test::FileJson;

const LibraryPath kCat = {"/pets", "cat.jpg"};

TEST(ApiReply, TellsTheKindsOfBodiesApart) {
  const auto kind = [](const std::string& body, const std::string& type = "application/json") {
    return ReadBody(body, type).kind;
  };
  EXPECT_EQ(kind(""), BodyKind::kEmpty);
  EXPECT_EQ(kind(" \r\n\t"), BodyKind::kEmpty);
  EXPECT_EQ(kind("[]"), BodyKind::kArray);
  EXPECT_EQ(kind(" [1, 2] \n", ""), BodyKind::kArray) << "the type header decides nothing about JSON";
  EXPECT_EQ(kind(R"({"message":"no"})", "text/plain"), BodyKind::kMessage);
  EXPECT_EQ(kind(R"({"message":["no"]})"), BodyKind::kJson);
  EXPECT_EQ(kind(R"({"message":null})"), BodyKind::kJson);
  EXPECT_EQ(kind("{}"), BodyKind::kJson);
  EXPECT_EQ(kind("  <html>"), BodyKind::kHtml);
  EXPECT_EQ(kind("", "text/html"), BodyKind::kHtml);
  EXPECT_EQ(kind("Sign in", "Text/HTML; charset=utf-8"), BodyKind::kHtml);
  EXPECT_EQ(kind("Internal server error"), BodyKind::kText);
  EXPECT_EQ(kind(std::string("\0\0", 2)), BodyKind::kText);
}

TEST(ApiReply, JsonIsReadStrictly) {
  for (const char* body : {"[1,]", "[1] x", "[1][2]", "{\"a\":1,\"a\":2}", "[NaN]", "['a']", "[,]", "[\"\\ud800\"]",
                           "7", "\"text\"", "null", "[", "{\"a\"", "[1e999]", "\xEF\xBB\xBF", "[truee]"}) {
    EXPECT_EQ(ReadBody(body, "application/json").kind, BodyKind::kText) << body;
  }
}

TEST(ApiReply, NothingHidesBehindAZeroByte) {
  const std::string zero(1, '\0');
  for (const std::string& body : {"[]" + zero, "[]" + zero + "[1]", R"({"message":"no such file"})" + zero + "<html>",
                                  zero + "[]", "[\"a" + zero + "\"]"}) {
    EXPECT_EQ(ReadBody(body, "application/json").kind, BodyKind::kText) << body;
  }
  // An escape is text like any other.
  EXPECT_EQ(ReadBody(R"(["\u0000"])", "application/json").kind, BodyKind::kArray);
}

TEST(ApiReply, DeepNestingAndValueFloodsAreNoJson) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(ReadBody(nested(50), "").kind, BodyKind::kArray);
  EXPECT_EQ(ReadBody(nested(200), "").kind, BodyKind::kText);
  EXPECT_EQ(ReadBody(nested(4u << 20), "").kind, BodyKind::kText);
  EXPECT_EQ(ReadBody(std::string(8u << 20, '{'), "").kind, BodyKind::kText);
  std::string flood = "[0";
  for (int i = 0; i < 600000; ++i) flood += ",0";
  EXPECT_EQ(ReadBody(flood + "]", "").kind, BodyKind::kText);
}

TEST(ApiReply, EntriesOfAnotherShapeSpoilTheList) {
  const auto well_shaped = [](const std::string& entry) {
    return ReadBody("[" + FileJson("a1", "/pets", "dog.jpg") + "," + entry + "]", "").well_shaped;
  };
  EXPECT_TRUE(well_shaped(R"({"type":"file","fileId":"a","name":"n","filePath":"/n"})"));
  EXPECT_TRUE(well_shaped(R"({"type":"folder"})"));
  EXPECT_TRUE(well_shaped(R"({"type":"something new"})"));
  for (const char* entry :
       {"7", "null", "\"file\"", "[]", "{}", R"({"type":7})", R"({"type":"file"})",
        R"({"type":"file","name":"n","filePath":"/n"})", R"({"type":"file","fileId":"a","filePath":"/n"})",
        R"({"type":"file","fileId":"a","name":"n"})", R"({"type":"file","fileId":7,"name":"n","filePath":"/n"})",
        R"({"type":"file","fileId":null,"name":"n","filePath":"/n"})",
        R"({"type":"file","fileId":"a","name":["n"],"filePath":"/n"})",
        R"({"type":"file","fileId":"a","name":"n","filePath":{}})"}) {
    EXPECT_FALSE(well_shaped(entry)) << entry;
    PathSearch search(kCat, true);
    EXPECT_TRUE(search.ReadPage(ReadBody("[" + std::string(entry) + "]", "")));
    EXPECT_EQ(search.targets()[0].verdict, Verdict::kBroken);
  }
}

TEST(ApiReply, OptionalFieldsMayBeAnything) {
  const ReplyBody body = ReadBody(
      R"([{"type":"file","fileId":"a","name":"n","filePath":"/n","url":7,"createdAt":"soon","updatedAt":1e300,)"
      R"("tags":null,"AITags":"","size":-99999999999999999999999999}])",
      "");
  ASSERT_TRUE(body.well_shaped);
  ASSERT_EQ(body.files.size(), 1u);
  EXPECT_EQ(body.files[0].url, "");
  EXPECT_EQ(body.files[0].created_ms, -1);
  EXPECT_EQ(body.files[0].updated_ms, -1);
}

TEST(ApiReply, UrlUnfitForADatabaseIsLeftOut) {
  const auto url = [](const std::string& text) {
    const ReplyBody body =
        ReadBody(R"([{"type":"file","fileId":"a","name":"n","filePath":"/n","url":")" + text + "\"}]", "");
    return body.files.empty() ? "no file" : body.files[0].url;
  };
  EXPECT_EQ(url("https://ik.imagekit.io/a/\xC3\xA9"), "https://ik.imagekit.io/a/\xC3\xA9");
  EXPECT_EQ(url("https://x/\\u0000"), "");
  EXPECT_EQ(url("https://x/\\n"), "");
  EXPECT_EQ(url("https://x/\xFF"), "");
}

Verdict Search(const std::string& list, FoundFile* file = nullptr) {
  PathSearch search(kCat, true);
  if (!search.ReadPage(ReadBody(list, ""))) search.Conclude();
  if (file != nullptr) *file = search.targets()[0].file;
  return search.targets()[0].verdict;
}

TEST(ApiReply, MatchThatContradictsItselfIsAmbiguous) {
  // The path is ours, the name is not.
  std::string renamed = FileJson("a1", "/pets", "cat.jpg");
  renamed.replace(renamed.find("\"name\":\"cat.jpg\""), 16, "\"name\":\"dog.jpg\"");
  EXPECT_EQ(Search("[" + renamed + "]"), Verdict::kAmbiguous);
  // One id for two paths: deleting ours would delete the other.
  EXPECT_EQ(Search("[" + FileJson("a1", "/pets", "cat.jpg") + "," + FileJson("a1", "/old", "cat.jpg") + "]"),
            Verdict::kAmbiguous);
  EXPECT_EQ(Search("[" + FileJson("a1", "/old", "cat.jpg") + "," + FileJson("a1", "/pets", "cat.jpg") + "]"),
            Verdict::kAmbiguous);
  // The same file twice in one page.
  EXPECT_EQ(Search("[" + FileJson("a1", "/pets", "cat.jpg") + "," + FileJson("a1", "/pets", "cat.jpg") + "]"),
            Verdict::kAmbiguous);
}

TEST(ApiReply, PagesThatDoNotOverlapProveNothing) {
  PathSearch search(kCat, true);
  EXPECT_FALSE(search.ReadPage(ReadBody(R"([{"type":"folder"}])", "")));
  EXPECT_TRUE(search.ReadPage(ReadBody("[]", ""))) << "the nameless entry should have come again";
  EXPECT_EQ(search.targets()[0].verdict, Verdict::kTransient);
}

TEST(ApiReply, StrangeFileIdsAreNeverHandedOut) {
  for (const char* id : {"", "a/b", "../x", "a b", "a\\u0000", "a?x", "\xC3\xA9", "a\\n", "%61"}) {
    FoundFile file;
    EXPECT_EQ(Search("[" + FileJson(id, "/pets", "cat.jpg") + "]", &file), Verdict::kAmbiguous) << id;
    EXPECT_TRUE(file.file_id.empty());
  }
  EXPECT_EQ(Search("[" + FileJson("aZ_09-", "/pets", "cat.jpg") + "]"), Verdict::kFound);
}

TEST(ApiReply, PathIsComparedByteForByte) {
  for (const char* path : {"/pets/cat.jpg ", "/Pets/cat.jpg", "pets/cat.jpg", "//pets/cat.jpg", "/pets/cat.jpg\\u0000",
                           "/pets/./cat.jpg", "/pets%2Fcat.jpg", "/pets/cat.jpg/"}) {
    const std::string list =
        R"([{"type":"file","fileId":"a","name":"cat.jpg","filePath":")" + std::string(path) + "\"}]";
    EXPECT_EQ(Search(list), Verdict::kElsewhere) << path;
  }
  // However JSON spells it, the bytes count.
  EXPECT_EQ(Search(R"([{"type":"file","fileId":"a","name":"cat.jpg","filePath":"\/p\u0065ts\/cat.jpg"}])"),
            Verdict::kFound);
}

TEST(ApiReply, TypeMustBeExactlyFile) {
  for (const char* type : {"File", "file-version", "file ", "files", ""}) {
    const std::string list =
        R"([{"type":")" + std::string(type) + R"(","fileId":"a","name":"cat.jpg","filePath":"/pets/cat.jpg"}])";
    EXPECT_EQ(Search(list), Verdict::kNotFound) << type;
  }
}

// Whatever damage a list takes on its way, a file found in it lies at the wanted path and has a usable id.
TEST(ApiReply, RandomMutationsNeverYieldAWrongFile) {
  const std::string valid = "[" + FileJson("67c6d1a4432c47641600aa01", "/pets", "cat.jpg") + "," +
                            FileJson("67c6d1a4432c47641600aa02", "/old", "cat.jpg") +
                            R"(,{"type":"folder","name":"cat.jpg","folderId":"f1","folderPath":"/cat.jpg"}])";
  const std::string pieces[] = {"\"",
                                "{",
                                "}",
                                "[",
                                "]",
                                ",",
                                ":",
                                "\\",
                                "\\u0000",
                                "null",
                                "1e9999",
                                "\"file\"",
                                "\"filePath\":\"/pets/cat.jpg\",",
                                "\xFF",
                                std::string(1, '\0'),
                                "\"type\":"};
  std::mt19937 random(20250304);
  const auto below = [&](size_t n) { return static_cast<size_t>(random()) % n; };
  size_t found = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string body = valid;
    for (size_t edits = 1 + below(4); edits > 0 && !body.empty(); --edits) {
      const size_t at = below(body.size());
      switch (below(5)) {
        case 0:
          body[at] = static_cast<char>(random());
          break;
        case 1:
          body.erase(at, 1 + below(20));
          break;
        case 2:
          body.insert(at, pieces[below(std::size(pieces))]);
          break;
        case 3:
          body.insert(at, body.substr(below(body.size()), below(60)));
          break;
        default:
          body.resize(at);
      }
    }
    FoundFile file;
    if (Search(body, &file) == Verdict::kFound) {
      ++found;
      EXPECT_EQ(file.file_path, "/pets/cat.jpg");
      EXPECT_EQ(file.name, "cat.jpg");
      EXPECT_FALSE(file.file_id.empty());
      EXPECT_EQ(file.file_id.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"),
                std::string::npos);
    } else {
      EXPECT_TRUE(file.file_id.empty());
    }
  }
  EXPECT_GT(found, 100u) << "some damage is harmless; else this test proves nothing";
}

TEST(ApiReply, RandomBytesAreHarmless) {
  std::mt19937 random(4);
  for (int round = 0; round < 3000; ++round) {
    std::string body(random() % 300, ' ');
    for (char& c : body) c = static_cast<char>(random());
    if (round % 2 == 0) body = "[" + body;
    EXPECT_NE(ReadBody(body, "").kind, BodyKind::kMessage);
  }
}

}  // namespace
}  // namespace imagekit
