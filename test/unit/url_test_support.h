// What the URL tests share: the configuration of the contract's test vectors, the vectors, and a seeded mutator.

#ifndef IMAGEKIT_TEST_URL_TEST_SUPPORT_H
#define IMAGEKIT_TEST_URL_TEST_SUPPORT_H

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/url.h"

namespace imagekit {

constexpr int kAcme = 7;

/// Section 9.10: account `acme` with the endpoints (default) and `shop`, a custom domain for the default endpoint that
/// reaches `shop` too, and one that is bound to `shop`.
inline const std::vector<std::string>& AcmePrefixes() {
  static const std::vector<std::string> prefixes = {
      "https://ik.imagekit.io/acme",   "https://ik.imagekit.io/acme/shop", "https://img.acme.example",
      "https://img.acme.example/shop", "https://shop-img.acme.example",
  };
  return prefixes;
}

inline EndpointMap AcmeEndpoints() {
  EndpointMap endpoints;
  for (const std::string& prefix : AcmePrefixes()) endpoints.Add(kAcme, prefix);
  return endpoints;
}

struct LibraryFileVector {
  std::string url;
  std::string folder;
  std::string name;
};

/// The library files of section 9.10, all of them.
inline const std::vector<LibraryFileVector>& LibraryFileVectors() {
  static const std::vector<LibraryFileVector> vectors = {
      {"https://ik.imagekit.io/acme/cat.jpg", "/", "cat.jpg"},
      {"https://ik.imagekit.io/acme/pets/cat.jpg?updatedAt=1700000000000", "/pets", "cat.jpg"},
      {"https://IK.ImageKit.io/acme/pets/Cat.JPG#x", "/pets", "Cat.JPG"},
      {"https://ik.imagekit.io/acme/shop/pets/cat.jpg", "/pets", "cat.jpg"},
      {"https://ik.imagekit.io/acme/shopping/cat.jpg", "/shopping", "cat.jpg"},
      {"https://img.acme.example/shop/cat.jpg", "/", "cat.jpg"},
      {"https://shop-img.acme.example/shop/cat.jpg", "/shop", "cat.jpg"},
      {"https://ik.imagekit.io/acme/tr:w-300,h-200:rt-90/pets/cat.jpg", "/pets", "cat.jpg"},
      {"https://ik.imagekit.io/acme/tr:n-card/pets/my%20cat.jpg", "/pets", "my cat.jpg"},
      {"https://ik.imagekit.io/acme/tr:l-image,ie-YWJj%2FZA==,l-end/cat.jpg", "/", "cat.jpg"},
      {"https://ik.imagekit.io/acme/tr:w-10,l-image,i-/logos/o.png,l-end/cat.jpg", "/", "cat.jpg"},
      {"https://ik.imagekit.io/acme/ik-seo/pets/IMG_1/nice-cat.jpg", "/pets", "IMG_1.jpg"},
      {"https://ik.imagekit.io/acme/ik-seo/tr:w-9/IMG_1/nice.webp", "/", "IMG_1.webp"},
      {"https://ik.imagekit.io/acme/tr:w-9/ik-seo/IMG_1/nice.webp", "/", "IMG_1.webp"},
      {"https://ik.imagekit.io/acme/v/clip.mp4/ik-thumbnail.jpg?tr=so-5", "/v", "clip.mp4"},
      {"https://ik.imagekit.io/acme/v/clip.mov/ik-video.mp4/ik-thumbnail.jpg", "/v", "clip.mov"},
      {"https://ik.imagekit.io/acme/v/clip.mp4/ik-master.m3u8?tr=sr-240_480", "/v", "clip.mp4"},
      {"https://ik.imagekit.io/acme/a.gif/ik-gif-video.mp4", "/", "a.gif"},
      {"https://ik.imagekit.io/acme/caf%C3%A9.jpg", "/", "caf\xC3\xA9.jpg"},
      {"https://ik.imagekit.io/acme/a+b.jpg", "/", "a+b.jpg"},
      {"https://ik.imagekit.io/acme/50%2525.jpg", "/", "50%25.jpg"},
      {"https://ik.imagekit.io/acme/uploads/3fk2q9", "/uploads", "3fk2q9"},
  };
  return vectors;
}

/// The other URLs of section 9.10.
inline const std::vector<std::string>& OtherVectors() {
  static const std::vector<std::string> vectors = {
      "https://ik.imagekit.io/acme/a%2Fb.jpg",
      "https://ik.imagekit.io/acme/pets/",
      "https://ik.imagekit.io/acme/../other/cat.jpg",
      "https://ik.imagekit.io/acme/ik-seo/cat.jpg",
      "https://ik.imagekit.io/acme/tr:w-1,l-image,i-/x/cat.jpg",
      "https://ik.imagekit.io/acme/https://else.example/cat.jpg",
      "https://ik.imagekit.io/acme/https%3A%2F%2Felse.example%2Fcat.jpg",
      "https://ik.imagekit.io/acme/ik-genimg-prompt-a%20cat/gen/cat.jpg",
      "https://ik.imagekit.io/other/cat.jpg",
      "https://ik.imagekit.io.evil.example/acme/cat.jpg",
      "https://evil.example/?u=https://ik.imagekit.io/acme/cat.jpg",
  };
  return vectors;
}

/// Damages texts the way real data is damaged, and worse. The same seed gives the same texts on every platform: only
/// the engine's raw numbers are used, because the distributions of <random> differ between libraries.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  size_t Below(size_t limit) { return static_cast<size_t>(random_() % limit); }

