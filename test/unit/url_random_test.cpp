// Proves the promises that hold for any bytes: nothing crashes, Owns agrees with Read, equal files have equal keys, the
// scanner's views lie in order inside the text, and a megabyte takes no longer than a megabyte should.

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/url.h"
#include "url_test_support.h"

namespace imagekit {
namespace {

constexpr int kRounds = 60000;

/// Readings of the same URL are compared across several configurations, because the key knows none.
std::vector<EndpointMap> Configurations() {
  std::vector<EndpointMap> configurations = {AcmeEndpoints()};
  configurations.emplace_back().Add(1, "https://img.acme.example");
  configurations.emplace_back().Add(1, "https://ik.imagekit.io/acme/shop");
  configurations.emplace_back().Add(1, "https://ik.imagekit.io/acme/pets");
  EndpointMap two_accounts;
  two_accounts.Add(1, "https://ik.imagekit.io/acme");
  two_accounts.Add(2, "https://ik.imagekit.io/acme/v");
  two_accounts.Add(2, "https://img.acme.example/img.v2");
  configurations.push_back(two_accounts);
  return configurations;
}

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds = OtherVectors();
  for (const LibraryFileVector& vector : LibraryFileVectors()) seeds.push_back(vector.url);
  for (const char* url : {"//IK.imagekit.io.:443/acme/shop/cat.jpg", "http://img.acme.example:80//pets/cat.jpg",
                          "https://img.acme.example", "https://user@img.acme.example/shop/cat.jpg",
                          "https://img.acme.example/img.v2/ik-cat.jpg",
                          "https://ik.imagekit.io/acme/tr%3Al-image%2Ci-x%2Cl-end/ik-seo/a/b/c.jpg",
                          " https://shop-img.acme.example/shop/a b.jpg"}) {
    seeds.push_back(url);
  }
  return seeds;
}

TEST(UrlRandom, PlainPathsAreTheLibraryPaths) {
  const std::vector<EndpointMap> configurations = Configurations();
  std::vector<std::string> seeds = Seeds();
  for (const char* url :
       {"https://ik.imagekit.io/acme/shop/2026/cat.jpg", "https://img.acme.example/img.v2/a/b_c-d.png",
        "https://ik.imagekit.io/acme/v/pets/ik-seo/x.jpg"})
    for (int weight = 0; weight < 20; ++weight) seeds.push_back(url);
  Mutator random(12);
  int plain_files = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string url = round % 4 == 0 ? random.OneOf(seeds) : random.Mutate(random.OneOf(seeds));
    for (const EndpointMap& endpoints : configurations) {
      int account;
      std::string_view path;
      if (!endpoints.ReadPlain(url, &account, &path)) continue;
      const UrlReading reading = endpoints.Read(url);
      ASSERT_EQ(reading.account, account) << url;
      if (reading.kind != UrlClass::kLibraryFile) continue;
      ++plain_files;
      ASSERT_EQ(reading.path.FilePath(), path) << url;
    }
  }
  EXPECT_GT(plain_files, 1000);
}

TEST(UrlRandom, OwnsNeverDisagreesWithRead) {
  const std::vector<EndpointMap> configurations = Configurations();
  const std::vector<std::string> seeds = Seeds();
  Mutator random(11);
  std::map<UrlClass, int> seen;
  for (int round = 0; round < kRounds; ++round) {
    const std::string url = round % 50 == 0 ? random.Bytes(60) : random.Mutate(random.OneOf(seeds));
    for (const EndpointMap& endpoints : configurations) {
      const UrlReading reading = endpoints.Read(url);
      ++seen[reading.kind];
      ASSERT_EQ(endpoints.Owns(url), reading.kind != UrlClass::kForeign) << url;
      ASSERT_EQ(reading.account >= 0, reading.kind != UrlClass::kForeign) << url;
      const bool explained = reading.kind == UrlClass::kSkipped || reading.kind == UrlClass::kRefused;
      ASSERT_EQ(!reading.reason.empty(), explained) << url;
    }
  }
  // The mutations are worth something only if they lead everywhere.
  for (UrlClass kind : {UrlClass::kForeign, UrlClass::kLibraryFile, UrlClass::kSkipped, UrlClass::kRefused}) {
    EXPECT_GT(seen[kind], 1000);
  }
}

