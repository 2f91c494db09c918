#include "core/file_names.h"

#include <algorithm>
#include <cstring>

#include "core/path_key.h"
#include "core/url_parts.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

/// ImageKit allows shorter ones; escaped, they may be three times as long.
constexpr size_t kLongestName = 8192;

uint64_t HashOf(std::string_view name) noexcept {
  const PathKey key = KeyOfPath(name);
  uint64_t hash;
  std::memcpy(&hash, key.data(), sizeof hash);
  return hash;
}

std::string_view WithoutSlashes(std::string_view path) noexcept {
  path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()));
  return path;
}

std::string_view Trimmed(std::string_view text) noexcept {
  constexpr char kWhite[] = " \t\r\n\f\v";
  const size_t begin = text.find_first_not_of(kWhite);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhite) + 1 - begin);
}

}  // namespace

void FileNames::Add(int account, std::string_view path, std::string_view file_id) {
  names_.push_back({HashOf(WithoutSlashes(path)), account});
  if (!file_id.empty()) names_.push_back({HashOf(file_id), account});
}

void FileNames::Sort() {
  std::sort(names_.begin(), names_.end(), [](const Name& a, const Name& b) { return a.hash < b.hash; });
}

int FileNames::Find(std::string_view value) const {
  if (names_.empty() || value.size() > kLongestName) return kNoAccount;
  const std::string_view whole = WithoutSlashes(Trimmed(value));
  if (whole.empty()) return kNoAccount;
  int account = FindExactly(whole);
  // A name may hold these characters, so as it stands comes first.
  const std::string_view path = whole.substr(0, whole.find_first_of("?#"));
  if (account == kNoAccount && path.size() < whole.size()) account = FindExactly(path);
  if (account == kNoAccount && path.find('%') != std::string_view::npos) account = FindExactly(Decode(path));
  return account;
}

int FileNames::FindExactly(std::string_view name) const noexcept {
  const uint64_t hash = HashOf(name);
  const auto found =
      std::lower_bound(names_.begin(), names_.end(), hash, [](const Name& a, uint64_t b) { return a.hash < b; });
  return found != names_.end() && found->hash == hash ? found->account : kNoAccount;
}

}  // namespace imagekit
