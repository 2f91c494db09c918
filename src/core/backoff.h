// How long a failed attempt waits for the next.

#ifndef IMAGEKIT_CORE_BACKOFF_H
#define IMAGEKIT_CORE_BACKOFF_H

#include <cstdint>

namespace imagekit {

/// Milliseconds to wait after attempt number `attempt` (1 and up) failed: exponential from `base_ms`, capped at
/// `cap_ms`, with full jitter in the upper half so that files which failed together do not come back together. `random`
/// is any 64-bit random number. Never overflows; never less than base_ms / 2, never more than cap_ms.
int64_t BackoffMs(int attempt, int64_t base_ms, int64_t cap_ms, uint64_t random) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_BACKOFF_H
