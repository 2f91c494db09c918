// Proves that many paths in one list are judged as each alone would be, and that a list that contradicts itself, moves or
// never ends settles nothing that it does not prove.

#include "core/path_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "api_test_support.h"
#include "core/api_lookups.h"

namespace imagekit {
namespace {

using test::FileJson;

ReplyBody List(const std::vector<std::string>& entries) {
  std::string body = "[";
  for (const std::string& entry : entries) body += (body.size() > 1 ? "," : "") + entry;
  return ReadBody(body + "]", "application/json");
}

std::string Id(size_t number) { return "id" + std::to_string(number); }

struct Group {
  explicit Group(const std::vector<LibraryPath>& paths, bool by_name = true) : search(by_name) {
    for (const LibraryPath& path : paths) search.Add(path);
  }
  Verdict verdict(size_t i) const { return search.targets()[i].verdict; }
  bool settled(size_t i) const { return search.targets()[i].settled; }
  PathSearch search;
};

TEST(PathSearchOfMany, SettlesWhatAPageShowsAndLeavesTheRestOpen) {
  Group group({{"/a", "x"}, {"/b", "x"}, {"/a", "y"}});
  EXPECT_FALSE(group.search.ReadPage(List({FileJson("1", "/b", "x"), FileJson("2", "/c", "y")})));
  EXPECT_FALSE(group.settled(0));
  EXPECT_TRUE(group.settled(1));
  EXPECT_EQ(group.search.targets()[1].file.file_id, "1");
  EXPECT_FALSE(group.settled(2));
  EXPECT_FALSE(group.search.ReadPage(List({FileJson("2", "/c", "y")})));
  group.search.Conclude();
  EXPECT_EQ(group.verdict(0), Verdict::kElsewhere) << "its name lies where another one was looked for";
  EXPECT_EQ(group.search.targets()[0].words, "a file of this name lies at /b/x");
  EXPECT_EQ(group.verdict(1), Verdict::kFound);
  EXPECT_EQ(group.verdict(2), Verdict::kElsewhere);
}

TEST(PathSearchOfMany, EqualPathsShareATarget) {
  PathSearch search(true);
  EXPECT_EQ(search.Add({"/a", "x"}), 0u);
  EXPECT_EQ(search.Add({"/a", "y"}), 1u);
  EXPECT_EQ(search.Add({"/a", "x"}), 0u);
  EXPECT_EQ(search.targets().size(), 2u);
}

TEST(PathSearchOfMany, AContradictionIsThatOfItsPathAlone) {
  Group group({{"/a", "1"}, {"/a", "2"}, {"/a", "3"}, {"/a", "4"}, {"/a", "5"}});
  std::string renamed = FileJson("r", "/a", "2");
  renamed.replace(renamed.find("\"name\":\"2\""), 10, "\"name\":\"5\"");
  EXPECT_TRUE(group.search.ReadPage(
      List({FileJson("a", "/a", "1"), FileJson("b", "/a", "1"), renamed, FileJson("x/y", "/a", "3"),
            FileJson("c", "/a", "4"), FileJson("c", "/z", "4"), FileJson("d", "/a", "5")})));
  EXPECT_EQ(group.verdict(0), Verdict::kAmbiguous) << "two files";
  EXPECT_EQ(group.verdict(1), Verdict::kAmbiguous) << "another name";
  EXPECT_EQ(group.verdict(2), Verdict::kAmbiguous) << "no fileId";
  EXPECT_EQ(group.verdict(3), Verdict::kAmbiguous) << "one fileId for two paths";
  EXPECT_EQ(group.verdict(4), Verdict::kFound);
  EXPECT_EQ(group.search.targets()[4].file.file_id, "d");
}

TEST(PathSearchOfMany, NamesThatNobodyAskedForMakeSilenceWorthless) {
  Group group({{"/a", "1"}, {"/a", "2"}, {"/a", "3"}});
  group.search.ReadPage(List({FileJson("a", "/a", "1"), FileJson("b", "/a", "other"), FileJson("c", "/b", "3")}));
  group.search.Conclude();
  EXPECT_EQ(group.verdict(0), Verdict::kFound) << "what is listed is there";
  EXPECT_EQ(group.verdict(1), Verdict::kAmbiguous);
  EXPECT_EQ(group.verdict(2), Verdict::kAmbiguous);
  Group listing({{"/a", "1"}, {"/a", "2"}}, false);
  listing.search.ReadPage(List({FileJson("a", "/a", "1"), FileJson("b", "/a", "other")}));
  listing.search.Conclude();
  EXPECT_EQ(listing.verdict(1), Verdict::kNotFound) << "a folder holds all kinds of names";
}

TEST(PathSearchOfMany, AMisshapenEntryAndAMovedListSettleAllThatIsOpen) {
  Group group({{"/a", "1"}, {"/a", "2"}, {"/a", "3"}});
  EXPECT_FALSE(group.search.ReadPage(List({FileJson("a", "/a", "1")})));
  EXPECT_TRUE(group.search.ReadPage(List({FileJson("b", "/a", "2")})));
  EXPECT_EQ(group.verdict(0), Verdict::kFound);
  EXPECT_EQ(group.verdict(1), Verdict::kTransient) << "the page did not begin with the last entry of the one before";
  EXPECT_EQ(group.verdict(2), Verdict::kTransient);
  Group misshapen({{"/a", "1"}, {"/a", "2"}});
  EXPECT_TRUE(misshapen.search.ReadPage(List({FileJson("a", "/a", "1"), "7"})));
  EXPECT_EQ(misshapen.verdict(0), Verdict::kBroken);
  EXPECT_EQ(misshapen.verdict(1), Verdict::kBroken);
}

TEST(PathSearchOfMany, CommonNamesAreThoseThatFillThePages) {
  Group group({{"/a", "rare"}, {"/a", "common"}, {"/a", "absent"}});
  std::vector<std::string> entries = {FileJson("r", "/z", "rare")};
  for (size_t i = 0; i < 50; ++i) entries.push_back(FileJson(Id(i), "/f" + Id(i), "common"));
  group.search.ReadPage(List(entries));
  EXPECT_EQ(group.search.CommonNames(), std::vector<std::string>{"common"});
}

TEST(IdPage, ProvesOnlyTheOneFileAtThePath) {
  const ReplyBody body = List({FileJson("a", "/p", "1"), FileJson("b", "/p", "2"), FileJson("b", "/q", "2"),
                               FileJson("c", "/p", "3"), FileJson("d", "/p", "3"), FileJson("e", "/p", "4"),
                               R"({"type":"file-version","fileId":"f","name":"5","filePath":"/p/5"})",
                               R"({"type":"file","fileId":"g","name":"other","filePath":"/p/6"})"});
  const IdPage page(body);
  ASSERT_NE(page.FileAt("a", {"/p", "1"}), nullptr);
  EXPECT_EQ(page.FileAt("a", {"/p", "1"})->file_id, "a");
  EXPECT_EQ(page.FileAt("a", {"/q", "1"}), nullptr) << "elsewhere";
  EXPECT_EQ(page.FileAt("a", {"/p", "2"}), nullptr);
  for (const char* folder : {"/p", "/q"}) EXPECT_EQ(page.FileAt("b", {folder, "2"}), nullptr) << "listed twice";
  EXPECT_EQ(page.FileAt("c", {"/p", "3"}), nullptr) << "not the only one there";
  EXPECT_NE(page.FileAt("e", {"/p", "4"}), nullptr);
  EXPECT_EQ(page.FileAt("f", {"/p", "5"}), nullptr) << "an old version";
  EXPECT_EQ(page.FileAt("g", {"/p", "6"}), nullptr) << "another name";
  EXPECT_EQ(page.FileAt("z", {"/p", "1"}), nullptr) << "not listed";
}

/// Look-ups without a network: the test gives the answers.
class LookUpBook : public testing::Test {
 protected:
  void Add(uint64_t ticket, const std::string& folder, const std::string& name, const std::string& id = "",
           int most_together = ApiClient::kAnyNumber) {
    EXPECT_EQ(book.Add({ticket, {folder, name}, id, most_together, 0}), "");
  }
  Search Next() {
    if (!book.Waiting()) throw std::runtime_error("nothing is to be asked");
    return book.TakeNext();
  }
  /// Answers a search with `body`; returns what that settles.
  std::vector<LookUpAnswer> Give(Search search, ReplyBody body, Verdict verdict = Verdict::kFound) {
    std::vector<LookUpAnswer> answers;
    book.TakeAnswer(std::move(search), verdict, std::move(body), "words", &answers);
    std::sort(answers.begin(), answers.end(), [](const auto& a, const auto& b) { return a.ticket < b.ticket; });
    return answers;
  }
  /// `count` files named `name`, each in a folder of its own, from number `first` on.
  static std::vector<std::string> Many(const std::string& name, size_t first, size_t count) {
    std::vector<std::string> entries;
    for (size_t i = first; i < first + count; ++i) entries.push_back(FileJson(Id(i), "/f" + std::to_string(i), name));
    return entries;
  }
  /// Puts a search on page after page that is full of `name`, until nothing is asked for any more or `most` were given.
  std::vector<LookUpAnswer> GiveFullPages(const std::string& name, int most, Search* last = nullptr) {
    std::vector<LookUpAnswer> answers;
    for (int page = 0; page < most && book.Waiting(); ++page) {
      Search search = Next();
      if (last != nullptr) *last = search;
      const size_t limit = search.limit;
      const size_t first = static_cast<size_t>(page) * (limit - 1);
      for (LookUpAnswer& answer : Give(std::move(search), List(Many(name, first, limit)))) answers.push_back(answer);
    }
    return answers;
  }

