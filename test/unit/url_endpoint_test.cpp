// Proves which URLs are ours: what a prefix may look like, and which look-alikes stay out.

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/url.h"
#include "url_test_support.h"

namespace imagekit {
namespace {

std::string ErrorOf(const std::string& prefix) {
  try {
    CheckEndpoint(prefix);
  } catch (const EndpointError& error) {
    EndpointMap endpoints;
    EXPECT_THROW(endpoints.Add(1, prefix), EndpointError) << prefix;
    EXPECT_TRUE(endpoints.empty()) << prefix;
    return error.what();
  }
  return "";
}

TEST(UrlEndpoint, UsablePrefixes) {
  for (const char* prefix :
       {"https://ik.imagekit.io/acme", "https://ik.imagekit.io/acme/", "HTTP://IK.ImageKit.IO:443/acme",
        "https://ik.imagekit.io./acme", "https://img.acme.example", "https://img.acme.example/",
        "http://127.0.0.1:8080/x", "http://[::1]:8080/x", "https://localhost", "https://ik.imagekit.io/ik-demo",
        "https://cdn_1.example/a/b/c", "https://ik.imagekit.io/acme/my_shop-2", "https://cdn.example/img.v2",
        "https://cdn.example:65535"}) {
    EXPECT_EQ(ErrorOf(prefix), "") << prefix;
  }
}

TEST(UrlEndpoint, UnusablePrefixesSayWhy) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "the endpoint does not begin with https:// or http://"},
      {"ik.imagekit.io/acme", "the endpoint does not begin with https:// or http://"},
      {"//ik.imagekit.io/acme", "the endpoint does not begin with https:// or http://"},
      {"ftp://ik.imagekit.io/acme", "the endpoint does not begin with https:// or http://"},
      {"https://", "the host is missing"},
      {"https:///acme", "the host is missing"},
      {"https://:80/acme", "the host is missing"},
      {"https://user@ik.imagekit.io/acme", "a user name before the host"},
      {"https://ik.imagekit.io/acme?tr=w-1", "a query or fragment in the endpoint"},
      {"https://ik.imagekit.io/acme#", "a query or fragment in the endpoint"},
      {"https://ik.imagekit.io/ac me", "white space, a control character, a quote or an angle bracket in the endpoint"},
      {" https://ik.imagekit.io/acme", "white space, a control character, a quote or an angle bracket in the endpoint"},
      {"https://ik.imagekit.io/acme\n",
       "white space, a control character, a quote or an angle bracket in the endpoint"},
      {"\"https://ik.imagekit.io/acme\"",
       "white space, a control character, a quote or an angle bracket in the endpoint"},
      {"https://ik.imagekit.io\\acme", "a backslash in the path"},
      {"https://ik.imagekit.io", "the account is missing: https://ik.imagekit.io/your_imagekit_id"},
      {"https://IK.imagekit.io/", "the account is missing: https://ik.imagekit.io/your_imagekit_id"},
      {"https://ik.imgkit.net", "the account is missing: https://ik.imgkit.net/your_imagekit_id"},
      {"https://ik.imagekit.io/acme//", "two slashes in a row in the path"},
      {"https://ik.imagekit.io//acme", "two slashes in a row in the path"},
      {"https://img.acme.example//", "two slashes in a row in the path"},
      {"https://ik.imagekit.io/acme/../x", "a . or .. segment in the path"},
      {"https://ik.imagekit.io/./acme", "a . or .. segment in the path"},
      {"https://ik.imagekit.io/%61cme", "a character in the path that no endpoint can have"},
      {"https://ik.imagekit.io/caf\xC3\xA9", "a character in the path that no endpoint can have"},
      {"https://a.example/cats&amp;dogs", "an HTML entity such as &amp; in the path"},
      {"https://ik.imagekit.io/acme/ik-seo", "the path holds \"ik-seo\", which is not part of an endpoint"},
      {"https://ik.imagekit.io/acme/tr:w-1", "the path holds \"tr:w-1\", which is not part of an endpoint"},
      {"https://ik.imagekit.io/acme/https:/x", "the path holds \"https:\", which is not part of an endpoint"},
      {"https://ik.imagekit.io/acme/a.mp4/ik-x", "the path holds \"ik-x\", which is not part of an endpoint"},
      {"https://b\xC3\xBC"
       "cher.example",
       "the host is not ASCII: write an international name in its \"xn--\" form"},
      {"https://a..example/x", "an empty part in the host name"},
      {"https://.example/x", "an empty part in the host name"},
      {"https://example../x", "an empty part in the host name"},
      {"https://a%41.example/x", "a character that no host name can have"},
      {"https://[::1/x", "the host is no IPv6 address in brackets"},
      {"https://[]/x", "the host is no IPv6 address in brackets"},
      {"https://a.example:x/", "the port is no number from 1 to 65535"},
      {"https://a.example:0/", "the port is no number from 1 to 65535"},
      {"https://a.example:65536/", "the port is no number from 1 to 65535"},
      {"https://a.example:99999999999999999999/", "the port is no number from 1 to 65535"},
  };
  for (const auto& [prefix, reason] : cases) EXPECT_EQ(ErrorOf(prefix), reason) << prefix;
}

