// How long a failed attempt waits for the next.

#ifndef IMAGEKIT_CORE_BACKOFF_H
#define IMAGEKIT_CORE_BACKOFF_H

#include <cstdint>

namespace imagekit {

// Both grow exponentially from `base_ms` with `attempt` (1 and up) and are capped at `cap_ms`. `random` is any 64-bit random
// number. Neither overflows, is below 1 ms or above cap_ms.

/// Milliseconds that a file waits after its attempt: full jitter, anything up to the step, so that files which failed together
/// do not come back together.
int64_t BackoffMs(int attempt, int64_t base_ms, int64_t cap_ms, uint64_t random) noexcept;

/// Milliseconds that a whole account, or an audit, rests: jitter in the upper half of the step alone. There is one of these where
/// there are many files, and a server in trouble is not helped by one that comes back at once.
int64_t RestMs(int attempt, int64_t base_ms, int64_t cap_ms, uint64_t random) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_BACKOFF_H
