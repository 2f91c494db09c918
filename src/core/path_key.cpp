#include "core/path_key.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "core/core_only.h"

namespace imagekit {

PathKey KeyOfPath(std::string_view path) noexcept {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(path.data(), path.size()));
  PathKey key;
  static_assert(sizeof canonical.digest == sizeof key, "128 bits");
  std::memcpy(key.data(), canonical.digest, sizeof key);
  return key;
}

}  // namespace imagekit
