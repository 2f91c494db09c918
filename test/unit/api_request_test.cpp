// Proves what an account's address and key may be, and what goes into a request.

#include "core/api_request.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace imagekit {
namespace {

TEST(ApiRequest, ApiUrlIsTakenApart) {
  const ApiBase plain = ReadApiUrl("http://127.0.0.1:8080/base/");
  EXPECT_EQ(plain.origin, "http://127.0.0.1:8080");
  EXPECT_EQ(plain.path, "/base");
  EXPECT_EQ(plain.authority, "127.0.0.1:8080");
  EXPECT_TRUE(plain.plain);
  const ApiBase secure = ReadApiUrl("HTTPS://API.imagekit.IO");
  EXPECT_EQ(secure.origin, "https://api.imagekit.io");
  EXPECT_EQ(secure.path, "");
  EXPECT_FALSE(secure.plain);
  EXPECT_EQ(ReadApiUrl("https://api.imagekit.io//").path, "");
}

TEST(ApiRequest, PlainHttpIsForLoopbackOnly) {
  for (const char* good : {"http://localhost", "http://LOCALHOST:1/", "http://127.0.0.1", "http://127.255.0.9:65535",
                           "http://[::1]", "http://[::1]:8080/x"}) {
    EXPECT_NO_THROW(ReadApiUrl(good)) << good;
  }
  for (const char* bad : {"http://api.imagekit.io",
                          "http://127.0.0.1.example.com",
                          "http://127.1",
                          "http://127.0.0.01",
                          "http://127.0.0",
                          "http://127.0.0.256",
                          "http://127.0.0.1.1",
                          "http://0177.0.0.1",
                          "http://128.0.0.1",
                          "http://10.0.0.1",
                          "http://2130706433",
                          "http://0x7f000001",
                          "http://localhost.example.com",
                          "http://localhost.",
                          "http://xlocalhost",
                          "http://[::2]",
                          "http://[::ffff:127.0.0.1]",
                          "http://[0:0:0:0:0:0:0:1]",
                          "http://0.0.0.0",
                          "http://[::]"}) {
    EXPECT_THROW(ReadApiUrl(bad), std::invalid_argument) << bad;
  }
}

TEST(ApiRequest, UnusableApiUrlsAreRefused) {
  for (const char* bad : {"",
                          "https",
                          "https://",
                          "https:///x",
                          "https:/api.imagekit.io",
                          "api.imagekit.io",
                          "ftp://api.imagekit.io",
                          "file:///etc/passwd",
                          "https://user@api.imagekit.io",
                          "https://user:pw@api.imagekit.io",
                          "https://api.imagekit.io?x",
                          "https://api.imagekit.io/?x=1",
                          "https://api.imagekit.io/#f",
                          "https://api.imagekit.io:",
                          "https://api.imagekit.io:0",
                          "https://api.imagekit.io:65536",
                          "https://api.imagekit.io:080",
                          "https://api.imagekit.io:x",
                          "https://api.imagekit.io:443:1",
                          "https://api imagekit.io",
                          "https://api.imagekit.io\r\nX: y",
                          "https://api.imagekit.io/a\nb",
                          "https://api.imagekit.io/%2e%2e",
                          "https://api.imagekit.io/a/../b",
                          "https://api.imagekit.io/..",
                          "https://api.imagekit.io/.",
                          "https://api.imagekit.io\\evil",
                          "https://.example.com",
                          "https://[::1",
                          "https://[]",
                          "https://[fe80::1%25eth0]",
                          "https://[::1]x",
                          "https://\xC3\xA9.example",
                          " https://x.example"}) {
    EXPECT_THROW(ReadApiUrl(bad), std::invalid_argument) << bad;
  }
  EXPECT_THROW(ReadApiUrl("https://x.example/" + std::string(300, 'a')), std::invalid_argument);
  EXPECT_THROW(ReadApiUrl(std::string_view("https://x.exa\0mple", 18)), std::invalid_argument);
}

TEST(ApiRequest, KeyIsOneUserNameOfPrintableAscii) {
  EXPECT_NO_THROW(CheckPrivateKey("private_TestKey123="));
  EXPECT_NO_THROW(CheckPrivateKey("~ +/"));
  for (const std::string& bad :
       {std::string(""), std::string("a\n"), std::string("a\r\nX: y"), std::string("a\tb"), std::string("a\0b", 3),
        std::string("a:b"), std::string("\x7F"), std::string("\xC3\xA9")}) {
    try {
      CheckPrivateKey(bad);
      ADD_FAILURE() << bad;
    } catch (const std::invalid_argument& error) {
      EXPECT_TRUE(bad.empty() || std::string(error.what()).find(bad) == std::string::npos);
    }
  }
}

TEST(ApiRequest, BasicCredentialsAreKeyAndColon) {
  EXPECT_EQ(BasicCredentials("private_TestKey123="), "Basic cHJpdmF0ZV9UZXN0S2V5MTIzPTo=");
  EXPECT_EQ(BasicCredentials("ab"), "Basic YWI6");
}

TEST(ApiRequest, ProxyIsOneOfThreeKinds) {
  const Proxy proxy = ReadProxy("http://me:p%40ss@Proxy.example:3128/");
  EXPECT_EQ(proxy.url, "http://me:p%40ss@Proxy.example:3128/");
  EXPECT_EQ(proxy.authority, "proxy.example:3128");
  EXPECT_FALSE(proxy.loopback);
  ASSERT_EQ(proxy.secrets.size(), 3u);
  EXPECT_EQ(proxy.secrets[0], "p%40ss");
  EXPECT_EQ(proxy.secrets[1], "p@ss");
  EXPECT_EQ(proxy.secrets[2], "bWU6cEBzcw==");
  EXPECT_TRUE(ReadProxy("").url.empty());
  for (const char* good : {"http://p:1", "https://p.example:65535", "socks5h://p", "socks5h://u:p@[::1]:1080",
                           "HTTP://localhost:3128", "http://token@p:3128"}) {
    EXPECT_NO_THROW(ReadProxy(good)) << good;
  }
  EXPECT_TRUE(ReadProxy("http://127.0.0.1:1").loopback);
  EXPECT_EQ(ReadProxy("http://token@p:3128").secrets.at(0), "token");
  for (const std::string& bad : {std::string("p:3128"),
                                 std::string("http://p"),
                                 std::string("https://p"),
                                 std::string("http://:3128"),
                                 std::string("http://p:0"),
                                 std::string("http://p:99999"),
                                 std::string("http://p:3128/x"),
                                 std::string("http://p:3128?x"),
                                 std::string("http://p:3128#x"),
                                 std::string("http://u:secret@p"),
                                 std::string("http://u:sec ret@p:1"),
                                 std::string("http://u:sec\nret@p:1"),
                                 std::string("http://u:a@b@p:1"),
                                 std::string("socks5://p:1080"),
                                 std::string("socks4://p:1080"),
                                 std::string("socks4a://p:1080"),
                                 std::string("ftp://p:1"),
                                 std::string("file:///etc/passwd"),
                                 std::string("http://"),
                                 std::string("http:/p:1"),
                                 std::string("http://p\0:1", 11),
                                 std::string("http://\xC3\xA9:1"),
                                 std::string(" http://p:1")}) {
    try {
      ReadProxy(bad);
      ADD_FAILURE() << bad;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos);
    }
  }
}

