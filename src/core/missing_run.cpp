// A run as bits.

#include "core/missing_run.h"

#include <bitset>

#include "core/core_only.h"

namespace imagekit {

namespace {

constexpr uint64_t kMark = uint64_t{1} << kMissingOfLast;
constexpr uint64_t kAll = kMark - 1;
constexpr uint64_t kRow = (uint64_t{1} << kMissingInARow) - 1;

/// How many are in the run.
int Size(uint64_t bits) noexcept {
  int size = 0;
  while (bits >>= 1) ++size;
  return size;
}

}  // namespace

MissingRun::MissingRun(int64_t stored) noexcept : bits_(static_cast<uint64_t>(stored)) {
  if (bits_ == 0 || bits_ >= kMark * 2) bits_ = kEmpty;
}

void MissingRun::Add(bool missing) noexcept {
  if (!missing && Suspicious()) bits_ = kEmpty;
  const bool full = bits_ >= kMark;
  bits_ = bits_ << 1 | (missing ? 1 : 0);
  if (full) bits_ = (bits_ & kAll) | kMark;
}

bool MissingRun::Suspicious() const noexcept {
  if (Size(bits_) >= kMissingInARow && (bits_ & kRow) == kRow) return true;
  return bits_ >= kMark && std::bitset<64>(bits_ & kAll).count() >= size_t{kMissingMost};
}

}  // namespace imagekit