  LookUps book{0, 25};
};

TEST_F(LookUpBook, WhoMayHaveLittleCompanyTakesNoMoreAlong) {
  Add(1, "/a", "x");
  Add(2, "/b", "y");
  Add(3, "/c", "z", "", 2);
  Add(4, "/d", "u");
  Add(5, "/e", "v");
  Add(6, "/f", "w", "67c6d1a4432c47641600aa01", 1);
  Add(7, "/g", "t", "67c6d1a4432c47641600aa02");
  std::vector<size_t> sizes;
  while (book.Waiting()) sizes.push_back(book.TakeNext().files.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 2, 1, 2, 1})) << "by id one and one, by name two, two and one";
}

TEST_F(LookUpBook, LaterPagesComeFirstAndSkipAllButTheLastEntry) {
  Add(1, "/f150", "x");
  Add(2, "/f250", "x");
  Add(3, "/nowhere", "x");
  Search search = Next();
  EXPECT_EQ(search.request, Request::kLibrarySearch);
  EXPECT_EQ(search.limit, 200u);
  const std::string first = search.Target();
  Add(4, "/else", "y");
  const auto found = Give(std::move(search), List(Many("x", 0, 200)));
  ASSERT_EQ(found.size(), 1u) << "what is found is answered at once";
  EXPECT_EQ(found[0].ticket, 1u);
  search = Next();
  EXPECT_EQ(search.Target(), first + "&skip=199");
  EXPECT_EQ(search.files.size(), 2u);
  const auto rest = Give(std::move(search), List(Many("x", 199, 100)));
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[0].file.file_id, "id250");
  EXPECT_EQ(rest[1].verdict, Verdict::kElsewhere);
}

