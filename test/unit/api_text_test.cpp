// Proves that text from outside comes out as short, one-line, valid UTF-8, and that secrets do not come out at all.

#include "core/api_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace imagekit {
namespace {

TEST(ApiText, WellFormedUtf8IsToldFromTheRest) {
  for (const char* good : {"", "abc", "\xC2\x80", "\xC3\xA9", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2 ", "\xE0\x9F\xBF", "\xE2\x82",
                          "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x90\x80", "\xF4\x90\x80\x80",
                          "\xF5\x80\x80\x80", "\xFE", "\xFF", "a\xFF"}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  }
}

// Without a terminator behind it, so that a sanitizer sees a byte too far.
TEST(ApiText, CharacterCutOffByTheEndIsNotReadBeyondIt) {
  for (const std::string text : {"a\xC3", "\xE2\x82", "\xF0\x90\x80", "\xF4"}) {
    const std::vector<char> bytes(text.begin(), text.end());
    const std::string_view view(bytes.data(), bytes.size());
    EXPECT_FALSE(IsUtf8(view));
    EXPECT_EQ(CleanText(view, 100).find_first_not_of("a?"), std::string::npos);
  }
  const std::string joined = "\xC3\xA9";
  EXPECT_EQ(CleanText(std::string_view(joined).substr(0, 1), 100), "?") << "the next byte would have completed it";
}

TEST(ApiText, CleanTextReplacesWhatCannotBeKept) {
  EXPECT_EQ(CleanText("a\r\nb\tc\x7F"
                      "d",
                      100),
            "a  b c d");
  EXPECT_EQ(CleanText(std::string_view("a\0b", 3), 100), "a b");
  EXPECT_EQ(CleanText("a\xC2\x85"
                      "b\xE2\x80\xA8"
                      "c",
                      100),
            "a b c");
  EXPECT_EQ(CleanText("\xC3\xA9\xFF\xE2\x82", 100), "\xC3\xA9???");
  EXPECT_EQ(CleanText("\xC0\xAF", 100), "??");
}

TEST(ApiText, CleanTextCutsBetweenCharacters) {
  const std::string euros = "\xE2\x82\xAC\xE2\x82\xAC";
  EXPECT_EQ(CleanText(euros, 6), euros);
  EXPECT_EQ(CleanText(euros, 5), "\xE2\x82\xAC");
  EXPECT_EQ(CleanText(euros, 2), "");
}

TEST(ApiText, CleanTextOfRandomBytesIsValidAndShort) {
  std::mt19937 random(9);
  for (int round = 0; round < 5000; ++round) {
    std::string text(random() % 700, ' ');
    for (char& c : text) c = static_cast<char>(random() % 3 == 0 ? random() : 0xC0 + random() % 64);
    const std::string clean = CleanText(text, kMaxDetailBytes);
    EXPECT_TRUE(IsUtf8(clean));
    EXPECT_LE(clean.size(), kMaxDetailBytes);
    for (const char c : clean) EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20 || c == 0x7F);
    EXPECT_EQ(CleanText(clean, kMaxDetailBytes), clean);
  }
}

TEST(ApiText, SecretsAreHiddenEverywhere) {
  EXPECT_EQ(HideSecrets("key=abc, again abcabc", {"abc"}), "key=***, again ******");
  EXPECT_EQ(HideSecrets("x * y", {"*"}), "x *** y");
  EXPECT_EQ(HideSecrets("nothing", {"", "abc"}), "nothing");
}

TEST(ApiText, Base64PadsToFour) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Base64("\xFF\xEF\xBE"), "/+++");
}

TEST(ApiText, PercentEncodingLeavesOnlyUnreservedCharacters) {
  EXPECT_EQ(PercentEncode("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(PercentEncode("a b+c/d\"\xC3\xA9%"), "a%20b%2Bc%2Fd%22%C3%A9%25");
  EXPECT_EQ(PercentEncode(std::string_view("\0\n", 2)), "%00%0A");
}

}  // namespace
}  // namespace imagekit
