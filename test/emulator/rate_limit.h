// A token bucket: `rate` tokens a second, at most `burst` saved up. Off while the rate is 0.
#pragma once

#include <cstdint>

namespace ikemu {

struct TokenBucket {
    double rate = 0;
    double burst = 0;

    void configure(double new_rate, double new_burst);
    // Takes a token. On refusal `wait_ms` says how long until there is one.
    bool take(std::int64_t now_ms, std::int64_t &wait_ms);

  private:
    double tokens_ = 0;
    std::int64_t last_ms_ = 0;
};

}  // namespace ikemu
