// Token bucket arithmetic; the caller supplies the clock.
#include "rate_limit.h"

#include <algorithm>
#include <cmath>

namespace ikemu {

void TokenBucket::configure(double new_rate, double new_burst) {
    rate = new_rate;
    burst = std::max(1.0, new_burst);
    tokens_ = burst;
    last_ms_ = 0;
}

bool TokenBucket::take(std::int64_t now_ms, std::int64_t &wait_ms) {
    wait_ms = 0;
    if (rate <= 0)
        return true;
    if (last_ms_ != 0)
        tokens_ = std::min(burst, tokens_ + rate * static_cast<double>(now_ms - last_ms_) / 1000.0);
    last_ms_ = now_ms;
    if (tokens_ >= 1.0) {
        tokens_ -= 1.0;
        return true;
    }
    wait_ms = static_cast<std::int64_t>(std::ceil((1.0 - tokens_) * 1000.0 / rate));
    return false;
}

}  // namespace ikemu