TEST_F(LookUpBook, AfterFivePagesOfTheLibraryFoldersAreAskedAndTheNameIsRemembered) {
  Add(1, "/far", "x");
  Add(2, "/far", "y");
  Add(3, "/further", "x");
  Search last;
  EXPECT_TRUE(GiveFullPages("x", 5, &last).empty()) << "nothing is settled by giving up";
  EXPECT_EQ(last.request, Request::kLibrarySearch);
  Search folder = Next();
  EXPECT_EQ(folder.request, Request::kFolderSearch);
  EXPECT_EQ(folder.files.size(), 2u) << "the names of one folder share a search again";
  EXPECT_EQ(Give(std::move(folder), List({FileJson("a", "/far", "x")})).size(), 2u);
  EXPECT_EQ(Next().request, Request::kFolderSearch);
  // Later: the common one by folder, the other in the library as before.
  Add(5, "/q", "y");
  Add(6, "/r", "x");
  Add(7, "/s", "y");
  Search one = Next();
  Search two = Next();
  if (one.request != Request::kFolderSearch) std::swap(one, two);
  ASSERT_EQ(one.files.size(), 1u);
  EXPECT_EQ(one.files[0].ticket, 6u);
  EXPECT_EQ(two.request, Request::kLibrarySearch);
  EXPECT_FALSE(book.Waiting());
}

TEST_F(LookUpBook, AFolderThatNeverEndsIsGivenUp) {
  Add(1, "/pets", "x");
  Add(2, "/pets", "y");
  Search last;
  const auto answers = GiveFullPages("x", 100, &last);
  EXPECT_EQ(last.paths.pages(), 19);
  EXPECT_EQ(last.request, Request::kFolderSearch);
  ASSERT_EQ(answers.size(), 2u);
  for (const LookUpAnswer& answer : answers) {
    EXPECT_EQ(answer.verdict, Verdict::kAmbiguous);
    EXPECT_NE(answer.words.find("there are more"), std::string::npos);
  }
  EXPECT_FALSE(book.Waiting());
}

TEST_F(LookUpBook, WhoeverWentAlongWithAListingIsSearchedForWhenItIsGivenUpOrRefused) {
  for (const bool refused : {false, true}) {
    Add(1, "/pets", "a\"b");
    Add(2, "/pets", "cat.jpg");
    Search listing;
    std::vector<LookUpAnswer> answers;
    if (refused) {
      listing = Next();
      ASSERT_TRUE(listing.listing);
      EXPECT_EQ(listing.files.size(), 2u);
      answers = Give(std::move(listing), ReplyBody(), Verdict::kRejected);
    } else {
      answers = GiveFullPages("x", 20, &listing);
      ASSERT_TRUE(listing.listing);
    }
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].ticket, 1u);
    EXPECT_EQ(answers[0].verdict, refused ? Verdict::kRejected : Verdict::kAmbiguous);
    Search search = Next();
    EXPECT_FALSE(search.listing);
    EXPECT_EQ(Give(std::move(search), List({FileJson("a", "/pets", "cat.jpg")}))[0].verdict, Verdict::kFound);
  }
}

