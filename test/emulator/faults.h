// Fault rules: which of the coming requests are answered wrongly, late, or not at all. Thread-safe.
#pragma once

#include <json/json.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <regex>
#include <string>

#include "message.h"

namespace ikemu {

enum class FaultKind {
    status,       // a fixed answer, the request is not executed
    reset_before,  // connection reset, not executed
    reset_after,   // executed, then connection reset without an answer
    stall,         // held until released or for `ms`, then executed and answered
    stall_after,   // executed, then the answer is held
    slow_body,
    truncated_json,      // executed; a complete HTTP answer whose JSON ends half-way
    cut_body,            // executed; the connection is reset half-way through the body
    huge_body,           // executed; `bytes` of JSON white space within an array
    wrong_content_type,  // executed; the right body with another content type
    headers,             // executed; only `headers` are added
    latency              // executed after `ms`
};

struct Fault {
    std::uint64_t id = 0;
    std::string kind_name;
    FaultKind kind = FaultKind::status;
    int status = 500;
    std::string content_type;
    std::string body;
    Pairs headers;
    std::int64_t ms = 0;
    std::size_t bytes = 0;
    bool late = false;  // a stalled request is executed even if the client has gone meanwhile
};

class Faults {
  public:
    // Adds the rule described in README.md; returns its id. Throws std::invalid_argument.
    std::uint64_t add(const Json::Value &rule);
    bool remove(std::uint64_t id);
    void clear();
    Json::Value list() const;
    // The fault due for this request, if any; counts it.
    std::optional<Fault> match(const Request &request, const std::string &account);

    // Holds the caller until release(), for `ms` at most (0: no limit), or until the client has gone.
    void stall(std::int64_t ms, const std::function<bool()> &client_gone);
    // Lets every request held now go on; answers how many.
    int release();
    int stalled() const;

  private:
    struct Rule {
        Fault fault;
        std::string method, prefix, account, contains, path_text;
        std::optional<std::regex> path;
        std::int64_t count = 1;  // 0: always
        std::int64_t every = 1;
        std::int64_t skip = 0;
        std::int64_t seen = 0, hits = 0;
        bool spent() const { return count > 0 && hits >= count; }
    };

    mutable std::mutex mutex_;
    std::condition_variable released_;
    std::list<Rule> rules_;
    std::uint64_t next_id_ = 1;
    std::uint64_t releases_ = 0;
    int stalled_ = 0;
};

}  // namespace ikemu
