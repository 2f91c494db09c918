// The pack gives back what was put in, whatever it was, and a damaged one is noticed.

#include "outbox/pack.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

namespace imagekit::outbox {
namespace {

using Entry = std::pair<std::string, std::string>;

std::vector<Entry> Unpack(std::string_view pack, bool *damaged) {
  PackReader reader(pack);
  std::vector<Entry> entries;
  std::string_view prefix, suffix, id;
  while (reader.Next(&prefix, &suffix, &id))
    entries.emplace_back(std::string(prefix) + std::string(suffix), std::string(id));
  *damaged = reader.damaged();
  return entries;
}

std::string Pack(const std::vector<Entry> &entries, size_t capacity) {
  std::string buffer(capacity, '?');
  PackWriter writer;
  writer.Start(buffer.data(), buffer.size());
  for (const auto &[url, id] : entries) EXPECT_TRUE(writer.Add(url, id));
  buffer.resize(writer.size());
  return buffer;
}

TEST(Pack, GivesBackWhatWasPutIn) {
  std::vector<Entry> entries = {
      {"https://ik.imagekit.io/acme/pets/a.jpg", ""},
      {"https://ik.imagekit.io/acme/pets/b.jpg", "67c6d1a4432c47641600aa01"},
      {"https://ik.imagekit.io/acme/pets/b.jpg", ""},
      {"", ""},
      {"x", "y"},
      {"https://ik.imagekit.io/acme/" + std::string(1000, 'l'), ""},
      {"https://ik.imagekit.io/acme/" + std::string(1001, 'l'), ""},
  };
  bool damaged;
  EXPECT_EQ(Unpack(Pack(entries, 8000), &damaged), entries);
  EXPECT_FALSE(damaged);
}

// Capture passes the absent fileId as a view of nothing; only the sanitizers see what is wrong with copying it.
TEST(Pack, TakesAViewOfNothing) {
  char buffer[32];
  PackWriter writer;
  writer.Start(buffer, sizeof buffer);
  EXPECT_TRUE(writer.Add("a", std::string_view()));
  bool damaged;
  EXPECT_EQ(Unpack(std::string_view(writer.data(), writer.size()), &damaged), (std::vector<Entry>{{"a", ""}}));
  EXPECT_FALSE(damaged);
}

TEST(Pack, SharesPrefixes) {
  std::vector<Entry> entries;
  for (int i = 10; i < 90; i++)
    entries.emplace_back("https://ik.imagekit.io/acme/a/long/folder/name/that/all/share/" + std::to_string(i), "");
  EXPECT_LT(Pack(entries, 8000).size(), 80 + 80 * 5u);
}

TEST(Pack, RefusesWhatDoesNotFitAndStaysWhole) {
  char buffer[32];
  PackWriter writer;
  writer.Start(buffer, sizeof buffer);
  EXPECT_TRUE(writer.Add("0123456789", ""));
  EXPECT_FALSE(writer.Add(std::string(40, 'x'), ""));
  EXPECT_TRUE(writer.Add("0123456789ab", ""));
  bool damaged;
  EXPECT_EQ(Unpack({buffer, writer.size()}, &damaged), (std::vector<Entry>{{"0123456789", ""}, {"0123456789ab", ""}}));
  EXPECT_FALSE(damaged);
  EXPECT_EQ(writer.count(), 2u);
}

TEST(Pack, AnEntryNeedsNoMoreThanItsOverhead) {
  std::string url(300, 'u'), id(40, 'i');
  std::string buffer(1 + url.size() + id.size() + kEntryOverhead, '?');
  PackWriter writer;
  writer.Start(buffer.data(), buffer.size());
  EXPECT_TRUE(writer.Add(url, id));
}

TEST(Pack, EveryTruncationIsNoticedOrShorter) {
  std::string pack = Pack({{"https://a/b", "id"}, {"https://a/bcd", ""}, {"https://a/x", "zz"}}, 200);
  for (size_t length = 0; length < pack.size(); length++) {
    bool damaged;
    auto entries = Unpack(std::string_view(pack).substr(0, length), &damaged);
    EXPECT_LT(entries.size(), 3u) << length;
    EXPECT_TRUE(damaged || entries.size() < 3u) << length;
  }
}

TEST(Pack, RandomBytesNeverReadOutside) {
  std::mt19937 random(7);
  for (int round = 0; round < 20000; round++) {
    std::string bytes(random() % 64, '\0');
    for (char &byte : bytes) byte = static_cast<char>(random());
    if (!bytes.empty() && round % 2 == 0) bytes[0] = kPackVersion;
    bool damaged;
    (void)Unpack(bytes, &damaged);
  }
}

TEST(Pack, RandomEntriesSurvive) {
  std::mt19937 random(11);
  for (int round = 0; round < 500; round++) {
    std::vector<Entry> entries;
    for (int i = 0; i < 20; i++) {
      std::string url(random() % 4 * 200, 'p');
      for (int j = 0; j < 10; j++) url += static_cast<char>(random());
      entries.emplace_back(url, std::string(random() % 3, 'f'));
    }
    bool damaged;
    EXPECT_EQ(Unpack(Pack(entries, 40000), &damaged), entries);
    EXPECT_FALSE(damaged);
  }
}

}  // namespace
}  // namespace imagekit::outbox
