// A library path as 16 bytes, so that millions of them can be compared in sets.

#ifndef IMAGEKIT_CORE_PATH_KEY_H
#define IMAGEKIT_CORE_PATH_KEY_H

#include <array>
#include <string_view>

namespace imagekit {

using PathKey = std::array<unsigned char, 16>;

/// XXH3 with 128 bits, in its canonical byte order: the same on all machines and in all releases. Two of a billion different
/// paths share a key with a probability of 1 to 10^20; then a file that nobody uses would count as used.
PathKey KeyOfPath(std::string_view path) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_PATH_KEY_H
