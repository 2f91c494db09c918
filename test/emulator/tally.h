// What the journal's requests add up to: how many, how fast, and how many files went. A few bytes a request where the
// journal has a kilobyte, so that a drain of a million files can be reckoned up. Bounded. Thread-safe.
#pragma once

#include <json/json.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace ikemu {

struct TallyEntry {
    std::int64_t arrived_us = 0;  // since 1970
    std::int64_t ended_us = 0;
    std::uint32_t deleted = 0;  // files that the request took out of the library
    std::uint16_t account = 0;  // as numbered by the tally
    std::int16_t status = 0;
    bool write = false;  // anything but a GET
};

class Tally {
  public:
    // `entry.account` is filled in here.
    void add(TallyEntry entry, const std::string &account);
    // The sums as README.md says, of the requests of an account (empty: of all) that arrived after `since_us`. `bucket_ms`
    // 0: without the series.
    Json::Value read(const std::string &account, std::int64_t since_us, std::int64_t window_ms,
                     std::int64_t bucket_ms) const;
    void clear();

  private:
    mutable std::mutex mutex_;
    std::vector<TallyEntry> entries_;
    std::vector<std::string> accounts_;
    std::uint64_t dropped_ = 0;
};

}  // namespace ikemu
