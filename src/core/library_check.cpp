// Compares a file's URL with the configured prefixes.

#include "core/library_check.h"

#include <algorithm>

#include "core/api_text.h"
#include "core/url.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr size_t kMaxPrefixBytes = 150;  // of what goes into messages

std::string Prefix(const FoundFile& file) {
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
  return url;
}

}  // namespace

bool IsInLibrary(const std::vector<std::string>& prefixes, const FoundFile& file) {
  EndpointMap map;
  for (const std::string& prefix : prefixes) map.Add(0, prefix);
  // Not the file's own name, which may be one that no URL can carry.
  return map.Read(Prefix(file) + "/x.jpg").kind == UrlClass::kLibraryFile;
}

std::string LibraryPrefix(const FoundFile& file) { return CleanText(Prefix(file), kMaxPrefixBytes); }

}  // namespace imagekit
