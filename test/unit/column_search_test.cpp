// Proves which URLs of a column count as seen by capture, and where in a document the others stand.

#include <gtest/gtest.h>

#include <string>

#include "core/column_search.h"
#include "url_test_support.h"

namespace imagekit {
namespace {

const KnownPrefixes& Known() {
  static const KnownPrefixes known = [] {
    KnownPrefixes all;
    for (const std::string& prefix : AcmePrefixes()) EXPECT_TRUE(all.Add(kAcme, prefix));
    EXPECT_FALSE(all.Add(kAcme + 1, AcmePrefixes()[0]));
    return all;
  }();
  return known;
}

/// "account rows/unseen/unreadable example place; ...".
std::string Tell(const ColumnSearch& search) {
  std::string told;
  for (const ColumnFinding& finding : search.findings())
    told += (told.empty() ? "" : "; ") + std::to_string(finding.account) + " " + std::to_string(finding.rows) + "/" +
            std::to_string(finding.unseen) + "/" + std::to_string(finding.unreadable) + " " + finding.example +
            (finding.place.empty() ? "" : " " + finding.place);
  return told;
}

std::string Text(std::string_view text, bool watched) {
  ColumnSearch search(Known());
  if (watched) search.Watch({});
  search.LookAtText(text);
  search.EndRow();
  return Tell(search);
}

std::string Json(std::string_view json, const std::vector<JsonPath>& watched) {
  ColumnSearch search(Known());
  for (const JsonPath& path : watched) search.Watch(path);
  search.LookAtJson(json);
  search.EndRow();
  return Tell(search);
}

TEST(ColumnSearch, Texts) {
  EXPECT_EQ(Text("https://ik.imagekit.io/acme/a.jpg", false), "7 1/1/0 https://ik.imagekit.io/acme/a.jpg");
  EXPECT_EQ(Text("https://ik.imagekit.io/acme/a.jpg", true), "7 1/0/0 https://ik.imagekit.io/acme/a.jpg");
  EXPECT_EQ(Text("<img src='https://ik.imagekit.io/acme/a.jpg'> and ik.imagekit.io/acme/b.jpg", true),
            "7 1/1/1 ik.imagekit.io/acme/b.jpg");
  EXPECT_EQ(Text("no URL, and https://cdn.example/x.jpg", false), "");
}

TEST(ColumnSearch, SpellingsThatCaptureDoesNotSee) {
  EXPECT_EQ(Text("ik.imagekit.io/acme/a.jpg", true), "7 1/1/1 ik.imagekit.io/acme/a.jpg");
  EXPECT_EQ(Text(R"({"u":"https:\/\/ik.imagekit.io\/acme\/a.jpg"})", true), R"(7 1/1/1 ik.imagekit.io\/acme\/a.jpg)");
  EXPECT_EQ(Text("https://cdn.example/?u=https%3A%2F%2Fik.imagekit.io%2Facme%2Fa.jpg", true),
            "7 1/1/1 ik.imagekit.io%2Facme%2Fa.jpg");
  // A second one behind a URL that begins the text is taken for a part of it.
  EXPECT_EQ(Text("https://ik.imagekit.io/acme/a.jpg and ik.imagekit.io/acme/b.jpg", true).substr(0, 7), "7 1/1/1");
}

TEST(ColumnSearch, UnknownPrefixes) {
  EXPECT_EQ(Text("https://ik.imagekit.io/other/a.jpg", true), "-1 1/1/1 ik.imagekit.io/other/a.jpg");
  EXPECT_EQ(Text("https://cdn.example/tr:w-3/a.jpg", true), "-1 1/1/1 https://cdn.example/tr:w-3/a.jpg");
}

TEST(ColumnSearch, RowsAreCountedOnce) {
  ColumnSearch search(Known());
  for (int i = 0; i < 3; i++) {
    search.LookAtText("https://ik.imagekit.io/acme/a.jpg");
    search.LookAtText("https://ik.imagekit.io/acme/b.jpg");
    search.EndRow();
    search.EndRow();
  }
  EXPECT_EQ(Tell(search), "7 3/3/0 https://ik.imagekit.io/acme/a.jpg");
}

TEST(ColumnSearch, PathsOfDocuments) {
  const char* json =
      R"({"a": {"b": ["x", {"src": "https://ik.imagekit.io/acme/1.jpg"}]}, "c": 1, "d.e": "https://ik.imagekit.io/acme/2.jpg"})";
  const JsonPath b = {{false, "a"}, {false, "b"}}, src = {{false, "a"}, {false, "b"}, {true, ""}, {false, "src"}},
                 d = {{false, "d.e"}}, wrong = {{false, "a"}, {true, ""}};
  EXPECT_EQ(Json(json, {}), "7 1/1/0 https://ik.imagekit.io/acme/1.jpg a.b[*].src");
  EXPECT_EQ(Json(json, {b}), "7 1/1/0 https://ik.imagekit.io/acme/2.jpg \"d.e\"");
  EXPECT_EQ(Json(json, {src}), "7 1/1/0 https://ik.imagekit.io/acme/2.jpg \"d.e\"");
  EXPECT_EQ(Json(json, {wrong, d}), "7 1/1/0 https://ik.imagekit.io/acme/1.jpg a.b[*].src");
  EXPECT_EQ(Json(json, {b, d}).substr(0, 7), "7 1/0/0");
  EXPECT_EQ(Json(json, {{}}).substr(0, 7), "7 1/0/0");
}

TEST(ColumnSearch, KeysAreNeverSeen) {
  EXPECT_EQ(Json(R"({"m": {"https://ik.imagekit.io/acme/1.jpg": "alt"}})", {{}}),
            "7 1/1/1 https://ik.imagekit.io/acme/1.jpg m.\"https://ik.imagekit.io/acme/1.jpg\" (the key itself)");
}

TEST(ColumnSearch, EscapesOfDocumentsAreUndone) {
  EXPECT_EQ(Json(R"(["https:\/\/ik.imagekit.io\u002facme\/1.jpg"])", {{}}),
            "7 1/0/0 https://ik.imagekit.io/acme/1.jpg [*]");
  EXPECT_EQ(Json(R"("https://ik.imagekit.io/acme/1.jpg")", {{}}), "7 1/0/0 https://ik.imagekit.io/acme/1.jpg");
  // JSON in a string of JSON
  EXPECT_EQ(Json(R"({"t": "{\"u\": \"https:\\/\\/ik.imagekit.io\\/acme\\/1.jpg\"}"})", {{}}).substr(0, 7), "7 1/1/1");
}

TEST(ColumnSearch, WhatIsNoJsonIsLookedAtAsItIs) {
  for (const char* json : {"{\"a\": \"https://ik.imagekit.io/acme/1.jpg", "}https://ik.imagekit.io/acme/1.jpg",
                           "[\"\\u12\", \"https://ik.imagekit.io/acme/1.jpg\"]", "\"\\"})
    EXPECT_EQ(Json(json, {{}}).substr(0, 7), std::string_view(json).size() > 4 ? "7 1/1/1" : "") << json;
}

TEST(JsonStrings, DeepAndOdd) {
  std::string deep(1000000, '[');
  deep += "\"x\"" + std::string(1000000, ']');
  JsonStrings strings(deep);
  EXPECT_TRUE(strings.Next());
  EXPECT_EQ(strings.path().size(), 1000000u);
  EXPECT_FALSE(strings.Next());
  EXPECT_FALSE(strings.failed());
  JsonStrings odd(R"({"k\u00e9\ud83d\ude00": "\ud800\u0000\n\"\\"})");
  EXPECT_TRUE(odd.Next());
  EXPECT_TRUE(odd.is_key());
  EXPECT_EQ(odd.value(), "k\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_TRUE(odd.Next());
  EXPECT_EQ(odd.value(), "??\n\"\\");
}

FileNames Orphans() {
  FileNames files;
  files.Add(kAcme, "/avatars/a b.jpg", "5f7d39aa80d6d9b1ff9ac8aa");
  files.Add(kAcme + 1, "/root.jpg", "");
  files.Add(kAcme, "/what?.jpg", "id");
  files.Sort();
  return files;
}

TEST(FileNames, Find) {
  const FileNames files = Orphans();
  for (const char* named :
       {"/avatars/a b.jpg", "avatars/a b.jpg", "//avatars/a b.jpg", "avatars/a%20b.jpg", " /avatars/a b.jpg\n",
        "/avatars/a b.jpg?tr=w-3", "/avatars/a%20b.jpg#x", "5f7d39aa80d6d9b1ff9ac8aa", "/what?.jpg", "what%3F.jpg"})
    EXPECT_EQ(files.Find(named), kAcme) << named;
  EXPECT_EQ(files.Find("root.jpg"), kAcme + 1);
  for (const char* other :
       {"", " ", "/", "?", "#a", "%", "a b.jpg", "/avatars", "/avatars/", "/Avatars/a b.jpg", "/avatars/a b.jpg/x",
        "x /avatars/a b.jpg", "5f7d39aa80d6d9b1ff9ac8a", "/what", "https://ik.imagekit.io/acme/root.jpg"})
    EXPECT_EQ(files.Find(other), kNoAccount) << other;
  EXPECT_EQ(files.Find(std::string(8192, 'x')), kNoAccount);
  EXPECT_EQ(files.Find(std::string(9000, ' ') + "root.jpg"), kNoAccount);
  EXPECT_EQ(FileNames().Find("root.jpg"), kNoAccount);
}

TEST(ColumnSearch, NamesOfFiles) {
  const FileNames files = Orphans();
  KnownPrefixes known = Known();
  known.files = &files;
  const auto tell = [](const ColumnSearch& search) {
    std::string named = Tell(search);
    for (const ColumnFinding& finding : search.findings()) named += " +" + std::to_string(finding.named);
    return named;
  };
  ColumnSearch text(known);
  text.Watch({});
  for (const char* value : {"avatars/a b.jpg", "x", "avatars/a b.jpg"}) {
    text.LookAtText(value);
    text.LookAtText(value);
    text.EndRow();
  }
  EXPECT_EQ(tell(text), "7 0/0/0 avatars/a b.jpg +2");
  text.LookAtText("https://ik.imagekit.io/acme/a.jpg");
  text.EndRow();
  EXPECT_EQ(tell(text), "7 1/0/0 avatars/a b.jpg +2");
  text.LookAtText("ik.imagekit.io/acme/a.jpg");
  text.EndRow();
  EXPECT_EQ(tell(text), "7 2/1/1 ik.imagekit.io/acme/a.jpg +2");

  ColumnSearch json(known);
  json.LookAtJson(R"({"a": [1, "\/avatars\/a b.jpg"], "root.jpg": 1})");
  json.EndRow();
  EXPECT_EQ(tell(json), "7 0/0/0 /avatars/a b.jpg a[*]; 8 0/0/0 root.jpg \"root.jpg\" (the key itself) +1 +1");
  ColumnSearch printed(known);
  printed.LookAtPrinted("/root.jpg");
  printed.EndRow();
  EXPECT_EQ(tell(printed), "8 0/0/0 /root.jpg +1");
}

}  // namespace
}  // namespace imagekit
