// Proves that no spelling of an account's URL is overlooked, and what is none of them.

#include <gtest/gtest.h>

#include <string>

#include "core/mention.h"
#include "url_test_support.h"

namespace imagekit {
namespace {

constexpr int kOther = 9;

MentionMap Map() {
  MentionMap map;
  for (const std::string& prefix : AcmePrefixes()) map.Add(kAcme, prefix);
  map.Add(kOther, "https://www.other.example/Media");
  return map;
}

/// "7@8 -1@40": account and position of each.
std::string Mentions(std::string_view text) {
  static const MentionMap map = Map();
  MentionScanner scanner(map, text);
  std::string found;
  Mention mention;
  while (scanner.Next(&mention)) {
    EXPECT_LE(mention.at, mention.end);
    EXPECT_LE(mention.end, text.size());
    found += (found.empty() ? "" : " ") + std::to_string(mention.account) + "@" + std::to_string(mention.at);
  }
  return found;
}

TEST(Mention, UrlsOfAccounts) {
  EXPECT_EQ(Mentions("https://ik.imagekit.io/acme/cat.jpg"), "7@8");
  EXPECT_EQ(Mentions("see //img.acme.example/cat.jpg, https://www.other.example/Media/x"), "7@6 9@40");
  for (const LibraryFileVector& file : LibraryFileVectors())
    EXPECT_EQ(Mentions(file.url).substr(0, 2), "7@") << file.url;
}

TEST(Mention, WithoutScheme) {
  for (const char* text : {"ik.imagekit.io/acme/cat.jpg", "img.acme.example/cat.jpg", "IK.ImageKit.IO/ACME/cat.jpg",
                           "ik.imagekit.io:443/acme/x", "ik.imagekit.io./acme/x", "ik.imagekit.io//acme/x",
                           "ik.imagekit.io/./acme/x", "ik.imagekit.io\\acme\\x"})
    EXPECT_EQ(Mentions(text), "7@0") << text;
  EXPECT_EQ(Mentions("_ik.imagekit.io/acme/x_"), "7@1");
  EXPECT_EQ(Mentions("user@ik.imagekit.io/acme/x"), "7@5");
}

TEST(Mention, Escaped) {
  for (const char* text : {
           "https:\\/\\/ik.imagekit.io\\/acme\\/cat.jpg",
           "https:\\\\\\/\\\\\\/ik.imagekit.io\\\\\\/acme\\\\\\/cat.jpg",
           "https:\\u002f\\u002Fik.imagekit.io\\u002facme\\u002fcat.jpg",
           "https:\\x2f\\x2fik.imagekit.io\\x2facme",
           "?u=https%3A%2F%2Fik.imagekit.io%2Facme%2Fcat.jpg",
           "?u=https%253A%252F%252Fik.imagekit.io%252Facme%252Fcat.jpg",
           "?u=https%3a%2f%2fik%2Eimagekit%2eio%2facme%2fcat.jpg",
           "https%u003A%u002F%u002Fik.imagekit.io%u002Facme",
           "https:&#47;&#47;ik.imagekit.io&#47;acme",
           "https:&#x2F;&#x2f;ik.imagekit.io&#x2F;acme",
           "https:&sol;&sol;ik&period;imagekit.io&sol;acme",
           "https:&amp;#47;&amp;#47;ik.imagekit.io&amp;#47;acme",
           "https:&#47&#47ik.imagekit.io&#47acme",
           "line one\\nik.imagekit.io/acme",
           "https://%69k.imagekit.io/acme",
           "https://&#105;k.imagekit.io/acme",
           "https://ik.imagekit.io/%61cme/",
           "x \\u0069k.imagekit.io/acme",
           "https:\\\\ik.imagekit.io\\acme\\x",
       })
    EXPECT_EQ(Mentions(text).substr(0, 2), "7@") << text;
}

TEST(Mention, WithinOtherUrls) {
  EXPECT_EQ(Mentions("https://cdn.example/x?u=https://ik.imagekit.io/acme/a.jpg&v=ik.imagekit.io/acme/b.jpg"),
            "7@32 7@60");
  EXPECT_EQ(Mentions("https://ik.imagekit.io/acme/https://ik.imagekit.io/acme/a.jpg"), "7@8 7@36");
}

TEST(Mention, UnknownAccounts) {
  EXPECT_EQ(Mentions("https://ik.imagekit.io/acmex/cat.jpg"), "-1@8");
  EXPECT_EQ(Mentions("https://ik.imgkit.net/acme/cat.jpg"), "-1@8");
  EXPECT_EQ(Mentions("https://ik.imagekit.io/x/../acme/cat.jpg"), "-1@8");
}

TEST(Mention, PrefixAlone) {
  EXPECT_EQ(Mentions("base: https://ik.imagekit.io/acme"), "7@14");
  EXPECT_EQ(Mentions("https://ik.imagekit.io/acme?tr=w-1"), "7@8");
  EXPECT_EQ(Mentions("https://img.acme.example"), "7@8");
  EXPECT_EQ(Mentions("https://img.acme.example\x7f"), "7@8");
  EXPECT_EQ(Mentions("https://img.acme.example\xe3\x80\x81"), "7@8");
  EXPECT_EQ(Mentions("https://ik.imagekit.io/acme\x7f"), "7@8");
}

TEST(Mention, NoMentions) {
  for (const char* text : {"",
                           "cat.jpg",
                           "ik",
                           "ik.imagekit.io",
                           "https://ik.imagekit.io/",
                           "https://ik.imagekit.io/?x",
                           "https://ik.imagekit.io.evil.example/acme/x",
                           "https://xik.imagekit.io/acme/x",
                           "https://cdn.ik.imagekit.io/acme/x",
                           "info@img.acme.example",
                           "write to img.acme.example.",
                           "https://www.other.example/about",
                           "https://www.other.example/Mediation/x",
                           "https://img.acme.example-x/cat.jpg",
                           "%",
                           "%2",
                           "&",
                           "&#",
                           "&#x;",
                           "\\",
                           "\\u00",
                           "\\\\\\\\"})
    EXPECT_EQ(Mentions(text), "") << text;
}

TEST(Mention, AccountsThatCannotBeToldApart) {
  MentionMap map;
  map.Add(1, "https://cdn.example/A");
  map.Add(2, "https://cdn.example:8443/a");
  map.Add(3, "https://cdn.example/a/b");
  MentionScanner scanner(map, "cdn.example/a/x cdn.example/a/b/x");
  Mention mention;
  EXPECT_TRUE(scanner.Next(&mention) && mention.account == kNoAccount);
  EXPECT_TRUE(scanner.Next(&mention) && mention.account == 3);
}

TEST(Mention, EveryOwnedUrlIsOne) {
  const EndpointMap endpoints = AcmeEndpoints();
  for (const char* url :
       {"https://ik.imagekit.io/acme", " https://ik.imagekit.io/acme/x", "https://user:pw@ik.imagekit.io/acme/x",
        "https://ik.imagekit.io./acme/x", "https://ik.imagekit.io:0443/acme/x", "https://ik.imagekit.io%2Facme/x",
        "https://ik.imagekit.io/%61cme%2fx", "https://ik.imagekit.io//acme\\x", "https://ik.imagekit.io/acme\"x",
        "https://img.acme.example?x", "https://img.acme.example#x", "HTTPS://IMG.ACME.EXAMPLE"})
    if (endpoints.Owns(url)) {
      EXPECT_EQ(Mentions(url).substr(0, 2), "7@") << url;
    }
}

TEST(Mention, LongRunsTakeNoTime) {
  for (const char* unit :
       {"\\", "%25", "&amp;", "/", "ik.imagekit.io/", "ik.", "%", "&#", "\\u", "25", "ik.imagekit.io\\\\"}) {
    std::string text;
    while (text.size() < 1000000) text += unit;
    (void)Mentions(text);  // the test's time-out would tell
  }
}

TEST(Mention, LooksLikeImageKit) {
  for (const char* url : {"https://cdn.example/tr:w-300/x.jpg", "https://cdn.example/x.jpg?tr=w-300,h-2",
                          "https://cdn.example/x.jpg?a=1&tr=n-card", "https://cdn.example/x.jpg?ik-sdk-version=1"})
    EXPECT_TRUE(LooksLikeImageKit(url)) << url;
  for (const char* url : {"https://cdn.example/x.jpg", "https://cdn.example/x?tr=1", "https://cdn.example/x?attr=w-300",
                          "https://cdn.example/str:w-300/x", "tr:w-300", "https://www.facebook.example/tr?id=1"})
    EXPECT_FALSE(LooksLikeImageKit(url)) << url;
}

}  // namespace
}  // namespace imagekit
