// Proves that a library is read as a whole though it changes meanwhile, and that what cannot be read is not called read.
//
// The library is one of memory: it answers what Listing asks for, as section 2 of the contract says, and does what the service
// might do between two pages.

#include "core/listing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/url_parts.h"

namespace imagekit {
namespace {

constexpr int64_t kStart = 1700000000;

struct Stored {
  std::string id;
  int64_t created_ms;
  std::string path;
};

/// Seconds since 1970 of "2023-11-14T22:13:20".
int64_t ReadTime(const std::string& text) {
  tm parts = {};
  EXPECT_NE(strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts), nullptr) << text;
  return timegm(&parts);
}

std::string Between(const std::string& text, const std::string& before, const std::string& after) {
  const size_t at = text.find(before);
  if (at == std::string::npos) return "";
  const size_t from = at + before.size();
  return text.substr(from, text.find(after, from) - from);
}

class Library {
 public:
  std::vector<Stored> files;
  size_t most = 1000;  // entries in a page, whatever is asked for
  bool stable = true;  // files of one moment come in the same order each time
  std::mt19937_64 random{1};

  void Add(const std::string& id, int64_t created_ms) { files.push_back({id, created_ms, "/" + id}); }

  ReplyBody Answer(const std::string& target) {
    const std::string query = PercentDecode(Between(target + "&", "searchQuery=", "&"));
    EXPECT_EQ(query.substr(0, 13), "type = \"file\"") << target;
    EXPECT_EQ(Between(target + "&", "&sort=", "&"), "ASC_CREATED");
    const std::string from = Between(query, "createdAt >= \"", "\"");
    const std::string before = Between(query, "createdAt < \"", "\"");
    const std::string skip = Between(target + "&", "&skip=", "&");
    const size_t limit = std::min(most, static_cast<size_t>(std::stoul(Between(target + "&", "&limit=", "&"))));
    if (!stable) std::shuffle(files.begin(), files.end(), random);
    std::stable_sort(files.begin(), files.end(),
                     [](const Stored& a, const Stored& b) { return a.created_ms < b.created_ms; });
    ReplyBody body;
    body.kind = BodyKind::kArray;
    body.well_shaped = true;
    size_t left_out = skip.empty() ? 0 : std::stoul(skip);
    for (const Stored& file : files) {
      if (!from.empty() && file.created_ms < ReadTime(from) * 1000) continue;
      if (!before.empty() && file.created_ms >= ReadTime(before) * 1000) continue;
      if (left_out > 0) {
        --left_out;
        continue;
      }
      if (body.files.size() == limit) break;
      FoundFile found;
      found.file_id = file.id;
      found.file_path = file.path;
      found.created_ms = file.created_ms;
      body.files.push_back(found);
    }
    body.entries = body.files.size();
    return body;
  }

 private:
  static std::string PercentDecode(const std::string& text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '%') {
        out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        out += text[i];
      }
    }
    return out;
  }
};

struct Result {
  bool complete = false;
  int pages = 0;
  std::string words;
  std::set<std::string> ids;
};

/// Reads to the end; `between` changes the library after each page, and may put the reading aside as a crash would.
Result ReadAll(Library* library, Listing listing, const std::function<void(int page, Listing*)>& between = nullptr) {
  Result result;
  for (;;) {
    if (++result.pages > 5000) {
      ADD_FAILURE() << "it does not end";
      return result;
    }
    const ReplyBody page = library->Answer(listing.Target());
    const Listing::Step step = listing.Take(page, &result.words);
    if (step == Listing::Step::kLost) return result;
    if (step != Listing::Step::kAgain)
      for (const FoundFile& file : page.files) result.ids.insert(file.file_id);
    result.complete = step == Listing::Step::kEnd;
    if (result.complete) return result;
    if (between != nullptr) between(result.pages, &listing);
  }
}

Listing FromTheBeginning(int64_t until_s = Listing::kBeginning) { return Listing(Listing::Place(), until_s); }

std::string Id(size_t i) { return "id" + std::to_string(i); }

TEST(Listing, ReadsAnEmptyLibrary) {
  Library library;
  const Result result = ReadAll(&library, FromTheBeginning());
  EXPECT_TRUE(result.complete);
  EXPECT_TRUE(result.ids.empty());
  EXPECT_EQ(result.pages, 1);
}

TEST(Listing, ReadsPageByPage) {
  for (const size_t count : {1u, 24u, 999u, 1000u, 1001u, 2500u, 10000u}) {
    Library library;
    for (size_t i = 0; i < count; ++i) library.Add(Id(i), (kStart + static_cast<int64_t>(i)) * 1000 + 7);
    const Result result = ReadAll(&library, FromTheBeginning());
    EXPECT_TRUE(result.complete) << result.words;
    EXPECT_EQ(result.ids.size(), count);
    EXPECT_LE(result.pages, static_cast<int>(count / 985) + 5) << count;
  }
}

