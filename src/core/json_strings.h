// The strings of a JSON text, each with the path that leads to it.
//
// For telling where in a document something stands. It reads what PostgreSQL has accepted as json or prints of a jsonb, and has
// none of its parser's limits: no depth is too deep, no escape impossible.

#ifndef IMAGEKIT_CORE_JSON_STRINGS_H
#define IMAGEKIT_CORE_JSON_STRINGS_H

#include <string>
#include <string_view>
#include <vector>

namespace imagekit {

/// One step into a document: a key, or every element of an array.
struct JsonStep {
  bool element = false;
  std::string key;
};
using JsonPath = std::vector<JsonStep>;

/// As in a source of imagekit.watch(): "gallery[*].src", with names in double quotes where they need them.
std::string FormatJsonPath(const JsonPath& path);

class JsonStrings {
 public:
  explicit JsonStrings(std::string_view json) noexcept : json_(json) {}

  /// The next string; false at the end, or at what cannot be JSON: then failed().
  bool Next();
  bool failed() const noexcept { return failed_; }

  /// Unescaped, as UTF-8; "?" for what is no character.
  const std::string& value() const noexcept { return value_; }
  /// It is the name of an object's member, not its value.
  bool is_key() const noexcept { return is_key_; }
  /// Where it stands; of a key: where the member's value does.
  const JsonPath& path() const noexcept { return path_; }
  /// Is it at the path, or below?
  bool IsUnder(const JsonPath& path) const noexcept;

 private:
  bool ReadString();
  bool Fail() noexcept;

  std::string_view json_;
  size_t position_ = 0;
  bool failed_ = false;
  bool is_key_ = false;
  bool expect_key_ = false;
  std::string value_;
  JsonPath path_;  // a step for each container that is open
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_JSON_STRINGS_H
