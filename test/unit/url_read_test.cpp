// Proves which library file a URL names, which of our URLs name none, and which other files it might have meant.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/url.h"
#include "url_test_support.h"

namespace imagekit {

// In words, for failure messages.
static void PrintTo(const LibraryPath& path, std::ostream* out) { *out << path.FilePath(); }

namespace {

const EndpointMap& Endpoints() {
  static const EndpointMap endpoints = AcmeEndpoints();
  return endpoints;
}

void ExpectFile(const std::string& url, const std::string& folder, const std::string& name) {
  const UrlReading reading = Endpoints().Read(url);
  ASSERT_EQ(reading.kind, UrlClass::kLibraryFile) << url << ": " << reading.reason;
  EXPECT_EQ(reading.path.folder, folder) << url;
  EXPECT_EQ(reading.path.name, name) << url;
  EXPECT_EQ(reading.account, kAcme) << url;
  EXPECT_EQ(reading.reason, "") << url;
}

/// `path` is what stands below the default endpoint.
void ExpectPath(const std::string& path, const std::string& folder, const std::string& name) {
  ExpectFile("https://ik.imagekit.io/acme" + path, folder, name);
}

void ExpectSkipped(const std::string& path, const std::string& reason) {
  const UrlReading reading = Endpoints().Read("https://ik.imagekit.io/acme" + path);
  EXPECT_EQ(reading.kind, UrlClass::kSkipped) << path << ": " << reading.reason;
  EXPECT_EQ(reading.account, kAcme) << path;
  EXPECT_EQ(reading.reason, reason) << path;
  EXPECT_EQ(reading.path, LibraryPath()) << path;
}

TEST(UrlRead, ContractVectorsThatNameAFile) {
  for (const LibraryFileVector& vector : LibraryFileVectors()) ExpectFile(vector.url, vector.folder, vector.name);
}

TEST(UrlRead, FilePathIsWhatTheApiCallsIt) {
  EXPECT_EQ((LibraryPath{"/", "cat.jpg"}).FilePath(), "/cat.jpg");
  EXPECT_EQ((LibraryPath{"/pets/big", "cat.jpg"}).FilePath(), "/pets/big/cat.jpg");
}

TEST(UrlRead, HostInAnyCaseWithDotPortOrScheme) {
  for (const char* start : {"http://", "HTTPS://", "hTTp://", "//"}) {
    ExpectFile(std::string(start) + "ik.imagekit.io/acme/pets/cat.jpg", "/pets", "cat.jpg");
    ExpectFile(std::string(start) + "IK.IMAGEKIT.IO./acme/pets/cat.jpg", "/pets", "cat.jpg");
    ExpectFile(std::string(start) + "ik.imagekit.io:/acme/pets/cat.jpg", "/pets", "cat.jpg");
  }
  ExpectFile("https://ik.imagekit.io:443/acme/cat.jpg", "/", "cat.jpg");
  ExpectFile("https://ik.imagekit.io.:0443/acme/cat.jpg", "/", "cat.jpg");
  ExpectFile("http://ik.imagekit.io:80/acme/cat.jpg", "/", "cat.jpg");
  ExpectFile("//ik.imagekit.io:443/acme/cat.jpg", "/", "cat.jpg");
  ExpectFile("//ik.imagekit.io:80/acme/cat.jpg", "/", "cat.jpg");
}

TEST(UrlRead, QueryAndFragmentAreDroppedWhateverTheyHold) {
  for (const char* end : {"?", "#", "?v=1", "?tr=w-1,h-2&ik-s=ab&ik-t=9999999999", "?a?b", "#a?ik-obj-version=1",
                          "?a#b#c", "?tr=l-image,i-@@logos@@o.png,l-end", "?u=https://else.example/x/", "?a=/../x",
                          "?%zz", "?ik-attachment=true", "?a=1&amp;b=2", "?a\\b", "?a=%2F%00"}) {
    ExpectPath(std::string("/pets/cat.jpg") + end, "/pets", "cat.jpg");
  }
}

TEST(UrlRead, TransformationsInEverySpelling) {
  ExpectPath("/tr:w-1/tr:h-2/pets/cat.jpg", "/pets", "cat.jpg");
  ExpectPath("/tr%3Aw-300/pets/cat.jpg", "/pets", "cat.jpg");
  ExpectPath("/tr%3aw-300%2Ch-200/pets/cat.jpg", "/pets", "cat.jpg");
  ExpectPath("/tr:/cat.jpg", "/", "cat.jpg");
  ExpectPath("/tr:di-@@pets@@default.jpg/cat.jpg", "/", "cat.jpg");
  ExpectPath("/tr:e-changebg-prompt-a%20red%2Fblue%20wall/cat.jpg", "/", "cat.jpg");
  ExpectPath("/shop/tr:w-3/cat.jpg", "/", "cat.jpg");
}

// Only what begins with "tr:" is a transformation.
TEST(UrlRead, LettersOfAllScripts) {
  ExpectPath("/\xE5\x92\x8C.jpg", "/", "\xE5\x92\x8C.jpg");
  ExpectPath("/cat.v2\xE5\x92\x8C.jpg", "/", "cat.v2\xE5\x92\x8C.jpg");
}

TEST(UrlRead, FoldersThatLookLikeTransformations) {
  ExpectPath("/tr/cat.jpg", "/tr", "cat.jpg");
  ExpectPath("/tr-w-300/cat.jpg", "/tr-w-300", "cat.jpg");
  ExpectPath("/trees/tr.jpg", "/trees", "tr.jpg");
  ExpectPath("/pets/tr", "/pets", "tr");
}

TEST(UrlRead, LayersKeepTheirSlashes) {
  ExpectPath("/tr:h-300,l-image,i-/path/over.jpg,l-end/file.jpg", "/", "file.jpg");
  ExpectPath("/tr:l-image,i-/a/b.png,l-end,l-image,i-/c/d.png,l-end/pets/cat.jpg", "/pets", "cat.jpg");
  // Nested: the inner l-end does not close the outer layer.
  ExpectPath("/tr:l-image,i-/a.png,l-text,i-hi,l-end/b.png,l-end/pets/cat.jpg", "/pets", "cat.jpg");
  // The steps of a chain are separated by colons.
  ExpectPath("/tr:w-1:l-image,i-/a/b.png,l-end:rt-90/pets/cat.jpg", "/pets", "cat.jpg");
  ExpectPath("/tr:l-image,i-//a//b.png,l-end/cat.jpg", "/", "cat.jpg");
  ExpectPath("/tr%3Al-image%2Ci-x.png%2Cl-end/cat.jpg", "/", "cat.jpg");
}

// Parameters of a layer, not openers: with one of them counted the file name would be swallowed.
TEST(UrlRead, LayerParametersOpenNoLayer) {
  ExpectPath("/tr:lx-10,ly-20,lfo-top,lm-multiply/cat.jpg", "/", "cat.jpg");
  ExpectPath("/tr:l-image,i-a.png,lx-10,ly-N20,lfo-top_left,lm-cutter,l-end/pets/cat.jpg", "/pets", "cat.jpg");
}

TEST(UrlRead, SeoNamesGiveOnlyTheExtension) {
  ExpectPath("/ik-seo/a/b/IMG_1/x.y.jpeg", "/a/b", "IMG_1.jpeg");
  ExpectPath("/ik-seo/my%20img/nice%20cat.jpg", "/", "my img.jpg");
  ExpectPath("/ik-seo/IMG_1.2/nice.jpg", "/", "IMG_1.2.jpg");
  ExpectPath("/tr:w-1/ik-seo/tr:h-2/pets/IMG_1/nice.jpg", "/pets", "IMG_1.jpg");
  ExpectFile("https://img.acme.example/shop/ik-seo/pets/IMG_1/nice.png?x", "/pets", "IMG_1.png");
}

TEST(UrlRead, DerivedSuffixesAreTakenOff) {
  for (const char* suffix : {"ik-thumbnail.jpg", "ik-video.mp4", "ik-gif-video.mp4", "ik-master.m3u8", "ik-master.mpd",
                             "ik-seek-thumbnail-track.vtt", "ik-gensubtitle.transcript", "ik-genchapter.vtt",
                             "ik-video.mp4/ik-master.mpd", "ik-master.m3u8/240p/segment-1.ts", "ik-master.mpd/init"}) {
    ExpectPath(std::string("/v/clip.mp4/") + suffix, "/v", "clip.mp4");
    ExpectPath(std::string("/tr:w-1/clip.mp4/") + suffix, "/", "clip.mp4");
  }
}

// "ik-" begins ordinary names too, where no file name stands before it.
TEST(UrlRead, NamesThatBeginWithIk) {
  ExpectPath("/ik-pictures/cat.jpg", "/ik-pictures", "cat.jpg");
  ExpectPath("/pets/ik-cat.jpg", "/pets", "ik-cat.jpg");
  ExpectPath("/ik-cat.jpg", "/", "ik-cat.jpg");
  ExpectPath("/ik-seo-pictures/cat.jpg", "/ik-seo-pictures", "cat.jpg");
  ExpectPath("/pets/ikea.jpg", "/pets", "ikea.jpg");
  ExpectPath("/v.2/ikea.jpg", "/v.2", "ikea.jpg");
}

TEST(UrlRead, NamesAreDecodedOnceAndOtherwiseLeftAlone) {
  ExpectPath("/a%20b%20.jpg", "/", "a b .jpg");
  ExpectPath("/%252F.jpg", "/", "%2F.jpg");
  ExpectPath("/it's.jpg", "/", "it's.jpg");
  ExpectPath("/it%27s.jpg", "/", "it's.jpg");
  ExpectPath("/a%3Fb%23c.jpg", "/", "a?b#c.jpg");
  ExpectPath("/a%22b%3C%3E%60.jpg", "/", "a\"b<>`.jpg");
  ExpectPath("/a&b.jpg", "/", "a&b.jpg");
  ExpectPath("/a%26amp;b.jpg", "/", "a&amp;b.jpg");
  ExpectPath("/a&b-c;d.jpg?x&amp;y", "/", "a&b-c;d.jpg");
  ExpectPath("/a{b}|c^[d].jpg", "/", "a{b}|c^[d].jpg");
  ExpectPath("/p%C3%A9ts/caf\xC3\xA9.jpg", "/p\xC3\xA9ts", "caf\xC3\xA9.jpg");
  // The decomposed form is another name: the library compares bytes.
  ExpectPath("/cafe%CC%81.jpg", "/", "cafe\xCC\x81.jpg");
  ExpectPath("/%F0%9F%90%88.jpg", "/", "\xF0\x9F\x90\x88.jpg");
  ExpectPath("/%EF%BF%BD%ED%9F%BF%F4%8F%BF%BF", "/", "\xEF\xBF\xBD\xED\x9F\xBF\xF4\x8F\xBF\xBF");
}

TEST(UrlRead, NamesWithDotsAndWithoutExtension) {
  ExpectPath("/.htaccess", "/", ".htaccess");
  ExpectPath("/pets/%2E%2E%2E", "/pets", "...");
  ExpectPath("/a/.b/c%2E", "/a/.b", "c.");
  ExpectPath("/3fk2q9", "/", "3fk2q9");
}

TEST(UrlRead, SlashesRightAfterTheEndpointAreOne) {
  ExpectPath("//pets/cat.jpg", "/pets", "cat.jpg");
  ExpectPath("//tr:w-1/pets/cat.jpg", "/pets", "cat.jpg");
  ExpectFile("https://img.acme.example//cat.jpg", "/", "cat.jpg");
  ExpectFile("https://ik.imagekit.io/acme/shop//cat.jpg", "/", "cat.jpg");
}

TEST(UrlRead, WebProxyIsSkipped) {
  const char* reason = "a web proxy URL: the image lies on another server";
  for (const char* path :
       {"/https://else.example/cat.jpg", "/https:/else.example/cat.jpg", "/http://else.example/a/../b//c/",
        "/HTTPS://else.example/cat.jpg", "/https%3A%2F%2Felse.example%2Fcat.jpg", "/http%3a//else.example/%2F%zz",
        "/tr:w-300/https://else.example/cat.jpg", "/shop/tr:w-1/https://ik.imagekit.io/acme/cat.jpg",
        "//https://else.example/cat.jpg", "/ik-seo/https://else.example/cat.jpg", "/https:"}) {
    ExpectSkipped(path, reason);
  }
}

TEST(UrlRead, GeneratedImageIsSkipped) {
  ExpectSkipped("/ik-genimg-prompt-a%20cat/gen/cat.jpg", "an image generated from a prompt");
  ExpectSkipped("/tr:w-1/ik-genimg-prompt-x/cat.jpg", "an image generated from a prompt");
  ExpectSkipped("/shop/ik-genimg-prompt-a%2Fb/gen/cat.jpg", "an image generated from a prompt");
}

// Other readings: what the row may have meant before an endpoint of that name existed.

std::vector<std::string> OtherReadings(const EndpointMap& endpoints, const std::string& url) {
  const UrlReading reading = endpoints.Read(url);
  EXPECT_EQ(reading.kind, UrlClass::kLibraryFile) << url << ": " << reading.reason;
  std::vector<std::string> paths;
  for (const LibraryPath& path : reading.other_readings) paths.push_back(path.FilePath());
  return paths;
}

std::vector<std::string> OtherReadings(const std::string& url) { return OtherReadings(Endpoints(), url); }

using Paths = std::vector<std::string>;

TEST(UrlOtherReadings, NoneWhereOnlyOnePrefixMatches) {
  EXPECT_EQ(OtherReadings("https://ik.imagekit.io/acme/pets/cat.jpg"), Paths());
  EXPECT_EQ(OtherReadings("https://shop-img.acme.example/pets/cat.jpg"), Paths());
  EXPECT_EQ(OtherReadings("https://ik.imagekit.io/acme/shopping/cat.jpg"), Paths());
}

TEST(UrlOtherReadings, ShorterPrefixOnTheSameHost) {
  EXPECT_EQ(OtherReadings("https://ik.imagekit.io/acme/shop/pets/cat.jpg"), Paths{"/shop/pets/cat.jpg"});
  EXPECT_EQ(OtherReadings("https://img.acme.example/shop/cat.jpg"), Paths{"/shop/cat.jpg"});
  EXPECT_EQ(OtherReadings("https://img.acme.example/shop/clip.mp4/ik-thumbnail.jpg?x"), Paths{"/shop/clip.mp4"});
}

// A transformation directly after "shop" proves that it was an endpoint.
TEST(UrlOtherReadings, ReadingsThatAreNoFileAreLeftOut) {
  EXPECT_EQ(OtherReadings("https://ik.imagekit.io/acme/shop/tr:w-1/cat.jpg"), Paths());
  EXPECT_EQ(OtherReadings("https://ik.imagekit.io/acme/shop/ik-seo/IMG_1/cat.jpg"), Paths());
  EXPECT_EQ(OtherReadings("https://ik.imagekit.io/acme/shop//cat.jpg"), Paths());
}

TEST(UrlOtherReadings, IdentifierOfAnotherEndpointOnAHostThatDoesNotListIt) {
  EXPECT_EQ(OtherReadings("https://shop-img.acme.example/shop/cat.jpg"), Paths{"/cat.jpg"});
  EXPECT_EQ(OtherReadings("https://shop-img.acme.example//shop/a/cat.jpg"), Paths{"/a/cat.jpg"});
  EXPECT_EQ(OtherReadings("https://shop-img.acme.example/sh%6Fp/cat.jpg"), Paths{"/cat.jpg"});
}

TEST(UrlOtherReadings, IdentifierStandsOnlyDirectlyAfterThePrefix) {
  EXPECT_EQ(OtherReadings("https://shop-img.acme.example/pets/shop/cat.jpg"), Paths());
  EXPECT_EQ(OtherReadings("https://shop-img.acme.example/tr:w-1/shop/cat.jpg"), Paths());
  EXPECT_EQ(OtherReadings("https://shop-img.acme.example/shop"), Paths());
  // Not twice: the endpoint has been named already.
  EXPECT_EQ(OtherReadings("https://ik.imagekit.io/acme/shop/shop/cat.jpg"), Paths{"/shop/shop/cat.jpg"});
}

// The account id of ImageKit's own host is no identifier that a custom domain would know.
TEST(UrlOtherReadings, AccountIdIsNoIdentifier) {
  EXPECT_EQ(OtherReadings("https://img.acme.example/acme/cat.jpg"), Paths());
}

TEST(UrlOtherReadings, BothKindsTogetherWithoutDuplicates) {
  EndpointMap endpoints;
  endpoints.Add(1, "https://img.acme.example");
  endpoints.Add(1, "https://img.acme.example/a");
  endpoints.Add(1, "https://img.acme.example/a/b");
  endpoints.Add(1, "https://ik.imagekit.io/acme/c");
  endpoints.Add(1, "https://other.example/c");
  EXPECT_EQ(OtherReadings(endpoints, "https://img.acme.example/a/b/c/x.jpg"),
            (Paths{"/b/c/x.jpg", "/a/b/c/x.jpg", "/x.jpg"}));
  EXPECT_EQ(OtherReadings(endpoints, "https://img.acme.example/a/x.jpg"), Paths{"/a/x.jpg"});
}

TEST(UrlOtherReadings, StayWithinTheAccount) {
  EndpointMap endpoints;
  endpoints.Add(1, "https://cdn.example");
  endpoints.Add(2, "https://cdn.example/two");
  endpoints.Add(3, "https://three.example");
  EXPECT_EQ(OtherReadings(endpoints, "https://cdn.example/two/cat.jpg"), Paths());
  EXPECT_EQ(OtherReadings(endpoints, "https://three.example/two/cat.jpg"), Paths());
}

}  // namespace
}  // namespace imagekit
