#include "core/purge_url.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

/// "cat.jpg", not "cat", ".jpg" or "cat.": what the service calls a complete file path with extension.
bool HasExtension(std::string_view name) noexcept {
  const size_t dot = name.rfind('.');
  return dot != std::string_view::npos && dot > 0 && dot + 1 < name.size();
}

}  // namespace

std::string PurgeUrl(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  std::string purged(url);
  // The other two rules (levels, length) are about what follows host and endpoint identifier; they are not relied on.
  if (HasExtension(url.substr(url.rfind('/') + 1))) purged += '*';
  return purged;
}

}  // namespace imagekit
