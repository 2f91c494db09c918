// Looking at many bytes at once, for the loops over every URL of every deleted row.
//
// The vector types of g++ and clang++, which become SSE2, NEON or plain code. Private to url*.cpp and endpoint*.cpp.

#ifndef IMAGEKIT_CORE_BYTES_H
#define IMAGEKIT_CORE_BYTES_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace imagekit {

constexpr size_t kBlockSize = 16;
using Block = unsigned char __attribute__((vector_size(kBlockSize)));
/// What comparing blocks gives: all bits of a byte, or none.
using BlockMask = signed char __attribute__((vector_size(kBlockSize)));

inline Block LoadBlock(const char* bytes) noexcept {
  Block block;
  std::memcpy(&block, bytes, kBlockSize);
  return block;
}

inline bool Any(BlockMask mask) noexcept {
  uint64_t halves[2];
  std::memcpy(halves, &mask, kBlockSize);
  return (halves[0] | halves[1]) != 0;
}

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_BYTES_H
