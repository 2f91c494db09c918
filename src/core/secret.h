// Keys in memory: what of them a core dump may show is as little and as short-lived as can be.
//
// At rest a key is masked; it stands in the open while a request is being made and sent, and what it stood in is wiped
// when it is freed, libcurl's own buffers included. Not covered: a crash in the middle of a request, and the copies that
// nghttp2 makes for HTTP/2.

#ifndef IMAGEKIT_CORE_SECRET_H
#define IMAGEKIT_CORE_SECRET_H

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace imagekit {

void WipeMemory(void* bytes, size_t size) noexcept;

template <typename T>
struct WipingAllocator : std::allocator<T> {
  WipingAllocator() noexcept = default;
  template <typename U>
  WipingAllocator(const WipingAllocator<U>&) noexcept {}
  template <typename U>
  struct rebind {
    using other = WipingAllocator<U>;
  };
  void deallocate(T* at, size_t count) noexcept {
    WipeMemory(at, count * sizeof(T));
    std::allocator<T>::deallocate(at, count);
  }
};

/// A text that leaves nothing behind. Texts so short that a string keeps them in itself (below 16 bytes) are no keys.
using SecretText = std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;

inline std::string_view View(const SecretText& text) noexcept { return {text.data(), text.size()}; }

/// A secret at rest.
class MaskedSecret {
 public:
  explicit MaskedSecret(std::string_view secret);
  SecretText Reveal() const;

 private:
  std::string pad_;
  std::string masked_;
};

/// What libcurl allocates through curl_global_init_mem(): wiped when freed. Each as in <stdlib.h> and <string.h>.
void* WipingMalloc(size_t size) noexcept;
void* WipingCalloc(size_t count, size_t size) noexcept;
void* WipingRealloc(void* old, size_t size) noexcept;
char* WipingStrdup(const char* text) noexcept;
void WipingFree(void* at) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_SECRET_H