TEST(Listing, AsksForASecondInWhichMoreWereCreatedByOffsets) {
  for (const size_t count : {999u, 1000u, 1001u, 3000u, 4321u}) {
    Library library;
    for (size_t i = 0; i < 20; ++i) library.Add("before" + Id(i), (kStart - 5) * 1000);
    for (size_t i = 0; i < count; ++i) library.Add(Id(i), kStart * 1000 + static_cast<int64_t>(i % 3));
    for (size_t i = 0; i < 20; ++i) library.Add("after" + Id(i), (kStart + 1) * 1000);
    const Result result = ReadAll(&library, FromTheBeginning());
    EXPECT_TRUE(result.complete) << result.words;
    EXPECT_EQ(result.ids.size(), count + 40);
  }
}

TEST(Listing, AServiceThatGivesLessThanAskedForIsReadToItsEnd) {
  Library library;
  library.most = 100;
  for (size_t i = 0; i < 3000; ++i) library.Add(Id(i), (kStart + static_cast<int64_t>(i / 7)) * 1000);
  const Result result = ReadAll(&library, FromTheBeginning());
  EXPECT_TRUE(result.complete) << result.words;
  EXPECT_EQ(result.ids.size(), 3000u);
}

TEST(Listing, EndsAtTheTimeThatIsAskedFor) {
  Library library;
  int64_t next = 0;
  for (; next < 3000; ++next) library.Add(Id(static_cast<size_t>(next)), (kStart + next) * 1000);
  // Uploads go on and on.
  const Result result = ReadAll(&library, FromTheBeginning(kStart + 3000), [&](int, Listing*) {
    for (const int64_t end = next + 500; next < end; ++next)
      library.Add(Id(static_cast<size_t>(next)), (kStart + next) * 1000);
  });
  EXPECT_TRUE(result.complete) << result.words;
  EXPECT_LT(result.pages, 12);
  for (size_t i = 0; i < 3000; ++i) EXPECT_EQ(result.ids.count(Id(i)), 1u) << i;
}

TEST(Listing, FilesOfOneMomentInChangingOrderAreNotCalledRead) {
  Library library;
  library.stable = false;
  for (size_t i = 0; i < 5000; ++i) library.Add(Id(i), kStart * 1000);
  const Result result = ReadAll(&library, FromTheBeginning());
  EXPECT_TRUE(!result.complete || result.ids.size() == 5000) << result.ids.size();
  EXPECT_EQ(result.words, "files of one second come in another order each time");
}

TEST(Listing, AFileThatIsShownWhereItWasAndWhereItIsKeepsNothingBack) {
  Library library;
  for (size_t i = 0; i < 2500; ++i) library.Add(Id(i), kStart * 1000);
  for (const size_t moved : {7u, 1200u, 2499u})
    library.files.push_back({Id(moved), kStart * 1000, "/was/" + Id(moved)});
  const Result result = ReadAll(&library, FromTheBeginning());
  EXPECT_TRUE(result.complete) << result.words;
  EXPECT_EQ(result.ids.size(), 2500u);
}

TEST(Listing, WhatIsNotAsAskedForIsNotCalledRead) {
  const auto page = [](std::vector<int64_t> created) {
    ReplyBody body;
    body.kind = BodyKind::kArray;
    body.well_shaped = true;
    for (const int64_t ms : created) {
      FoundFile file;
      file.file_id = Id(body.files.size());
      file.created_ms = ms;
      body.files.push_back(file);
    }
    body.entries = body.files.size();
    return body;
  };
  std::string words;
  EXPECT_EQ(FromTheBeginning().Take(page({2000, 1000}), &words), Listing::Step::kLost);
  EXPECT_EQ(words, "its files are not in the order of their creation");
  EXPECT_EQ(FromTheBeginning().Take(page({-1}), &words), Listing::Step::kLost);
  EXPECT_EQ(words, "a file has no createdAt that can be read");
  EXPECT_EQ(Listing({kStart, {}}, -1).Take(page({kStart * 1000 - 1}), &words), Listing::Step::kLost);
  EXPECT_EQ(words, "it lists files that were created before the time asked for");
  ReplyBody mixed = page({1000});
  mixed.entries = 2;
  EXPECT_EQ(FromTheBeginning().Take(mixed, &words), Listing::Step::kLost);
  EXPECT_EQ(words, "the list holds more than files, which alone were asked for");
  mixed.well_shaped = false;
  EXPECT_EQ(FromTheBeginning().Take(mixed, &words), Listing::Step::kLost);
}

TEST(Listing, APageThatDoesNotJoinIsAskedForAgain) {
  Library library;
  for (size_t i = 0; i < 3000; ++i) library.Add(Id(i), (kStart + static_cast<int64_t>(i)) * 1000);
  Listing listing = FromTheBeginning();
  std::string words;
  ASSERT_EQ(listing.Take(library.Answer(listing.Target()), &words), Listing::Step::kGoOn);
  const std::string target = listing.Target();
  // A service that has lost its memory of a while.
  Library other;
  for (size_t i = 1500; i < 2600; ++i) other.Add(Id(i), (kStart + static_cast<int64_t>(i)) * 1000);
  ASSERT_EQ(listing.Take(other.Answer(target), &words), Listing::Step::kAgain);
  EXPECT_EQ(words, "a page does not show any of the files that the one before it ended with");
  const Result result = ReadAll(&library, listing);
  EXPECT_TRUE(result.complete);
}

