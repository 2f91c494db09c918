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
  EXPECT_FALSE(
      Has(UsesOf("https://ik.imagekit.io/acme/cat.jpg?tr=l-text,i-hi.jpg,l-end"), UseKind::kPerhaps, "hi.jpg"));
}

}  // namespace
}  // namespace imagekit
