// How far ImageKit's clock is ahead of this machine's, from the Date headers of its answers.
//
// Times of uploads are ImageKit's, times of removals the database's. A database clock that runs ahead would make an
// upload look older than the removal it came after, and the new file would be deleted.

#ifndef IMAGEKIT_CORE_CLOCK_OFFSET_H
#define IMAGEKIT_CORE_CLOCK_OFFSET_H

#include <array>
#include <cstddef>
#include <cstdint>

namespace imagekit {

class ClockOffset {
 public:
  /// One answer: its Date, which is cut to seconds, and this machine's time when the header came. Their difference is
  /// less than the true offset by up to a second and the way of the answer, and never more.
  void Add(int64_t date_ms, int64_t seen_ms) noexcept;

  /// A time of this machine plus this is ImageKit's time, or somewhat earlier: then an upload rather counts as newer. The
  /// median of the last answers, so that one host with a wrong clock decides nothing. 0 before the first answer, and
  /// when ImageKit would be more than an hour ahead: that is no clock to delete by.
  int64_t Ms() const noexcept;

 private:
  static constexpr size_t kAnswers = 15;
  std::array<int64_t, kAnswers> offsets_{};
  size_t count_ = 0;  // of all answers; the last kAnswers are kept
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_CLOCK_OFFSET_H
