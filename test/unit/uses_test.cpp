// Proves that no use is overlooked when a library is compared with tables: what is sure, what is in doubt, and under which key.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/uses.h"
#include "url_test_support.h"

namespace imagekit {
namespace {

std::vector<Use> UsesOf(const std::string& url) {
  static const EndpointMap endpoints = AcmeEndpoints();
  UseReader reader;
  std::vector<Use> uses;
  reader.Read(endpoints, url, &uses);
  return uses;
}

bool Has(const std::vector<Use>& uses, UseKind kind, std::string_view key) {
  return std::any_of(uses.begin(), uses.end(),
                     [&](const Use& use) { return use.kind == kind && use.key == KeyOfPath(key); });
}

bool HasAny(const std::vector<Use>& uses, UseKind kind) {
  return std::any_of(uses.begin(), uses.end(), [&](const Use& use) { return use.kind == kind; });
}

TEST(Uses, OfAPlainUrlAreSureAndOne) {
  const std::vector<Use> uses = UsesOf("https://ik.imagekit.io/acme/pets/cat.jpg?updatedAt=1&x=2");
  ASSERT_EQ(uses.size(), 1u);
  EXPECT_TRUE(Has(uses, UseKind::kSure, "/pets/cat.jpg"));
}

TEST(Uses, WithTextBehindTheFileNameAreInDoubt) {
  for (const char* tail : {"\xC2\xA0"
                           "and",
                           "\xE5\x92\x8C", "\xE5\x92\x8C/more", "\xD0\xB8", "\xE3\x80\x82", "\xE2\x80\x9D",
                           "\\nNext line", "\xE2\x80\x8B x", "!", "...", ":", "*"}) {
    const std::vector<Use> uses = UsesOf(std::string("https://ik.imagekit.io/acme/pets/cat.jpg") + tail);
    EXPECT_FALSE(HasAny(uses, UseKind::kSure)) << tail;
    EXPECT_TRUE(Has(uses, UseKind::kPerhaps, "cat.jpg")) << tail;
  }
}

// Where a name has no extension, only both readings are enough.
TEST(Uses, AreFoundWithTheTextAndWithoutIt) {
  const std::vector<Use> uses = UsesOf("https://ik.imagekit.io/acme/3fk2q9\xE3\x80\x82next");
  EXPECT_TRUE(Has(uses, UseKind::kPerhaps, "3fk2q9"));
  EXPECT_TRUE(Has(uses, UseKind::kPerhaps, "3fk2q9\xE3\x80\x82next"));
  EXPECT_TRUE(Has(UsesOf("https://ik.imagekit.io/acme/v1.2 pets/cat.jpg"), UseKind::kPerhaps, "cat.jpg"));
  EXPECT_TRUE(Has(UsesOf("https://ik.imagekit.io/acme/v1.2\xE2\x80\x93pets/cat.jpg"), UseKind::kPerhaps, "cat.jpg"));
  EXPECT_TRUE(Has(UsesOf("https://ik.imagekit.io/acme/v1.2\xE2\x80\x93pets/cat.jpg"), UseKind::kPerhaps, "v1.2"));
}

TEST(Uses, OfATransformationAreInDoubt) {
  struct Case {
    const char* url;
    std::vector<std::string> names;
  } cases[] = {
      {"/cat.jpg?tr=l-image,i-v0.jpg,l-end", {"v0.jpg"}},
      {"/cat.jpg?x=1&tr=w-1,l-image,i-v0.jpg,w-9,l-end:rt-90,l-image,i-v1.jpg,l-end", {"v0.jpg", "v1.jpg"}},
      {"/cat.jpg?x=1&amp;tr=l-image,i-v0.jpg,l-end", {"v0.jpg"}},
      {"/tr:l-image,i-folder@@v1.jpg,l-end/cat.jpg", {"v1.jpg"}},
      {"/tr:l-image,i-/logos/v1.jpg,l-end/cat.jpg", {"v1.jpg"}},
      {"/tr:l-image,i-/logos/trees/trunk.jpg,l-end/cat.jpg", {"trunk.jpg"}},
      {"/tr:l-image,i-a.png,l-image,i-b.png,l-text,i-hi,l-end,l-end,l-end/cat.jpg", {"a.png", "b.png"}},
      {"/tr:w-1/tr:di-default.jpg/cat.jpg", {"default.jpg"}},
      {"/tr:w-1,oi-v2.jpg,ox-1/cat.jpg", {"v2.jpg"}},
      {"/tr:l-image,ie-Zm9sZGVyL3YzLmpwZw%3D%3D,l-end/cat.jpg", {"v3.jpg"}},
      {"/tr:l-image,ie-Zm9sZGVyL3YzLmpwZw,l-end/cat.jpg", {"v3.jpg"}},
      {"/cat.jpg?tr=l-image%2Ci-my%20v4.jpg%2Cl-end", {"my v4.jpg"}},
      {"/cat.jpg?tr=l-image,i-a%2Cb.jpg,l-end", {"a,b.jpg"}},
      {"/cat.jpg?tr=l-text,i-x,ff-fonts@@f.ttf,l-end", {"f.ttf"}},
  };
  for (const Case& one : cases) {
    const std::vector<Use> uses = UsesOf(std::string("https://ik.imagekit.io/acme") + one.url);
    if (std::string_view(one.url).find("&amp;") == std::string_view::npos) {
      EXPECT_TRUE(Has(uses, UseKind::kSure, "/cat.jpg")) << one.url;
    }
    for (const std::string& name : one.names) EXPECT_TRUE(Has(uses, UseKind::kPerhaps, name)) << one.url << " " << name;
  }
  EXPECT_FALSE(Has(UsesOf("https://ik.imagekit.io/acme/cat.jpg?tr=l-text,i-hi,l-end"), UseKind::kPerhaps, "hi"));
}

// $ is our prefix. All of the files must be in doubt, or sure.
TEST(Uses, WithAnythingBehindOrBetweenThemAreFound) {
  struct Case {
    std::string text;
    std::vector<std::string> names;
  } cases[] = {
      {"[url=$/a.jpg]full size[/url]", {"a.jpg"}},
      {"[quote=$/a.jpg;1]x[/quote]", {"a.jpg"}},
      {"1,$/a.jpg,Cat,2", {"a.jpg"}},
      {"$/a.jpg,Cat", {"a.jpg"}},
      {"$/a.jpg|1|$/x.jpg|2", {"a.jpg", "x.jpg"}},
      {"{$/a.jpg,NULL}", {"a.jpg"}},
      {"Image(x=1,url=$/a.jpg,y=2)", {"a.jpg"}},
      {"(1,$/a.jpg,foo)", {"a.jpg"}},
      {"<$/a.jpg|my cat>", {"a.jpg"}},
      {"[[$/a.jpg][caption]]", {"a.jpg"}},
      {"image::$/a.jpg[Alt text]", {"a.jpg"}},
      {"!$/a.jpg|width=300!", {"a.jpg"}},
      {"{{$/a.jpg|a caption}}", {"a.jpg"}},
      {"!$/a.jpg(alt)!", {"a.jpg"}},
      {"/_next/image?url=$/a.jpg&w=640&q=75", {"a.jpg"}},
      {"$/a.jpg;jsessionid=1", {"a.jpg"}},
      {"\u770b $/a.jpg,\u5f88\u597d", {"a.jpg"}},
      {"\u56fe'$/a.jpg'\u5f88", {"a.jpg"}},
      {"see **$/a.jpg**and more", {"a.jpg"}},
      {"$/a.jpg...and", {"a.jpg"}},
      {"see _$/a.jpg_", {"a.jpg"}},
      {"<img src='$/a.jpg'class=x>", {"a.jpg"}},
      {"$/ik-seo/IMG/nice.jpg|caption", {"IMG.jpg"}},
      {"$/x.jpg?tr=w-1,di-d.jpg|caption", {"x.jpg", "d.jpg"}},
      {"$/a.jfif\u5f88\u597d", {"a.jfif"}},
      {"$/\u65e5\u672c.jpg|x", {"\u65e5\u672c.jpg"}},
      {R"({"text":"see $/x.jpg\n$/a.jpg\nthanks"})", {"x.jpg", "a.jpg"}},
      {R"($/1.jpg\n$/2.jpg\n$/3.jpg)", {"1.jpg", "2.jpg", "3.jpg"}},
      {R"({"h":"\u003cp\u003e$/x.jpg\u003c/p\u003e\u003cp\u003e$/a.jpg\u003c/p\u003e"})", {"x.jpg", "a.jpg"}},
      {R"(\u0022$/a.jpg\u0022,\u0022$/b.jpg\u0022,\u0022$/c.jpg\u0022)", {"a.jpg", "b.jpg", "c.jpg"}},
      {"[url=$/big.jpg][img]$/a.jpg[/img][/url]", {"big.jpg", "a.jpg"}},
      {"[https://www.example.com]($/a.jpg)", {"a.jpg"}},
      {"[$/full.jpg]($/thumb.jpg)", {"full.jpg", "thumb.jpg"}},
      {"[$/a.jpg](https://www.example.com)", {"a.jpg"}},
      {"$/a.jpg~$/x.jpg", {"a.jpg", "x.jpg"}},
      {"$/x.jpg#$/a.jpg", {"a.jpg", "x.jpg"}},
      {"$/x.jpg%20$/a.jpg%2C$/b.jpg%0A$/c.jpg", {"x.jpg", "a.jpg", "b.jpg", "c.jpg"}},
      {"$/a.jpg$/b.jpg", {"b.jpg"}},
      {"$/a.jpg?v=1\u548c$/b.jpg", {"a.jpg", "b.jpg"}},
      {"//ik.imagekit.io/acme/a.jpg,//ik.imagekit.io/acme/b.jpg", {"a.jpg", "b.jpg"}},
      {"<p>&ldquo;$/a.jpg&rdquo;</p>", {"a.jpg"}},
      {"<p>&#8220;$/a.jpg&#8221;</p>", {"a.jpg"}},
      {"&lt;img src=&#034;$/a.jpg&#034;&gt;", {"a.jpg"}},
      {"&amp;quot;$/a.jpg&amp;quot;", {"a.jpg"}},
      {"$/caf&#233;.jpg", {"caf\u00e9.jpg"}},
      {"$/p&#x2f;a.jpg", {"a.jpg"}},
      {R"({"u":"$/caf\u00e9.jpg"})", {"caf\u00e9.jpg"}},
      {R"({"u":"$/\ud83d\ude00.jpg"})", {"\xF0\x9F\x98\x80.jpg"}},
      {R"(![x]($/a\_b.jpg))", {"a_b.jpg"}},
      {R"({"u":"$/x.jpg?v=1\u0026tr=l-image,i-a,l-end"})", {"a"}},
      {"$/x.jpg?v=1&#038;tr=l-image,i-a,l-end", {"a"}},
      {"$/x.jpg?tr=l-image,i-https://ik.imagekit.io/acme/a.jpg,l-end", {"a.jpg", "x.jpg"}},
      {"$/tr%3Adi%2Da.jpg/x.jpg", {"a.jpg"}},
      {"$/x.jpg?tr=l-image%252Ci-a.jpg", {"a.jpg"}},
      {"$/tr:l-image,ie-bG9nb3MlMkZhLmpwZw,l-end/x.jpg", {"a.jpg"}},
      {"$/x.jpg?tr=w-1,%20di-d.jpg", {"d.jpg"}},
      {"$/tr:l-image,i-logo.png%3Fv=1,l-end/x.jpg", {"logo.png"}},
      {"$/a.jpg/tr:w-300", {"a.jpg"}},
      {"$/a.jpg/tr:w-10/ik-thumbnail.jpg", {"a.jpg"}},
      {"https://www.example.com/img?url=$/a.jpg", {"a.jpg"}},
      {"$/x.jpg?fallback=$/a.jpg", {"x.jpg", "a.jpg"}},
      {"https://www.example.com/img?url=$/a.jpg&alt=$/noext", {"a.jpg", "noext"}},
  };
  for (const Case& one : cases) {
    std::string text = one.text;
    for (size_t at = 0; (at = text.find('$', at)) != std::string::npos;)
      text.replace(at, 1, "https://ik.imagekit.io/acme");
    std::vector<Use> uses;
    UrlScanner urls(text);
    for (std::string_view url; urls.Next(&url);) UseReader().Read(AcmeEndpoints(), url, &uses);
    for (const std::string& name : one.names)
      EXPECT_TRUE(Has(uses, UseKind::kPerhaps, name) || Has(uses, UseKind::kSure, "/" + name)) << text << " " << name;
  }
}

}  // namespace
}  // namespace imagekit