void ExpectUsablePath(const LibraryPath& path, const std::string& url) {
  ASSERT_FALSE(path.name.empty()) << url;
  ASSERT_EQ(path.name.find('/'), std::string::npos) << url;
  ASSERT_EQ(path.folder[0], '/') << url;
  ASSERT_TRUE(path.folder == "/" || path.folder.back() != '/') << url;
  const std::string whole = path.FilePath() + "/";
  for (const char* bad : {"//", "/./", "/../", "\\"}) ASSERT_EQ(whole.find(bad), std::string::npos) << url;
  for (char c : whole) ASSERT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == 0x7f) << url;
}

TEST(UrlRandom, ReadingsAreUsableAndDistinct) {
  const EndpointMap endpoints = AcmeEndpoints();
  const std::vector<std::string> seeds = Seeds();
  Mutator random(12);
  int others = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string url = random.Mutate(random.OneOf(seeds));
    const UrlReading reading = endpoints.Read(url);
    if (reading.kind != UrlClass::kLibraryFile) {
      ASSERT_TRUE(reading.other_readings.empty()) << url;
      ASSERT_EQ(reading.path, LibraryPath()) << url;
      continue;
    }
    ExpectUsablePath(reading.path, url);
    std::set<std::string> paths = {reading.path.FilePath()};
    for (const LibraryPath& other : reading.other_readings) {
      ExpectUsablePath(other, url);
      ASSERT_TRUE(paths.insert(other.FilePath()).second) << url;
      ++others;
    }
  }
  EXPECT_GT(others, 100);
}

TEST(UrlRandom, EqualLibraryPathMeansEqualKey) {
  const std::vector<EndpointMap> configurations = Configurations();
  const std::vector<std::string> seeds = Seeds();
  Mutator random(13);
  // By path, over all configurations: the key may depend on nothing else.
  std::map<std::string, std::pair<std::string, std::string>> key_of;
  size_t compared = 0;
  for (int round = 0; round < 3 * kRounds; ++round) {
    const std::string url = random.Mutate(random.OneOf(seeds));
    const std::string key = UrlKey(url);
    ASSERT_LE(key.size(), kMaxUrlKeyBytes);
    for (const EndpointMap& endpoints : configurations) {
      const UrlReading reading = endpoints.Read(url);
      if (reading.kind != UrlClass::kLibraryFile) continue;
      ASSERT_NE(key, "") << url;
      const auto [known, added] = key_of.insert({reading.path.FilePath(), {key, url}});
      compared += !added;
      ASSERT_EQ(key, known->second.first) << url << " and " << known->second.second;
    }
  }
  EXPECT_GT(compared, 10000u);
}

TEST(UrlRandom, KeyIsTextForAnyBytes) {
  Mutator random(14);
  const std::vector<std::string> seeds = Seeds();
  for (int round = 0; round < kRounds; ++round) {
    const std::string key = UrlKey("https://a.example/" + random.Mutate(random.Bytes(40)));
    ASSERT_LE(key.size(), kMaxUrlKeyBytes);
    for (char c : key) ASSERT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == 0x7f);
    // Escaped, the key is a file name of its own: Read() is the judge of its UTF-8.
    std::string url = "https://ik.imagekit.io/acme/x";
    for (char c : key) {
      char escape[4];
      snprintf(escape, sizeof escape, "%%%02X", static_cast<unsigned char>(c));
      url += c == '\\' ? "_" : escape;
    }
    ASSERT_EQ(AcmeEndpoints().Read(url).kind, UrlClass::kLibraryFile) << url;
  }
}