TEST(Listing, OneThatNeverJoinsIsNotCalledRead) {
  Listing listing({kStart, {"gone"}}, -1);
  Library library;
  for (size_t i = 0; i < 2000; ++i) library.Add(Id(i), (kStart + static_cast<int64_t>(i)) * 1000);
  std::string words;
  // From the beginning there is nothing to join: everything is read then.
  const Result result = ReadAll(&library, listing);
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.ids.size(), 2000u);
}

TEST(Listing, ALibraryThatWasThereAndIsListedAsEmptyIsNotCalledRead) {
  Library library, none;
  for (size_t i = 0; i < 3000; ++i) library.Add(Id(i), (kStart + static_cast<int64_t>(i)) * 1000);
  Listing listing = FromTheBeginning();
  std::string words;
  ASSERT_EQ(listing.Take(library.Answer(listing.Target()), &words), Listing::Step::kGoOn);
  const Result result = ReadAll(&none, listing);
  EXPECT_FALSE(result.complete);
  EXPECT_EQ(result.words, "it was there, and is listed as empty now");
}

TEST(Listing, AsksForLessWhenToldTo) {
  Library library;
  for (size_t i = 0; i < 3000; ++i) library.Add(Id(i), (kStart + static_cast<int64_t>(i / 40)) * 1000);
  Listing listing = FromTheBeginning();
  int halvings = 0;
  while (listing.AskForLess()) ++halvings;
  EXPECT_EQ(halvings, 6);
  EXPECT_NE(listing.Target().find("&limit=25"), std::string::npos);
  const Result result = ReadAll(&library, listing);
  EXPECT_TRUE(result.complete) << result.words;
  EXPECT_EQ(result.ids.size(), 3000u);
}

TEST(Listing, AsksForMoreAgainOnceItGoesWell) {
  Library library;
  for (size_t i = 0; i < 60000; ++i) library.Add(Id(i), (kStart + static_cast<int64_t>(i)) * 1000);
  Listing listing = FromTheBeginning();
  while (listing.AskForLess()) {
  }
  int pages = 0;
  std::string last;
  const Result result = ReadAll(&library, listing, [&](int page, Listing* now) {
    pages = page;
    last = now->Target();
  });
  EXPECT_TRUE(result.complete) << result.words;
  EXPECT_EQ(result.ids.size(), 60000u);
  EXPECT_NE(last.find("&limit=1000"), std::string::npos) << last;
  EXPECT_LT(pages, 130) << "sixty pages of a thousand, and ten of each size below";
}

// Files are removed and added while it is read, processes die, and what was there all the time must have been seen.
TEST(Listing, MissesNothingThatWasThereAllTheTime) {
  const char* rounds = std::getenv("IMAGEKIT_LISTING_ROUNDS");
  const int most = rounds == nullptr ? 200 : std::atoi(rounds);
  int complete = 0;
  for (int round = 0; round < most; ++round) {
    std::mt19937_64 random(static_cast<uint64_t>(round));
    const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
    Library library;
    library.most = round % 3 == 0 ? 1000 : static_cast<size_t>(40 + below(200));
    const int64_t span = 1 + below(round % 2 == 0 ? 30 : 4000);
    const int64_t count = below(4000);
    for (int64_t i = 0; i < count; ++i)
      library.Add(Id(static_cast<size_t>(i)), (kStart + below(span)) * 1000 + below(1000));
    std::set<std::string> there;
    for (const Stored& file : library.files) there.insert(file.id);
    int64_t next = count;
    const int64_t removed_each = below(3) == 0 ? below(200) : below(5);
    const Result result = ReadAll(&library, FromTheBeginning(), [&](int page, Listing* listing) {
      if (page < 60) {
        for (int64_t i = 0; i < removed_each && !library.files.empty(); ++i) {
          const auto gone = library.files.begin() + below(static_cast<int64_t>(library.files.size()));
          there.erase(gone->id);
          library.files.erase(gone);
        }
        library.Add(Id(static_cast<size_t>(next++)), (kStart + span + page) * 1000);
      }
      // A crowded second is read in one go. Broken off every few pages for ever, it would never be read.
      if (page > 1000) return;
      if (below(10) == 0) *listing = Listing(listing->place(), Listing::kBeginning);
      if (below(20) == 0) static_cast<void>(listing->AskForLess());
    });
    if (!result.complete) continue;  // said so
    ++complete;
    for (const std::string& id : there) ASSERT_EQ(result.ids.count(id), 1u) << "round " << round << ", " << id;
  }
  EXPECT_GT(complete, most * 2 / 3);
}

}  // namespace
}  // namespace imagekit
