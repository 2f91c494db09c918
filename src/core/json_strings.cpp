// JsonStrings: a walk over the tokens of a JSON text that is known to be valid.

#include "core/json_strings.h"

#include <algorithm>

#include "core/unicode.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

char Unescaped(char c) noexcept {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;
  }
}

void AppendName(std::string* text, std::string_view name) {
  const bool quote = name.empty() || name.find_first_of(".[:\"") != std::string_view::npos;
  if (quote) *text += '"';
  for (char c : name) {
    if (c == '"') *text += '"';
    *text += c;
  }
  if (quote) *text += '"';
}

}  // namespace

std::string FormatJsonPath(const JsonPath& path) {
  std::string text;
  for (const JsonStep& step : path) {
    if (step.element) {
      text += "[*]";
      continue;
    }
    if (!text.empty()) text += '.';
    AppendName(&text, step.key);
  }
  return text;
}

bool JsonStrings::Fail() noexcept {
  failed_ = true;
  return false;
}

/// From behind the opening quote to behind the closing one.
bool JsonStrings::ReadString() {
  value_.clear();
  for (;;) {
    const size_t plain = json_.find_first_of("\"\\", position_);
    if (plain == std::string_view::npos) return Fail();
    value_.append(json_.substr(position_, plain - position_));
    position_ = plain + 1;
    if (json_[plain] == '"') return true;
    if (position_ >= json_.size()) return Fail();
    const char escape = json_[position_++];
    if (escape != 'u') {
      value_ += Unescaped(escape);
      continue;
    }
    char32_t code = 0;
    const size_t size = ReadUnicodeEscape(json_, position_, &code);
    if (size == 0) return Fail();
    position_ += size;
    AppendUtf8(&value_, code);
  }
}

bool JsonStrings::Next() {
  while (!failed_ && position_ < json_.size()) {
    switch (json_[position_++]) {
      case '{':
        path_.push_back(JsonStep{false, {}});
        expect_key_ = true;
        break;
      case '[':
        path_.push_back(JsonStep{true, {}});
        expect_key_ = false;
        break;
      case '}':
      case ']':
        if (path_.empty()) return Fail();
        path_.pop_back();
        expect_key_ = false;
        break;
      case ',':
        if (path_.empty()) return Fail();
        expect_key_ = !path_.back().element;
        break;
      case '"':
        if (!ReadString()) return false;
        is_key_ = expect_key_;
        if (expect_key_) {
          path_.back().key = value_;
          expect_key_ = false;
        }
        return true;
      default:  // white space, a colon, numbers and words
        break;
    }
  }
  return path_.empty() ? false : Fail();
}

bool JsonStrings::IsUnder(const JsonPath& path) const noexcept {
  return path.size() <= path_.size() &&
         std::equal(path.begin(), path.end(), path_.begin(), [](const JsonStep& a, const JsonStep& b) {
           return a.element == b.element && (a.element || a.key == b.key);
         });
}

}  // namespace imagekit
