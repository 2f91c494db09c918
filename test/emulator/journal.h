// What was asked of the API and what was answered, in the order of arrival, for tests to read. Bounded; never holds a
// key. Thread-safe.
#pragma once

#include <json/json.h>

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "message.h"

namespace ikemu {

struct JournalEntry {
    std::uint64_t seq = 0;
    std::int64_t started_ms = 0;  // monotonic
    std::int64_t wall_us = 0;  // since 1970
    std::string method, path, body, account, fault;
    Pairs query;
    bool done = false;
    bool executed = false;  // the API itself ran: its effect, if any, is in the library
    std::vector<std::string> removed;  // fileIds of the files it deleted
    int status = 0;         // 0: no answer was sent
    std::size_t deleted = 0;  // files that went from the library
    std::int64_t duration_ms = 0;
};

class Journal {
  public:
    // Returns the entry's sequence number; its text fields must already be free of keys.
    std::uint64_t begin(JournalEntry entry);
    void end(std::uint64_t seq, int status, const std::string &account, const std::string &fault, bool executed,
             std::size_t deleted, std::vector<std::string> removed);
    // Entries after `since`; filters are prefixes of the path and exact otherwise, empty for any.
    Json::Value read(std::uint64_t since, const std::string &method, const std::string &path_prefix,
                     const std::string &account, std::size_t limit) const;
    std::uint64_t last_seq() const;
    // Forgets entries; sequence numbers go on, so that a `since` taken before stays good.
    void clear();

  private:
    mutable std::mutex mutex_;
    std::deque<JournalEntry> entries_;
    std::uint64_t next_ = 1;
    std::uint64_t dropped_ = 0;
};

}  // namespace ikemu