TEST(UrlEndpoint, SamePrefixTwice) {
  EndpointMap endpoints;
  EXPECT_TRUE(endpoints.empty());
  endpoints.Add(1, "https://ik.imagekit.io/acme");
  endpoints.Add(1, "https://ik.imagekit.io/acme");
  endpoints.Add(1, "http://IK.imagekit.io.:80/acme/");
  EXPECT_THROW(endpoints.Add(2, "https://ik.imagekit.io/acme/"), EndpointError);
  EXPECT_FALSE(endpoints.empty());
  EXPECT_EQ(endpoints.Read("https://ik.imagekit.io/acme/cat.jpg").account, 1);
}

TEST(UrlEndpoint, LongestPrefixOfAllAccountsWins) {
  // In both orders of adding.
  for (bool long_first : {false, true}) {
    EndpointMap endpoints;
    if (long_first) endpoints.Add(2, "https://cdn.example/two");
    endpoints.Add(1, "https://cdn.example");
    if (!long_first) endpoints.Add(2, "https://cdn.example/two");
    EXPECT_EQ(endpoints.Read("https://cdn.example/cat.jpg").account, 1);
    EXPECT_EQ(endpoints.Read("https://cdn.example/two/cat.jpg").account, 2);
    EXPECT_EQ(endpoints.Read("https://cdn.example/two/cat.jpg").path.FilePath(), "/cat.jpg");
    EXPECT_EQ(endpoints.Read("https://cdn.example/twofold/cat.jpg").account, 1);
  }
}

// With the shorter prefix alone its identifier would be a file's name, of the other account even.
TEST(UrlEndpoint, EndpointWithNothingBehindItIsNoPlainUrl) {
  EndpointMap endpoints;
  endpoints.Add(1, "https://ik.imagekit.io/acme");
  endpoints.Add(1, "https://ik.imagekit.io/acme/shop");
  endpoints.Add(2, "https://ik.imagekit.io/acme/v");
  int account;
  std::string_view path;
  for (const char* url :
       {"https://ik.imagekit.io/acme", "https://ik.imagekit.io/acme/shop", "https://ik.imagekit.io/acme/v"}) {
    EXPECT_FALSE(endpoints.ReadPlain(url, &account, &path)) << url;
    EXPECT_EQ(endpoints.Read(url).kind, UrlClass::kRefused) << url;
  }
  EXPECT_TRUE(endpoints.ReadPlain("https://ik.imagekit.io/acme/sho", &account, &path));
  EXPECT_TRUE(endpoints.ReadPlain("https://ik.imagekit.io/acme/shop/v", &account, &path));
  EXPECT_EQ(path, "/v");
}

TEST(UrlEndpoint, PortsAreComparedWhenTheyAreNotTheDefault) {
  EndpointMap endpoints;
  endpoints.Add(1, "http://cdn.example:8080/a");
  endpoints.Add(2, "https://cdn.example/a");
  endpoints.Add(3, "http://[::1]:9000");
  EXPECT_EQ(endpoints.Read("http://cdn.example:8080/a/x.jpg").account, 1);
  EXPECT_EQ(endpoints.Read("https://CDN.example:08080/a/x.jpg").account, 1);
  EXPECT_EQ(endpoints.Read("//cdn.example:8080/a/x.jpg").account, 1);
  EXPECT_EQ(endpoints.Read("http://cdn.example/a/x.jpg").account, 2);
  EXPECT_EQ(endpoints.Read("http://[::1]:9000/x.jpg").account, 3);
  for (const char* url :
       {"http://cdn.example:443/a/x.jpg", "https://cdn.example:80/a/x.jpg", "http://cdn.example:8081/a/x.jpg",
        "https://cdn.example:8443/a/x.jpg", "https://cdn.example:443x/a/x.jpg", "http://[::1]/x.jpg",
        "https://cdn.example:4 43/a/x.jpg", "https://cdn.example:-443/a/x.jpg"}) {
    EXPECT_EQ(endpoints.Read(url).kind, UrlClass::kForeign) << url;
    EXPECT_FALSE(endpoints.Owns(url)) << url;
  }
}

