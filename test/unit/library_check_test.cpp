// Proves that a library is taken for the account's own only by a URL under the account's prefixes.

#include "core/library_check.h"

#include <gtest/gtest.h>

namespace imagekit {
namespace {

FoundFile File(const std::string& url, const std::string& path) {
  FoundFile file;
  file.url = url;
  file.file_path = path;
  return file;
}

const std::vector<std::string> kAcme = {"https://ik.imagekit.io/acme", "https://img.acme.example"};

TEST(LibraryCheck, AnyPrefixOfTheAccountWillDo) {
  EXPECT_TRUE(IsInLibrary(kAcme, File("https://ik.imagekit.io/acme/a/b.jpg?updatedAt=1", "/a/b.jpg")));
  EXPECT_TRUE(IsInLibrary(kAcme, File("https://img.acme.example/a/my%20cat.jpg", "/a/my cat.jpg")));
}

TEST(LibraryCheck, AnotherAccountsWillNot) {
  for (const char* url : {"https://ik.imagekit.io/other/b.jpg", "https://ik.imagekit.io/acmecorp/b.jpg",
                          "https://ik.imagekit.io.example.com/acme/b.jpg", "https://example.com/b.jpg", ""})
    EXPECT_FALSE(IsInLibrary(kAcme, File(url, "/b.jpg"))) << url;
}

// With a folder in the prefix every URL would be read as the like-named file further up.
TEST(LibraryCheck, AFolderIsNoPrefix) {
  const FoundFile file = File("https://ik.imagekit.io/acme/shop/b.jpg", "/shop/b.jpg");
  EXPECT_FALSE(IsInLibrary({"https://ik.imagekit.io/acme/shop"}, file));
  EXPECT_EQ(LibraryPrefix(file), "https://ik.imagekit.io/acme");
  // With the library's own prefix beside it, both readings of a row's URL are looked up.
  EXPECT_TRUE(IsInLibrary({"https://ik.imagekit.io/acme/shop", "https://ik.imagekit.io/acme"}, file));
}

TEST(LibraryCheck, ANameThatNoUrlCarriesTellsNothing) {
  EXPECT_TRUE(IsInLibrary(kAcme, File("https://ik.imagekit.io/acme/a b.jpg", "/a b.jpg")));
  EXPECT_TRUE(IsInLibrary(kAcme, File("https://ik.imagekit.io/acme/ik-seo/x.jpg", "/ik-seo/x.jpg")));
  EXPECT_TRUE(IsInLibrary(kAcme, File("https://ik.imagekit.io/acme/tr:w-1/x.jpg", "/tr:w-1/x.jpg")));
}

TEST(LibraryCheck, NamesThePrefixThatIsMissing) {
  EXPECT_EQ(LibraryPrefix(File("https://ik.imagekit.io/other/a/b%20c.jpg?updatedAt=1#x", "/a/b c.jpg")),
            "https://ik.imagekit.io/other");
  EXPECT_EQ(LibraryPrefix(File("https://img.example/b.jpg", "/b.jpg")), "https://img.example");
  EXPECT_EQ(LibraryPrefix(File("https://img.example", "/a/b/c.jpg")), "https://img.example");
  EXPECT_EQ(LibraryPrefix(File("", "/b.jpg")), "");
  EXPECT_LE(LibraryPrefix(File("https://" + std::string(5000, 'x') + "/b.jpg", "/b.jpg")).size(), 150U);
}

}  // namespace
}  // namespace imagekit
