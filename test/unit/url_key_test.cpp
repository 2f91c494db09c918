// Proves that every spelling of one library file has one key, and that the key fits wherever it is kept.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "core/url.h"
#include "url_test_support.h"

namespace imagekit {
namespace {

TEST(UrlKey, IsTheFileNameOfTheContractVectors) {
  for (const LibraryFileVector& vector : LibraryFileVectors()) EXPECT_EQ(UrlKey(vector.url), vector.name) << vector.url;
}

TEST(UrlKey, IsCaseSensitiveLikeTheLibrary) { EXPECT_EQ(UrlKey("HTTPS://IK.IMAGEKIT.IO/acme/Cat.JPG"), "Cat.JPG"); }

TEST(UrlKey, NeedsNoKnownEndpoint) {
  EXPECT_EQ(UrlKey("https://anywhere.example/a/b/c/cat.jpg?x#y"), "cat.jpg");
  EXPECT_EQ(UrlKey("https://anywhere.example/unknown/tr:w-1/ik-seo/pets/IMG_1/nice.jpg"), "IMG_1.jpg");
  EXPECT_EQ(UrlKey("//anywhere.example:81/a/clip.mp4/ik-video.mp4/ik-master.m3u8/240p/1.ts"), "clip.mp4");
}

TEST(UrlKey, EmptyWhenNothingIsLeft) {
  for (const char* url : {"", "cat.jpg", "/pets/cat.jpg", "https://", "https://a.example", "https://a.example/",
                          "//a.example?x", "https://a.example/acme/tr:w-1", "https://a.example/ik-seo/",
                          "ftp://a.example/cat.jpg", "https://a.example/..", "https://a.example/%01"}) {
    EXPECT_EQ(UrlKey(url), "") << url;
  }
}

// Read() refuses all of these, but each may be how a page uses cat.jpg.
TEST(UrlKey, DoubtfulUsesAreFoundUnderTheFileMostLikelyMeant) {
  for (const char* end : {"cat.jpg and more",
                          "cat.jpg, and more",
                          "cat.jpg\n",
                          "cat.jpg) and (more/dog.png)",
                          "cat.jpg\"><b>x</b>",
                          "cat.jpg<br>",
                          "cat.jpg`",
                          "cat.jpg,",
                          "cat.jpg).",
                          "cat.jpg'",
                          "cat.jpg!",
                          "cat.jpg**",
                          "cat.jpg~~",
                          "cat.jpg...",
                          "cat.jpg!?x=1",
                          "cat.jpg\\nNext line",
                          "cat.jpg\\",
                          "cat.jpg\xC2\xA0"
                          "and more",
                          "cat.jpg\xE3\x80\x82",
                          "cat.jpg\xE3\x80\x82next/x",
                          "cat.jpg\xE2\x80\x9D.",
                          "cat.jpg%E3%80%82",
                          "cat.jpg%E3%80%82next",
                          "ik-seo/cat/nice.jpg!",
                          "cat.jpg/ik-thumbnail.jpg\xE3\x80\x82",
                          "cat.jpg&quot;",
                          "cat.jpg&#39;",
                          "cat.jpg&nbsp;x",
                          "cat.jpg/",
                          "cat.jpg//",
                          "cat.jpg/.",
                          "x/../cat.jpg",
                          "pets%2Fcat.jpg",
                          "pets\\cat.jpg",
                          "pets//cat.jpg",
                          "cat.jpg%20",
                          "cat.jpg%0A",
                          "cat.jpg%FF",
                          "my pets/cat.jpg",
                          "tr:w-1,l-image,i-/x/cat.jpg",
                          "tr:w-1,l-end/cat.jpg",
                          "%74r:w-1/cat.jpg",
                          "cat.jpg/ik-thumbnail.jpg/x",
                          "cat.jpg/ik-preview.png",
                          "cat.jpg?ik-obj-version=1",
                          "unknown/tr:w-1/cat.jpg",
                          "https://ik.imagekit.io/acme/cat.jpg",
                          "ik-seo/cat.jpg",
                          "ik-seo/cat/x.jpg/ik-thumbnail.jpg",
                          "%c%at.jpg/../cat.jpg"}) {
    EXPECT_EQ(UrlKey(std::string("https://ik.imagekit.io/acme/") + end), "cat.jpg") << end;
  }
  EXPECT_EQ(UrlKey(" \t\nhttps://user@a.example/cat.jpg"), "cat.jpg");
}

TEST(UrlKey, MalformedSpellingsOfOneName) {
  EXPECT_EQ(UrlKey("https://a.example/my cat.jpg"), UrlKey("https://b.example/x/my%20cat.jpg"));
  EXPECT_EQ(UrlKey("https://a.example/100%.jpg"), UrlKey("https://b.example/x/100%25.jpg"));
  EXPECT_EQ(UrlKey("https://a.example/it&#39;s.jpg"), UrlKey("https://b.example/x/it's.jpg"));
  EXPECT_EQ(UrlKey("https://a.example/a&amp;b.jpg"), UrlKey("https://b.example/x/a%26b.jpg"));
  EXPECT_EQ(UrlKey("https://a.example/cat.jpg is nice"), UrlKey("https://b.example/cat.jpg%20is%20nice"));
}

TEST(UrlKey, NamesThatAreNotOneWord) {
  EXPECT_EQ(UrlKey("https://a.example/my%20big%20cat.jpg"), "my big cat.jpg");
  EXPECT_EQ(UrlKey("https://a.example/a%22b.jpg"), "a");
  EXPECT_EQ(UrlKey("https://a.example/%22b%22.jpg"), "\"b");
  EXPECT_EQ(UrlKey("https://a.example/photo%20(1)"), "photo (1");
  EXPECT_EQ(UrlKey("https://a.example/..."), "...");
  EXPECT_EQ(UrlKey("https://a.example/)"), ")");
}

// A query takes the long way, and changes nothing.
TEST(UrlKey, PlainUrlsTakeAShortCutToTheSameKey) {
  for (const char* url : {"https://a.example/cat.jpg", "HTTP://a.example/x/Cat-1_2.JPG", "https://a.example/x//cat",
                          "https://a.example/x/", "https://a.example", "https://a.example/", "https:///cat.jpg",
                          "https://a.example/cat.", "https://a.example/..", "https://a.example/x/.",
                          "https://a.example/.cat", "https://a.example/ik-seo/x/cat/nice.jpg",
                          "https://a.example/IK-seo/x/cat/nice.jpg", "https://a.example/v/clip.mp4/ik-thumbnail.jpg",
                          "https://a.example/ik-/cat.jpg", "https://a.example/ik/cat.jpg",
                          "https://ik-a.example/cat.jpg", "https://a.example/ik-genimg-prompt-x/cat.jpg"}) {
    EXPECT_EQ(UrlKey(url), UrlKey(std::string(url) + "?x")) << url;
  }
  for (size_t size : {kMaxUrlKeyBytes - 1, kMaxUrlKeyBytes, kMaxUrlKeyBytes + 1}) {
    const std::string url = "https://a.example/" + std::string(size, 'a');
    EXPECT_EQ(UrlKey(url), UrlKey(url + "?x")) << size;
  }
}

TEST(UrlKey, SeparatorsWithinANameStay) {
  EXPECT_EQ(UrlKey("https://a.example/my\xE2\x80\x94"
                   "cat.jpg"),
            "my\xE2\x80\x94"
            "cat.jpg");
  EXPECT_EQ(UrlKey("https://a.example/v1\xE2\x80\x94"
                   "2/cat.jpg"),
            "cat.jpg");
}

TEST(UrlKey, FitsIntoAnIndex) {
  EXPECT_EQ(UrlKey("https://a.example/" + std::string(1000, 'a') + ".jpg"), std::string(kMaxUrlKeyBytes, 'a'));
  // Cut between characters.
  std::string cats;
  for (int i = 0; i < 100; ++i) cats += "\xF0\x9F\x90\x88";
  EXPECT_EQ(UrlKey("https://a.example/" + cats), cats.substr(0, 252));
}

TEST(UrlKey, LibraryFileAlwaysHasAKey) {
  const EndpointMap endpoints = AcmeEndpoints();
  for (int c = 1; c < 256; ++c) {
    char escape[4];
    snprintf(escape, sizeof escape, "%%%02X", c);
    const std::string url = std::string("https://ik.imagekit.io/acme/") + escape;
    if (endpoints.Read(url).kind == UrlClass::kLibraryFile) {
      EXPECT_NE(UrlKey(url), "") << url;
    }
  }
}

// One file, spelled in every way that Read() accepts.

std::string Escape(char c) {
  char escape[4];
  snprintf(escape, sizeof escape, "%%%02X", static_cast<unsigned char>(c));
  return escape;
}

std::vector<std::string> SpellingsOfSegment(const std::string& text, Mutator* random) {
  std::string needed;
  std::string all;
  std::string some;
  for (char c : text) {
    const bool must = std::string("%?#\"<>`&;\\ ").find(c) != std::string::npos;
    needed += must ? Escape(c) : std::string(1, c);
    all += Escape(c);
    some += must || random->Below(3) == 0 ? Escape(c) : std::string(1, c);
  }
  return {needed, all, some};
}

TEST(UrlKey, AllSpellingsOfAFileUnderAllPrefixesShareTheKey) {
  const EndpointMap endpoints = AcmeEndpoints();
  Mutator random(1);
  size_t accepted = 0;
  for (const LibraryFileVector& vector : LibraryFileVectors()) {
    const size_t dot = vector.name.rfind('.');
    for (const std::string& prefix : AcmePrefixes()) {
      for (const char* front : {"", "/", "/tr:w-1", "/tr%3Aw-1/tr:h-2", "/tr:l-image,i-/a/ik-seo/b.png,l-end"}) {
        std::vector<std::string> paths;
        const std::string folder = vector.folder == "/" ? "" : vector.folder;
        for (const std::string& name : SpellingsOfSegment(vector.name, &random)) paths.push_back(folder + "/" + name);
        if (dot != std::string::npos) {
          for (const std::string& stem : SpellingsOfSegment(vector.name.substr(0, dot), &random)) {
            paths.push_back("/ik-seo" + folder + "/" + stem + "/a-nice%20cat" + vector.name.substr(dot));
          }
          paths.push_back(paths[0] + "/ik-thumbnail.jpg");
          paths.push_back(paths[1] + "/ik-video.mp4/ik-master.m3u8/x/1.ts");
        }
        for (const std::string& path : paths) {
          for (const char* end : {"", "?updatedAt=1&amp;x=2", "#x", "?a=cat.jpg&quot;/dog.png"}) {
            const std::string url = prefix + front + path + end;
            const UrlReading reading = endpoints.Read(url);
            // Under some prefixes "/shop" in front means the endpoint: a file all the same, but another.
            if (reading.path.FilePath() != folder + "/" + vector.name) continue;
            ++accepted;
            ASSERT_EQ(UrlKey(url), UrlKey(vector.url)) << url;
          }
        }
      }
    }
  }
  EXPECT_GT(accepted, 10000u);
}

}  // namespace
}  // namespace imagekit