TEST(UrlEndpoint, ForeignUrls) {
  const EndpointMap endpoints = AcmeEndpoints();
  for (const char* url : {
           "",
           " ",
           "cat.jpg",
           "/acme/cat.jpg",
           "/",
           "//",
           "https://",
           "https:///acme/cat.jpg",
           "data:image/png;base64,AA",
           // another account, and prefixes that only begin alike
           "https://ik.imagekit.io/other/cat.jpg",
           "https://ik.imagekit.io/acmeX/cat.jpg",
           "https://ik.imagekit.io/acme-2/x.jpg",
           "https://ik.imagekit.io/acme.example/x.jpg",
           "https://ik.imagekit.io/Acme/cat.jpg",
           "https://ik.imagekit.io/acm",
           "https://ik.imagekit.io",
           "https://ik.imagekit.io/",
           "https://ik.imagekit.io/acme%20/cat.jpg",
           // hosts that only look alike
           "https://ik.imagekit.io.evil.example/acme/cat.jpg",
           "https://xik.imagekit.io/acme/cat.jpg",
           "https://ik.imagekit.iox/acme/cat.jpg",
           "https://ik-imagekit.io/acme/cat.jpg",
           "https://ik.imagekit.io../acme/cat.jpg",
           "https://evil.example/?u=https://ik.imagekit.io/acme/cat.jpg",
           "https://evil.example/https://img.acme.example/cat.jpg",
           "https://evil.example#@img.acme.example/cat.jpg",
           "https://evil.example\\@img.acme.example/cat.jpg",
           "https://img.acme.example@evil.example/cat.jpg",
           "https://x@img.acme.example@evil.example/cat.jpg",
           "https://img.acme.example:x@evil.example/cat.jpg",
           "https://imgxacme.example/cat.jpg",
           "https://\xC4\xB1mg.acme.example/cat.jpg",
           "https://img.acme.example%00/cat.jpg",
           // other schemes, and what only looks like one
           "ftp://img.acme.example/cat.jpg",
           "https:/img.acme.example/cat.jpg",
           "https:img.acme.example/cat.jpg",
           "xhttps://img.acme.example/cat.jpg",
           "https//img.acme.example/cat.jpg",
           "///img.acme.example/cat.jpg",
           "img.acme.example/cat.jpg",
           "see https://img.acme.example/cat.jpg",
           "\"https://img.acme.example/cat.jpg",
       }) {
    const UrlReading reading = endpoints.Read(url);
    EXPECT_EQ(reading.kind, UrlClass::kForeign) << url;
    EXPECT_EQ(reading.account, -1) << url;
    EXPECT_EQ(reading.reason, "") << url;
    EXPECT_FALSE(endpoints.Owns(url)) << url;
  }
}

TEST(UrlEndpoint, WithoutPrefixesEverythingIsForeign) {
  EXPECT_FALSE(EndpointMap().Owns("https://ik.imagekit.io/acme/cat.jpg"));
  EXPECT_EQ(EndpointMap().Read("https://ik.imagekit.io/acme/cat.jpg").kind, UrlClass::kForeign);
}

TEST(UrlEndpoint, AccountIdIsTheFirstSegmentOnImageKitsOwnHosts) {
  EXPECT_EQ(AccountIdOf("https://ik.imagekit.io/acme"), "acme");
  EXPECT_EQ(AccountIdOf("http://IK.ImageKit.io/acme/shop/"), "acme");
  EXPECT_EQ(AccountIdOf("https://ik.imgkit.net/acme?x"), "acme");
  EXPECT_EQ(AccountIdOf("https://images.acme.example/acme"), "");
  EXPECT_EQ(AccountIdOf("https://ik.imagekit.io.evil.example/acme"), "");
  EXPECT_EQ(AccountIdOf("https://ik.imagekit.io"), "");
  EXPECT_EQ(AccountIdOf("ik.imagekit.io/acme"), "");
  EXPECT_EQ(AccountIdOf("://"), "");
  EXPECT_EQ(AccountIdOf(""), "");
}

}  // namespace
}  // namespace imagekit
