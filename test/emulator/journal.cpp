// The request journal: a bounded queue whose entries are completed in place.
#include "journal.h"

#include "times.h"

namespace ikemu {

namespace {

constexpr std::size_t max_entries = 200000;

Json::Value entry_json(const JournalEntry &entry) {
    Json::Value out(Json::objectValue);
    out["seq"] = static_cast<Json::UInt64>(entry.seq);
    out["ms"] = static_cast<Json::Int64>(entry.started_ms);
    out["wall_ms"] = static_cast<Json::Int64>(entry.wall_us / 1000);
    out["wall_us"] = static_cast<Json::Int64>(entry.wall_us);
    out["method"] = entry.method;
    out["path"] = entry.path;
    out["query"] = Json::Value(Json::objectValue);
    for (const auto &[name, value] : entry.query)
        out["query"][name] = value;
    out["body"] = entry.body;
    out["account"] = entry.account;
    out["fault"] = entry.fault;
    out["done"] = entry.done;
    out["executed"] = entry.executed;
    out["removed"] = Json::Value(Json::arrayValue);
    for (const std::string &id : entry.removed)
        out["removed"].append(id);
    out["status"] = entry.status;
    out["deleted"] = static_cast<Json::UInt64>(entry.deleted);
    out["duration_ms"] = static_cast<Json::Int64>(entry.duration_ms);
    return out;
}

}  // namespace

std::uint64_t Journal::begin(JournalEntry entry) {
    entry.started_ms = monotonic_ms();
    const std::lock_guard<std::mutex> lock(mutex_);
    entry.seq = next_++;
    entries_.push_back(std::move(entry));
    if (entries_.size() > max_entries) {
        entries_.pop_front();
        ++dropped_;
    }
    return next_ - 1;
}

void Journal::end(std::uint64_t seq, int status, const std::string &account, const std::string &fault, bool executed,
                  std::size_t deleted, std::vector<std::string> removed) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (entries_.empty() || seq < entries_.front().seq)
        return;
    const std::size_t at = static_cast<std::size_t>(seq - entries_.front().seq);
    if (at >= entries_.size())
        return;
    JournalEntry &entry = entries_[at];
    entry.done = true;
    entry.status = status;
    entry.account = account;
    entry.fault = fault;
    entry.executed = executed;
    entry.removed = std::move(removed);
    entry.deleted = deleted;
    entry.duration_ms = monotonic_ms() - entry.started_ms;
}

Json::Value Journal::read(std::uint64_t since, const std::string &method, const std::string &path_prefix,
                          const std::string &account, std::size_t limit) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    Json::Value out(Json::objectValue);
    out["last"] = static_cast<Json::UInt64>(next_ - 1);
    out["dropped"] = static_cast<Json::UInt64>(dropped_);
    Json::Value &list = out["entries"] = Json::Value(Json::arrayValue);
    for (const JournalEntry &entry : entries_) {
        if (entry.seq <= since || list.size() >= limit)
            continue;
        if ((method.empty() || entry.method == method) && (account.empty() || entry.account == account) &&
            entry.path.compare(0, path_prefix.size(), path_prefix) == 0)
            list.append(entry_json(entry));
    }
    return out;
}

std::uint64_t Journal::last_seq() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return next_ - 1;
}

void Journal::clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_.clear();
    dropped_ = 0;
}

}  // namespace ikemu
