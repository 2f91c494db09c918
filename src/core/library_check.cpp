// Compares a file's URL with the configured prefixes.

#include "core/library_check.h"

#include <algorithm>

#include "core/api_text.h"
#include "core/url.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr size_t kMaxPrefixBytes = 150;  // of what goes into messages

bool EndsWith(const std::string& text, const std::string& end) noexcept {
  return text.size() > end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

bool IsInLibrary(const std::vector<std::string>& prefixes, const FoundFile& file) {
  EndpointMap map;
  for (const std::string& prefix : prefixes) map.Add(0, prefix);
  const UrlReading reading = map.Read(file.url);
  if (reading.kind == UrlClass::kForeign) return false;
  // A name that the grammar of URLs cannot carry tells nothing about the prefix.
  if (reading.kind != UrlClass::kLibraryFile) return true;
  const auto same = [&](const LibraryPath& path) { return path.FilePath() == file.file_path; };
  if (same(reading.path) || std::any_of(reading.other_readings.begin(), reading.other_readings.end(), same))
    return true;
  return !EndsWith(file.file_path, reading.path.FilePath());
}

std::string LibraryPrefix(const FoundFile& file) {
  std::string url = file.url.substr(0, file.url.find_first_of("?#"));
  const size_t scheme = url.find("://");
  if (scheme == std::string::npos) return "";
  const size_t host_end = std::min(url.find('/', scheme + 3), url.size());
  // By segments: the two spell the same name differently.
  for (auto slashes = std::count(file.file_path.begin(), file.file_path.end(), '/'); slashes > 0; --slashes) {
    const size_t slash = url.rfind('/');
    if (slash == std::string::npos || slash < host_end) break;
    url.resize(slash);
  }
  return CleanText(url, kMaxPrefixBytes);
}

}  // namespace imagekit
