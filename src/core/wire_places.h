// The places on the wire: how many requests may be under way at once, and of which kind.
//
// There are max_in_flight. Reads use at most three quarters of them, so that a delete, which has just been proven right, finds one.
// Where there are so few places that no quarter can be left free, a delete that found none has the next one that becomes free:
// reads wait for it for a moment. Purges have a few places beside these: one that hangs must hold up neither.

#ifndef IMAGEKIT_CORE_WIRE_PLACES_H
#define IMAGEKIT_CORE_WIRE_PLACES_H

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace imagekit {

class WirePlaces {
 public:
  enum Kind { kRead, kDelete, kReserved, kPurge };  // kReserved: for a delete that is about to be sent

  explicit WirePlaces(int max_in_flight) noexcept
      : most_(static_cast<size_t>(std::max(max_in_flight, 0))),
        most_reads_(most_ - most_ / 4),
        most_purges_(std::max<size_t>(most_ / 4, 1)) {}

  /// Those beside max_in_flight.
  int extra() const noexcept { return static_cast<int>(most_purges_); }

  bool RoomForRead(int64_t now_us) const noexcept {
    return Shared() + (HeldUs(now_us) > 0 ? 1 : 0) < most_ && taken_[kRead] < most_reads_;
  }
  bool RoomForDelete() const noexcept { return Shared() < most_; }
  bool RoomForPurge() const noexcept { return taken_[kPurge] < most_purges_; }

  /// A delete is wanted now: from here on a place is left to it, if there is none.
  void WantDelete(int64_t now_us) noexcept {
    held_until_us_ = !RoomForDelete() && most_reads_ == most_ ? now_us + kHoldUs : 0;
  }
  /// Microseconds for which reads leave that place; 0 or less: they do not.
  int64_t HeldUs(int64_t now_us) const noexcept { return held_until_us_ - now_us; }

  void Take(Kind kind) noexcept { ++taken_[kind]; }
  void GiveBack(Kind kind, int count = 1) noexcept { taken_[kind] -= static_cast<size_t>(count); }
  void GiveBackAll() noexcept {
    taken_ = {};
    held_until_us_ = 0;
  }

 private:
  // The owner of a delete that was refused a place comes again within a turn of its loop.
  static constexpr int64_t kHoldUs = 100000;

  size_t Shared() const noexcept { return taken_[kRead] + taken_[kDelete] + taken_[kReserved]; }

  const size_t most_;
  const size_t most_reads_;
  const size_t most_purges_;
  std::array<size_t, 4> taken_ = {};
  int64_t held_until_us_ = 0;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_WIRE_PLACES_H