TEST(ApiRequest, ListedSearchTakesWhatFits) {
  ListedSearch search("name", "/a b", 0);
  EXPECT_TRUE(search.Add("x.jpg"));
  EXPECT_TRUE(search.Add("\xC3\xA9+"));
  EXPECT_EQ(search.Target(200),
            "/v1/files?path=%2Fa%20b&searchQuery=type%20%3D%20%22file%22%20AND%20name%20IN%20%5B%22x.jpg%22%2C%20%22"
            "%C3%A9%2B%22%5D&limit=200");
  for (const size_t base : {size_t{0}, size_t{255}}) {
    ListedSearch full("id", "", base);
    while (full.Add("67c6d1a4432c47641600aa01")) {
    }
    EXPECT_GE(full.size(), 100u) << "a hundred ids always fit";
    const std::string before = full.Target(1000);
    EXPECT_FALSE(full.Add("67c6d1a4432c47641600aa01"));
    EXPECT_EQ(full.Target(1000), before);
    EXPECT_LE(base + WithSkip(before, 9999999999).size(), kMaxTargetBytes);
  }
  ListedSearch none("name", "/" + std::string(5000, 'f'), 0);
  EXPECT_FALSE(none.Add("x"));
}

TEST(ApiRequest, FileIdsAreLettersDigitsAndTwoSigns) {
  EXPECT_TRUE(IsFileId("67c6d1a4432c47641600aa01"));
  EXPECT_TRUE(IsFileId("aZ_09-"));
  for (int c = 0; c < 256; ++c) {
    const bool good =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
    EXPECT_EQ(IsFileId(std::string("a") + static_cast<char>(c)), good) << c;
  }
  EXPECT_FALSE(IsFileId(""));
}

TEST(ApiRequest, OnlyQuotesBackslashesAndControlsCannotBeQuoted) {
  for (int c = 0; c < 256; ++c) {
    const bool good = c >= 0x20 && c != '"' && c != '\\' && c != 0x7F;
    EXPECT_EQ(CanBeQuoted(std::string("a") + static_cast<char>(c)), good) << c;
  }
}

}  // namespace
}  // namespace imagekit
