// Which URL is purged for which: section 6.3 of the API contract.

#include "core/purge_url.h"

#include <gtest/gtest.h>

namespace imagekit {
namespace {

TEST(PurgeUrl, DropsQueryAndFragmentAndTakesWhatContinuesTheFile) {
  EXPECT_EQ(PurgeUrl("https://ik.imagekit.io/acme/pets/cat.jpg"), "https://ik.imagekit.io/acme/pets/cat.jpg*");
  EXPECT_EQ(PurgeUrl("https://ik.imagekit.io/acme/cat.jpg?tr=w-300&updatedAt=1"),
            "https://ik.imagekit.io/acme/cat.jpg*");
  EXPECT_EQ(PurgeUrl("https://ik.imagekit.io/acme/cat.jpg#a?b"), "https://ik.imagekit.io/acme/cat.jpg*");
}

TEST(PurgeUrl, KeepsATransformationBeforeTheFile) {
  EXPECT_EQ(PurgeUrl("https://ik.imagekit.io/acme/tr:w-300/cat.jpg"), "https://ik.imagekit.io/acme/tr:w-300/cat.jpg*");
}

TEST(PurgeUrl, NoStarWhereTheServiceWouldRefuseIt) {
  EXPECT_EQ(PurgeUrl("https://ik.imagekit.io/acme/cat"), "https://ik.imagekit.io/acme/cat");
  EXPECT_EQ(PurgeUrl("https://ik.imagekit.io/acme/.jpg"), "https://ik.imagekit.io/acme/.jpg");
  EXPECT_EQ(PurgeUrl("https://ik.imagekit.io/acme/cat."), "https://ik.imagekit.io/acme/cat.");
  EXPECT_EQ(PurgeUrl("https://ik.imagekit.io/acme/v1.2/cat"), "https://ik.imagekit.io/acme/v1.2/cat");
}

TEST(PurgeUrl, AnyBytes) {
  EXPECT_EQ(PurgeUrl(""), "");
  EXPECT_EQ(PurgeUrl("?"), "");
  EXPECT_EQ(PurgeUrl("/"), "/");
}

}  // namespace
}  // namespace imagekit