  const std::string& OneOf(const std::vector<std::string>& texts) { return texts[Below(texts.size())]; }

  std::string Bytes(size_t at_most) {
    std::string bytes(Below(at_most + 1), '\0');
    for (char& c : bytes) c = static_cast<char>(random_());
    return bytes;
  }

  /// One to four changes: a piece with a meaning, or any byte, is put in, put over or taken out.
  std::string Mutate(std::string text) {
    static const std::vector<std::string> kPieces = {
        "/",
        "//",
        "\\",
        "%",
        "%2F",
        "%2f",
        "%2e",
        "..",
        ".",
        "?",
        "#",
        "@",
        ":",
        ":443",
        " ",
        "\t",
        "\n",
        "\"",
        "'",
        "<",
        ">",
        "`",
        "(",
        ")",
        "[",
        "]",
        ",",
        ";",
        "|",
        "&amp;",
        "&#39;",
        "&quot;",
        "tr:w-1",
        "tr%3A",
        "l-image",
        "l-end",
        "ik-seo",
        "ik-thumbnail.jpg",
        "ik-video.mp4",
        "ik-master.m3u8",
        "ik-new.jpg",
        "ik-genimg-prompt-x",
        "https://",
        "http://",
        "https:",
        "//ik.imagekit.io",
        "acme",
        "shop",
        "img.acme.example",
        "/acme/",
        "/shop/",
        "cat.jpg",
        ".jpg",
        "\xC3\xA9",
        "%C3%A9",
        "\xFF",
        "%FF",
        "%00",
        "%C0%AF",
        "\xE2\x80\x9D",
        "ik-obj-version=1",
        " 2x",
        " 300w, ",
        "+",
        "*",
        "{",
        "}",
        "=",
        "x",
    };
    for (size_t rounds = 1 + Below(4); rounds > 0; --rounds) {
      const size_t at = Below(text.size() + 1);
      switch (Below(5)) {
        case 0:
          text.insert(at, OneOf(kPieces));
          break;
        case 1:
          text.replace(at, Below(4), OneOf(kPieces));
          break;
        case 2:
          text.erase(at, 1 + Below(5));
          break;
        case 3:
          text.insert(at, 1, static_cast<char>(random_()));
          break;
        default:
          if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1u << Below(8)));
          break;
      }
    }
    return text;
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace imagekit

#endif  // IMAGEKIT_TEST_URL_TEST_SUPPORT_H