TEST(FolderQueue, TakesWhatFitsAndPutsTheRestBehindTheOtherFolders) {
  FolderQueue queue;
  for (uint64_t ticket = 0; ticket < 5; ++ticket) queue.Push({ticket, {"/a", "x"}, "", 0});
  queue.Push({5, {"/b", "x"}, "", 0});
  const auto take = [&](size_t most) {
    size_t taken = 0;
    std::string tickets;
    for (const LookUp& file : queue.Take([&](const LookUp&) { return taken++ < most; })) {
      tickets += std::to_string(file.ticket);
    }
    return tickets;
  };
  EXPECT_EQ(take(2), "01");
  EXPECT_EQ(queue.first_folder(), "/b");
  EXPECT_EQ(take(2), "5");
  EXPECT_EQ(take(0), "2") << "one at least, or it would never end";
  EXPECT_EQ(queue.TakeAll("/a").size(), 2u);
  EXPECT_TRUE(queue.TakeAll("/a").empty());
  EXPECT_TRUE(queue.empty());
}

TEST_F(LookUpBook, AListingServesCommonNamesToo) {
  Add(1, "/far", "x");
  Add(2, "/further", "x");
  GiveFullPages("x", 5);
  while (book.Waiting()) Next();
  // Whose turn it is depends on what was asked before; of two rounds the listing is first in one.
  size_t together = 0;
  for (int round = 0; round < 2; ++round) {
    Add(3, "/pets", "x");
    Add(4, "/pets", "a\"b");
    while (book.Waiting()) {
      const Search search = Next();
      if (search.listing) together = std::max(together, search.files.size());
    }
  }
  EXPECT_EQ(together, 2u);
}

TEST_F(LookUpBook, AServiceThatDoesNotUnderstandIdsIsNotAskedForThemAgain) {
  Add(1, "/a", "x", "id1");
  Add(2, "/b", "y", "id2");
  Search search = Next();
  ASSERT_EQ(search.request, Request::kIdSearch);
  const auto found = Give(std::move(search), List({FileJson("id1", "/a", "x"), FileJson("id9", "/z", "z")}));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].ticket, 1u) << "what it lists is true all the same";
  EXPECT_EQ(Next().request, Request::kFolderSearch);
  Add(3, "/a", "x", "id1");
  EXPECT_EQ(Next().request, Request::kFolderSearch);
}

// Whatever a 404 means here, the path is still to be looked for.
TEST_F(LookUpBook, ARefusedSearchForIdsSettlesNothing) {
  const Verdict verdict = JudgeAnswer(Request::kIdSearch, 404, BodyKind::kMessage);
  EXPECT_EQ(verdict, Verdict::kRejected);
  Add(1, "/a", "x", "id1");
  Add(2, "/b", "y", "id2");
  Search ids = Next();
  Add(3, "/c", "z", "id3");
  EXPECT_TRUE(Give(std::move(ids), ReplyBody(), verdict).empty());
  const Search search = Next();
  EXPECT_EQ(search.request, Request::kLibrarySearch);
  EXPECT_EQ(search.files.size(), 3u) << "those that wait with an id go along";
}

TEST_F(LookUpBook, AMisshapenListOfIdsIsBroken) {
  Add(1, "/a", "x", "id1");
  Add(2, "/b", "y", "id2");
  const auto answers = Give(Next(), List({FileJson("id1", "/a", "x"), R"({"type":"file"})"}));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].verdict, Verdict::kBroken);
  EXPECT_FALSE(book.Waiting());
}

// A stream of one kind must not hold up the others.
TEST_F(LookUpBook, TheFourWaysTakeTurns) {
  for (uint64_t i = 0; i < 1000; ++i) Add(i, "/i" + std::to_string(i), std::to_string(i), Id(i));
  Add(2000, "/l", "a\"b");
  Add(2001, "/n", "n");
  size_t turns = 0;
  for (bool listing = false, name = false; !(listing && name); ++turns) {
    const Search search = Next();
    listing |= search.listing;
    name |= !search.listing && search.request == Request::kFolderSearch;
  }
  EXPECT_LE(turns, 4u);
}

TEST_F(LookUpBook, ClearForgetsEverything) {
  Add(1, "/a", "x", "id1");
  Add(2, "/a", "x");
  Add(3, "/a", "a\"b");
  Add(4, "/b", "x");
  Give(Next(), ReplyBody(), Verdict::kRejected);
  book.Clear();
  EXPECT_FALSE(book.Waiting());
}

}  // namespace
}  // namespace imagekit
