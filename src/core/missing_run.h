// The last look-ups (or deletes) of an account, and whether unusually many of them met nothing.
//
// A key of another account, a prefix that does not match the library, a search that is out of order: all of them answer
// "not found", and would empty the queue in silence while the files stay (section 4.1 of the API contract).

#ifndef IMAGEKIT_CORE_MISSING_RUN_H
#define IMAGEKIT_CORE_MISSING_RUN_H

#include <cstdint>

namespace imagekit {

/// The rule, also in the words of the cause: 20 in a row, or 40 of the last 50.
constexpr int kMissingInARow = 20;
constexpr int kMissingOfLast = 50;
constexpr int kMissingMost = 40;

class MissingRun {
 public:
  /// Empty. From what Stored() gave, so that a run outlives its process; anything else counts as empty.
  explicit MissingRun(int64_t stored = kEmpty) noexcept;

  /// One more. The first file that is there after a suspicion ends it, and the run begins anew: key, prefix and search
  /// have just been seen to work.
  void Add(bool missing) noexcept;

  bool Suspicious() const noexcept;

  int64_t Stored() const noexcept { return static_cast<int64_t>(bits_); }

 private:
  static constexpr int64_t kEmpty = 1;

  // A bit for each, the latest lowest, 1 for missing; above them one more 1 that marks the end.
  uint64_t bits_;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_MISSING_RUN_H
