// Masking, and memory that is wiped when it is freed.

#include "core/secret.h"

#include <malloc.h>
#include <string.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "core/core_only.h"

namespace imagekit {

void WipeMemory(void* bytes, size_t size) noexcept { explicit_bzero(bytes, size); }

MaskedSecret::MaskedSecret(std::string_view secret) {
  std::random_device random;
  pad_.reserve(secret.size());
  masked_.reserve(secret.size());
  for (const char c : secret) {
    const auto pad = static_cast<unsigned char>(random());
    pad_ += static_cast<char>(pad);
    masked_ += static_cast<char>(static_cast<unsigned char>(c) ^ pad);
  }
}

SecretText MaskedSecret::Reveal() const {
  SecretText secret;
  secret.reserve(std::max<size_t>(masked_.size(), 32));  // never in the string itself, which nobody wipes
  for (size_t i = 0; i < masked_.size(); ++i) secret += static_cast<char>(masked_[i] ^ pad_[i]);
  return secret;
}

void* WipingMalloc(size_t size) noexcept { return std::malloc(size); }

void* WipingCalloc(size_t count, size_t size) noexcept { return std::calloc(count, size); }

// realloc() would move the bytes and leave the old ones.
void* WipingRealloc(void* old, size_t size) noexcept {
  if (old == nullptr) return std::malloc(size);
  const size_t had = malloc_usable_size(old);
  if (size <= had && size > had / 2) return old;
  void* moved = std::malloc(size);
  if (moved == nullptr) return nullptr;
  memcpy(moved, old, std::min(had, size));
  WipingFree(old);
  return moved;
}

char* WipingStrdup(const char* text) noexcept { return strdup(text); }

void WipingFree(void* at) noexcept {
  if (at == nullptr) return;
  WipeMemory(at, malloc_usable_size(at));
  std::free(at);
}

}  // namespace imagekit
