// Proves that a URL of ours that is malformed or has two readings is refused, and that the reason is the right one.

#include <gtest/gtest.h>

#include <string>

#include "core/url.h"
#include "url_test_support.h"

namespace imagekit {
namespace {

void ExpectRefusedUrl(const std::string& url, const std::string& reason) {
  static const EndpointMap endpoints = AcmeEndpoints();
  const UrlReading reading = endpoints.Read(url);
  EXPECT_EQ(reading.kind, UrlClass::kRefused) << url << " was read as " << reading.path.FilePath();
  EXPECT_EQ(reading.reason, reason) << url;
  EXPECT_EQ(reading.account, kAcme) << url;
  EXPECT_EQ(reading.path, LibraryPath()) << url;
  EXPECT_TRUE(reading.other_readings.empty()) << url;
  EXPECT_TRUE(endpoints.Owns(url)) << url;
}

/// `path` is what stands below the default endpoint.
void ExpectRefused(const std::string& path, const std::string& reason) {
  ExpectRefusedUrl("https://ik.imagekit.io/acme" + path, reason);
}

constexpr char kWhiteSpace[] = "white space in the URL";
constexpr char kControl[] = "a control character in the URL";
constexpr char kQuote[] = "a quote, an angle bracket or a back-quote in the URL";
constexpr char kUser[] = "a user name before the host";
constexpr char kBackslash[] = "a backslash in the path";
constexpr char kEntity[] = "an HTML entity such as &amp; in the path";
constexpr char kSpelling[] = "the endpoint in the URL is not spelled as it is configured";
constexpr char kVersion[] = "the URL names an old version of the file (ik-obj-version)";
constexpr char kNoFile[] = "no file name after the endpoint";
constexpr char kFolder[] = "the path ends in a slash, so it names a folder";
constexpr char kTwoSlashes[] = "two slashes in a row in the path";
constexpr char kDots[] = "a . or .. segment in the path";
constexpr char kEscape[] = "a broken escape (% without two hex digits) in the path";
constexpr char kEncodedSlash[] = "an encoded slash (%2F) in the path";
constexpr char kEncodedControl[] = "an encoded control character in the path";
constexpr char kNotUtf8[] = "bytes in the path that are not UTF-8";
constexpr char kOpenLayer[] = "a transformation opens a layer and never closes it (l-end)";
constexpr char kUncountable[] = "a transformation with layers that cannot be counted for its encoded commas";
constexpr char kDisguised[] = "an ImageKit word spelled with percent escapes";
constexpr char kUnknownSuffix[] = "an unknown suffix (ik-...) after the file name";
constexpr char kNoFileBeforeSuffix[] = "a derived suffix (ik-...) with no file name before it";
constexpr char kAfterSuffix[] = "something unknown after a derived suffix (ik-...)";
constexpr char kSeoShort[] = "ik-seo needs the file's stem and an SEO name after it";
constexpr char kSeoExtension[] = "an SEO name without extension: the file's own extension is not known";
constexpr char kSeoSuffix[] = "ik-seo together with a derived suffix (ik-...)";

TEST(UrlRefuse, ContractVectors) {
  ExpectRefused("/a%2Fb.jpg", kEncodedSlash);
  ExpectRefused("/pets/", kFolder);
  ExpectRefused("/../other/cat.jpg", kDots);
  ExpectRefused("/ik-seo/cat.jpg", kSeoShort);
  ExpectRefused("/tr:w-1,l-image,i-/x/cat.jpg", kOpenLayer);
}

TEST(UrlRefuse, WhiteSpaceAnywhere) {
  for (const char* space : {" ", "\t", "\n", "\r", "\v", "\f"}) {
    ExpectRefused(std::string("/my") + space + "cat.jpg", kWhiteSpace);
    ExpectRefused(std::string("/cat.jpg") + space, kWhiteSpace);
    ExpectRefused(std::string("/cat.jpg?a=") + space, kWhiteSpace);
    ExpectRefused(std::string(space) + "and more", kWhiteSpace);
    ExpectRefusedUrl(std::string(space) + "https://ik.imagekit.io/acme/cat.jpg", kWhiteSpace);
    ExpectRefusedUrl(std::string("https://img.acme.example") + space + "is down", kWhiteSpace);
  }
  ExpectRefused("/https://else.example/my cat.jpg", kWhiteSpace);
}

TEST(UrlRefuse, ControlCharactersAnywhere) {
  for (char control : {'\0', '\x01', '\x1f', '\x7f'}) {
    const std::string text(1, control);
    ExpectRefused("/cat" + text + ".jpg", kControl);
    ExpectRefused("/cat.jpg#" + text, kControl);
    ExpectRefused(text, kControl);
    ExpectRefusedUrl(text + "https://ik.imagekit.io/acme/cat.jpg", kControl);
  }
}

TEST(UrlRefuse, QuotesAndAngleBracketsAnywhere) {
  for (const char* quote : {"\"", "<", ">", "`"}) {
    ExpectRefused(std::string("/cat.jpg") + quote, kQuote);
    ExpectRefused(std::string("/cat.jpg?x=") + quote + "https://ik.imagekit.io/acme/dog.jpg", kQuote);
    ExpectRefused(std::string(quote) + "/cat.jpg", kQuote);
    ExpectRefusedUrl(std::string("https://img.acme.example") + quote + "/cat.jpg", kQuote);
  }
}

// Scripts without spaces between words go on like that behind a URL.
TEST(UrlRefuse, ALetterBeyondAsciiBehindAnExtension) {
  const char* reason = "a letter directly behind a file name's extension, which may be text";
  ExpectRefused("/cat.jpg\xE5\x92\x8C", reason);
  ExpectRefused("/pets/cat.JPEG\xE5\x92\x8C?x=1", reason);
  ExpectRefused("/pets/a.b.webp\xD0\xB8/c", reason);
}

// Raw, each may be where prose goes on behind the URL. Letters, what is combined with them, and emoji stay names.
TEST(UrlRefuse, SeparatorsBeyondAscii) {
  const char* reason = "a space, a punctuation mark or the like beyond ASCII in the path";
  for (const char* separator :
       {"\xC2\xA0",     "\xC2\xBB",     "\xC2\xAD",     "\xE2\x80\x8B", "\xE2\x80\x94", "\xE2\x80\x99", "\xE2\x80\x9D",
        "\xE2\x80\xA6", "\xE2\x80\xA8", "\xE2\x86\x92", "\xE3\x80\x80", "\xE3\x80\x81", "\xE3\x80\x82", "\xE3\x80\x8D",
        "\xEF\xBB\xBF", "\xEF\xBC\x81", "\xEF\xBC\x89", "\xEF\xBD\x9E", "\xD8\x8C",     "\xE2\x80\x8D"}) {
    ExpectRefused(std::string("/cat.jpg") + separator, reason);
    ExpectRefused(std::string("/cat.jpg") + separator + "?x=1", reason);
    ExpectRefused(std::string("/pets/cat.jpg") + separator + "and/more", reason);
    ExpectRefused(std::string("/a.jpg?x=") + separator + "and https://b", kWhiteSpace);
    ExpectRefused(std::string("/a.jpg?x=") + separator + "orhttps://a.example/b.jpg", "a second URL after the first");
  }
  const EndpointMap endpoints = AcmeEndpoints();
  for (const char* name : {"caf\xC3\xA9.jpg", "cafe\xCC\x81.jpg", "\xE7\x8C\xAB.jpg", "\xD0\xBA\xD0\xBE\xD1\x82.jpg",
                           "\xF0\x9F\x90\x88.jpg", "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80.jpg",
                           "\xD9\x85\xDB\x8C\xE2\x80\x8C\xD8\xB1.jpg", "\xE2\x9D\xA4\xEF\xB8\x8F.jpg",
                           "cat.jpg%E3%80%82", "x%C2%A0y.jpg"}) {
    EXPECT_EQ(endpoints.Read(std::string("https://ik.imagekit.io/acme/") + name).kind, UrlClass::kLibraryFile) << name;
  }
}

TEST(UrlRefuse, PunctuationBehindTheName) {
  for (const char* tail : {"!", ":", "*", ")", "'", "...", "~", ";", ",", ".", "]", "}", "|", "!?", "**", "),", "'."}) {
    ExpectRefused(std::string("/pets/cat.jpg") + tail, "punctuation behind the file name, which may not be part of it");
  }
  const EndpointMap endpoints = AcmeEndpoints();
  int account;
  std::string_view path;
  EXPECT_FALSE(endpoints.ReadPlain("https://ik.imagekit.io/acme/cat.jpg.", &account, &path));
  for (const char* name : {"photo(1).jpg", "it's.jpg", "a!b*c~d.jpg", "cat.jpg%21", "cat.jpg?x=1)", "cat.jpg#x."}) {
    EXPECT_EQ(endpoints.Read(std::string("https://ik.imagekit.io/acme/") + name).kind, UrlClass::kLibraryFile) << name;
  }
}

TEST(UrlRefuse, UserInfo) {
  ExpectRefusedUrl("https://user@ik.imagekit.io/acme/cat.jpg", kUser);
  ExpectRefusedUrl("https://user:secret@ik.imagekit.io:443/acme/cat.jpg", kUser);
  ExpectRefusedUrl("https://@img.acme.example/cat.jpg", kUser);
  ExpectRefusedUrl("https://evil.example@ik.imagekit.io/acme/cat.jpg", kUser);
  ExpectRefusedUrl("https://user@evil.example@ik.imagekit.io/acme/cat.jpg", kUser);
}

TEST(UrlRefuse, Backslashes) {
  ExpectRefused("/pets\\cat.jpg", kBackslash);
  ExpectRefused("\\cat.jpg", kBackslash);
  ExpectRefused("/cat.jpg\\", kBackslash);
  ExpectRefused("/https:\\\\else.example/cat.jpg", kBackslash);
  ExpectRefusedUrl("https://ik.imagekit.io\\acme/cat.jpg", kBackslash);
  ExpectRefused("/pets%5Ccat.jpg", "an encoded backslash (%5C) in the path");
}

TEST(UrlRefuse, HtmlEntitiesInThePath) {
  for (const char* entity : {"&amp;", "&#39;", "&#x27;", "&quot;", "&eacute;"}) {
    ExpectRefused(std::string("/it") + entity + "s.jpg", kEntity);
    ExpectRefused(std::string("/cat.jpg") + entity, kEntity);
  }
}

TEST(UrlRefuse, SecondUrlBehindAListSeparator) {
  for (const char* separator : {",", ";", "|"}) {
    ExpectRefused(std::string("/a.jpg?x=1") + separator + "https://ik.imagekit.io/acme/b.jpg",
                  "a second URL after the first");
    ExpectRefused(std::string("/a.jpg") + separator + "https://ik.imagekit.io/acme/b.jpg",
                  "a second URL after the first");
    // Read whole it would be a.jpg with an overlay; the scanner reads two URLs.
    ExpectRefused(std::string("/tr:l-image") + separator + "HTTPS://ik.imagekit.io/acme/b,l-end/a.jpg",
                  "a second URL after the first");
  }
}

TEST(UrlRefuse, EndpointInAnotherSpelling) {
  for (const char* path : {"//acme/cat.jpg", "/%61cme/cat.jpg", "/acm%65/cat.jpg", "/acme//shop/cat.jpg",
                           "/acme/sh%6fp/cat.jpg", "/%2Facme/cat.jpg", "/acme%2Fshop/cat.jpg"}) {
    ExpectRefusedUrl(std::string("https://ik.imagekit.io") + path, kSpelling);
  }
  ExpectRefusedUrl("https://img.acme.example//shop/cat.jpg", kSpelling);
  ExpectRefused("%2Fcat.jpg", kEncodedSlash);
}

TEST(UrlRefuse, OldVersions) {
  for (const char* query : {"?ik-obj-version=abc", "?tr=w-1&ik-obj-version=abc", "?a=1&amp;ik-obj-version=x",
                            "?ik%2Dobj%2Dversion=abc", "?a;ik-obj-version", "?ik-obj-version=a#b"}) {
    ExpectRefused(std::string("/cat.jpg") + query, kVersion);
  }
}

TEST(UrlRefuse, NoFileName) {
  for (const char* path : {"", "/", "//", "?x=cat.jpg", "/?cat.jpg", "#cat.jpg", "/tr:w-1", "/tr:w-1?x", "/ik-seo",
                           "/shop", "/shop/", "/shop/tr:w-1"}) {
    ExpectRefused(path, kNoFile);
  }
  ExpectRefusedUrl("https://img.acme.example", kNoFile);
  ExpectRefusedUrl("//img.acme.example?x", kNoFile);
  ExpectRefusedUrl("https://img.acme.example/shop#", kNoFile);
}

TEST(UrlRefuse, FoldersAndEmptySegments) {
  ExpectRefused("/pets/cat.jpg/", kFolder);
  ExpectRefused("/tr:w-1/", kFolder);
  ExpectRefused("/clip.mp4/ik-thumbnail.jpg/", kFolder);
  ExpectRefused("/clip.mp4/ik-master.m3u8//", kFolder);
  ExpectRefused("/pets//cat.jpg", kTwoSlashes);
  ExpectRefused("/tr:w-1//cat.jpg", kTwoSlashes);
  ExpectRefused("/clip.mp4//ik-thumbnail.jpg", kTwoSlashes);
}

TEST(UrlRefuse, DotSegmentsAlsoEncoded) {
  for (const char* dots : {".", "..", "%2e", "%2E%2e", ".%2E", "%2e."}) {
    ExpectRefused(std::string("/pets/") + dots + "/cat.jpg", kDots);
    ExpectRefused(std::string("/pets/") + dots, kDots);
  }
  ExpectRefused("/ik-seo/../nice.jpg", kDots);
  ExpectRefused("/ik-seo/./IMG_1/nice.jpg", kDots);
}

TEST(UrlRefuse, BrokenEscapes) {
  for (const char* escape : {"%", "%2", "%zz", "%2g", "%%41", "%-1", "% 1"}) {
    const bool space = std::string(escape).find(' ') != std::string::npos;
    ExpectRefused(std::string("/a") + escape + "/cat.jpg", space ? kWhiteSpace : kEscape);
    ExpectRefused(std::string("/cat.jpg") + escape, space ? kWhiteSpace : kEscape);
  }
  ExpectRefused("/tr:l-text,i-50%,l-end/cat.jpg", "a broken escape (% without two hex digits) in a transformation");
  ExpectRefused("/ik-seo/IMG_1/100%/nice%.jpg", kEscape);
}

TEST(UrlRefuse, EncodedControlCharacters) {
  for (const char* control : {"%00", "%0A", "%1f", "%7F", "%C2%80", "%C2%9f"}) {
    ExpectRefused(std::string("/a") + control + ".jpg", kEncodedControl);
    ExpectRefused(std::string("/a") + control + "/cat.jpg", kEncodedControl);
  }
}

TEST(UrlRefuse, BytesThatAreNotUtf8) {
  for (const char* bytes : {
           "\xFF", "%FF", "%80", "%C3", "%C3.", "\xC3\x28",   // alone, cut off, wrongly continued
           "%C0%AF", "%C1%81", "%E0%80%AF", "%F0%80%80%AF",   // overlong: a hidden slash or letter
           "%ED%A0%80", "%ED%BF%BF",                          // surrogates
           "%F4%90%80%80", "%F5%80%80%80", "%F8%88%80%80%80"  // beyond Unicode
       }) {
    ExpectRefused(std::string("/a") + bytes + "x.jpg", kNotUtf8);
    ExpectRefused(std::string("/cat") + bytes, kNotUtf8);
  }
}

TEST(UrlRefuse, LayersThatDoNotAddUp) {
  ExpectRefused("/tr:l-image,i-x/pets/cat.jpg", kOpenLayer);
  ExpectRefused("/tr:l-image,i-/a.png,l-text,i-hi,l-end/pets/cat.jpg", kOpenLayer);
  ExpectRefused("/tr:w-1,l-end/cat.jpg", "a transformation closes a layer (l-end) that is not open");
  // Is the comma part of the text, or was the whole segment encoded?
  ExpectRefused("/tr:l-text,i-a%2Cl-b,l-end/pets/cat.jpg", kUncountable);
  ExpectRefused("/tr%3Al-image%2Ci-/a/b.png%2Cl-end/cat.jpg", kUncountable);
}

TEST(UrlRefuse, WordsWithEscapesInThem) {
  ExpectRefused("/%74r:w-1/cat.jpg", kDisguised);
  ExpectRefused("/ik%2Dseo/IMG_1/cat.jpg", kDisguised);
  ExpectRefused("/clip.mp4/ik%2Dthumbnail.jpg", kDisguised);
  ExpectRefused("/clip.mp4/ik-video.mp4/ik-thumbnail%2Ejpg", kAfterSuffix);
}

TEST(UrlRefuse, WordsInTheMiddleOfThePath) {
  const std::string end = " in the middle of the path: an endpoint may be missing in the configuration";
  ExpectRefused("/unknown/tr:w-1/cat.jpg", "a transformation (tr:)" + end);
  ExpectRefused("/pets/tr%3Aw-1", "a transformation (tr:)" + end);
  ExpectRefused("/unknown/ik-seo/IMG_1/cat.jpg", "ik-seo" + end);
  ExpectRefused("/ik-seo/ik-seo/IMG_1/cat.jpg", "ik-seo" + end);
  ExpectRefused("/unknown/ik-genimg-prompt-x/cat.jpg", "ik-genimg-prompt-" + end);
  ExpectRefused("/clip.mp4/ik-master.m3u8/tr:w-1/a.ts", "a transformation (tr:)" + end);
}

TEST(UrlRefuse, Suffixes) {
  ExpectRefused("/clip.mp4/ik-preview.jpg", kUnknownSuffix);
  ExpectRefused("/clip.mp4/ik-master.xyz", kUnknownSuffix);
  ExpectRefused("/v1.2/ik-pictures/cat.jpg", kUnknownSuffix);
  ExpectRefused("/clip/ik-thumbnail.jpg", kNoFileBeforeSuffix);
  ExpectRefused("/ik-thumbnail.jpg", kNoFileBeforeSuffix);
  ExpectRefused("/.mp4/ik-thumbnail.jpg", kNoFileBeforeSuffix);
  ExpectRefused("/tr:w-1/ik-video.mp4/ik-thumbnail.jpg", kNoFileBeforeSuffix);
  ExpectRefused("/clip.mp4/ik-thumbnail.jpg/dog.jpg", kAfterSuffix);
  ExpectRefused("/clip.mp4/ik-video.mp4/ik-new.jpg", kAfterSuffix);
}

TEST(UrlRefuse, SeoNames) {
  ExpectRefused("/ik-seo/IMG_1/nice", kSeoExtension);
  ExpectRefused("/ik-seo/IMG_1/.jpg", kSeoExtension);
  ExpectRefused("/ik-seo/IMG_1/nice.", kSeoExtension);
  ExpectRefused("/ik-seo/IMG_1/nice.jpg-2", kSeoExtension);
  ExpectRefused("/ik-seo/IMG_1/a%2Fb.jpg", kEncodedSlash);
  ExpectRefused("/ik-seo/tr:w-1/nice.jpg", kSeoShort);
  ExpectRefused("/ik-seo/v/clip/nice.mp4/ik-thumbnail.jpg", kSeoSuffix);
}

// The prefix ends in what looks like a file name, so "ik-…" after it could be a suffix to it.
TEST(UrlRefuse, SuffixDirectlyAfterAPrefixWithADot) {
  EndpointMap endpoints;
  endpoints.Add(1, "https://cdn.example/img.v2");
  EXPECT_EQ(endpoints.Read("https://cdn.example/img.v2/ik-cat.jpg").reason, kUnknownSuffix);
  EXPECT_EQ(endpoints.Read("https://cdn.example/img.v2/ik-thumbnail.jpg").reason, kNoFileBeforeSuffix);
  EXPECT_EQ(endpoints.Read("https://cdn.example/img.v2/tr:w-1/ik-cat.jpg").path.FilePath(), "/ik-cat.jpg");
}

}  // namespace
}  // namespace imagekit