TEST(UrlRandom, ScannedViewsLieInOrderInsideTheText) {
  const std::vector<std::string> seeds = {
      "<p>see <img src=\"https://a.example/cat.jpg\" srcset='https://a.example/1 1x, https://a.example/2 2x'></p>",
      "[x](https://a.example/cat.jpg \"t\") **https://a.example/b** |//a.example/c| <https://a.example/d>",
      "{\"a\":\"{\\\"url\\\":\\\"https://a.example/cat.jpg\\\"}\",\"b\":\"//a.example\"}",
      "https://a.example/1.jpg, https://a.example/2.jpg",
      "https://a.example/my cat.jpg and https://a.example/2.jpg",
      "&quot;https://a.example/1.jpg&quot; [img]https://a.example/2.jpg[/img] 'https://a.example/it's.jpg'"};
  Mutator random(15);
  size_t found = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::string text = random.OneOf(seeds);
    for (size_t times = 1 + random.Below(3); times > 0; --times) text = random.Mutate(text);
    if (round % 20 == 0) text = random.Bytes(80) + "http://" + random.Bytes(80);
    // A copy of exactly this size, so that the sanitizer sees a read beyond the end.
    const std::vector<char> bytes(text.begin(), text.end());
    const char* position = bytes.data();
    const char* end = bytes.data() + bytes.size();
    UrlScanner scanner(std::string_view(bytes.data(), bytes.size()));
    std::string_view url;
    while (scanner.Next(&url)) {
      ++found;
      ASSERT_GE(url.data(), position) << text;
      ASSERT_GE(url.size(), 2u) << text;
      ASSERT_LE(url.data() + url.size(), end) << text;
      position = url.data() + url.size();
    }
  }
  EXPECT_GT(found, 60000u);
}

// Quadratic work on a megabyte would take minutes; what is allowed here leaves room for sanitizers and a busy machine.

template <typename Work>
void ExpectQuick(const std::string& what, Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  EXPECT_LT(taken.count(), 5.0) << what;
}

std::string Repeat(std::string_view piece, size_t bytes = 1 << 20) {
  std::string text;
  while (text.size() < bytes) text += piece;
  return text;
}

TEST(UrlRandom, MegabyteUrlsTakeLinearTime) {
  const EndpointMap endpoints = AcmeEndpoints();
  for (const char* piece : {"a",
                            "a/",
                            "/",
                            "%41",
                            "%",
                            "tr:w-1/",
                            "tr:l-image,i-/",
                            "l-image,",
                            "ik-seo/",
                            "a.mp4/ik-x/",
                            "ik-x/",
                            "ik-master.m3u8/",
                            "../",
                            "&",
                            "&a",
                            "&#",
                            ",;|",
                            "a.b ",
                            " ",
                            "\"",
                            "@",
                            ":",
                            "\xC3\xA9",
                            "\xC3",
                            ".",
                            "shop/",
                            "https://",
                            "&quot;",
                            "&amp;"}) {
    for (const char* start : {"https://ik.imagekit.io/acme/", "https://shop-img.acme.example/shop/tr:w-1,", "https://",
                              "https://ik.imagekit.io/acme/a.jpg?"}) {
      const std::string url = start + Repeat(piece);
      ExpectQuick(url.substr(0, 60), [&] {
        EXPECT_EQ(endpoints.Owns(url), endpoints.Read(url).kind != UrlClass::kForeign);
        EXPECT_LE(UrlKey(url).size(), kMaxUrlKeyBytes);
      });
    }
  }
}

TEST(UrlRandom, MegabyteTextsAreScannedInLinearTime) {
  for (const char* piece : {"a",
                            "h",
                            "http",
                            "http://",
                            "https://a,",
                            "\"https://a",
                            "'https://a",
                            "'https://a'b",
                            "(https://a",
                            "(",
                            "<https://a ",
                            "`https://a",
                            "\\",
                            "\\\"",
                            "\\\"https://a",
                            "&quot;https://a ",
                            "&lt;https://a ",
                            "]https://a[",
                            "|https://a",
                            "https://a.....",
                            "https://a)))",
                            "https://a ",
                            "//a ",
                            "=//a",
                            " ",
                            "\n",
                            "https://a 1x, ",
                            ";",
                            "&a;",
                            "https://a&amp;",
                            "'"}) {
    for (const char* start : {"", "x ", "\"", "x \"https://a ", "https://a "}) {
      const std::string text = start + Repeat(piece);
      ExpectQuick(text.substr(0, 60), [&] {
        UrlScanner scanner(text);
        std::string_view url;
        size_t bytes = 0;
        while (scanner.Next(&url)) bytes += url.size();
        EXPECT_LE(bytes, text.size());
      });
    }
  }
}

}  // namespace
}  // namespace imagekit
