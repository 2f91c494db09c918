// Sums, the busiest window, and a series, each made when it is asked for: adding must stay cheap.
#include "tally.h"

#include <algorithm>
#include <stdexcept>

namespace ikemu {

namespace {

constexpr std::size_t max_entries = 8000000;
constexpr std::size_t max_buckets = 100000;

// Most arrivals in any [t, t + window). `entries` are in order of arrival.
std::size_t busiest(const std::vector<TallyEntry> &entries, std::int64_t window_us) {
    std::size_t first = 0, most = 0;
    for (std::size_t last = 0; last < entries.size(); ++last) {
        while (entries[last].arrived_us - entries[first].arrived_us >= window_us)
            ++first;
        most = std::max(most, last - first + 1);
    }
    return most;
}

Json::Value sums(const std::vector<TallyEntry> &entries, std::int64_t window_ms) {
    std::size_t refused = 0, failed = 0;
    std::int64_t ended_us = 0;
    for (const TallyEntry &entry : entries) {
        refused += entry.status == 429 ? 1 : 0;
        failed += entry.status != 429 && (entry.status == 0 || entry.status >= 400) ? 1 : 0;
        ended_us = std::max(ended_us, entry.ended_us);
    }
    Json::Value out(Json::objectValue);
    out["requests"] = static_cast<Json::UInt64>(entries.size());
    out["refused"] = static_cast<Json::UInt64>(refused);
    out["failed"] = static_cast<Json::UInt64>(failed);
    out["busiest"] = static_cast<Json::UInt64>(busiest(entries, window_ms * 1000));
    out["first_us"] = static_cast<Json::Int64>(entries.empty() ? 0 : entries.front().arrived_us);
    out["last_us"] = static_cast<Json::Int64>(entries.empty() ? 0 : entries.back().arrived_us);
    out["ended_us"] = static_cast<Json::Int64>(ended_us);
    return out;
}

// Files by the time their deletion was answered, from the first arrival on.
Json::Value series(const std::vector<TallyEntry> &entries, std::int64_t bucket_us) {
    std::vector<std::uint64_t> deleted;
    for (const TallyEntry &entry : entries) {
        const auto at = static_cast<std::size_t>((entry.ended_us - entries.front().arrived_us) / bucket_us);
        if (at >= max_buckets)
            throw std::invalid_argument("that is too many buckets: a larger bucket_ms is needed");
        if (at >= deleted.size())
            deleted.resize(at + 1);
        deleted[at] += entry.deleted;
    }
    Json::Value out(Json::arrayValue);
    for (const std::uint64_t files : deleted)
        out.append(static_cast<Json::UInt64>(files));
    return out;
}

}  // namespace

void Tally::add(TallyEntry entry, const std::string &account) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (entries_.size() >= max_entries) {
        ++dropped_;
        return;
    }
    const auto known = std::find(accounts_.begin(), accounts_.end(), account);
    entry.account = static_cast<std::uint16_t>(known - accounts_.begin());
    if (known == accounts_.end())
        accounts_.push_back(account);
    entries_.push_back(entry);
}

Json::Value Tally::read(const std::string &account, std::int64_t since_us, std::int64_t window_ms,
                        std::int64_t bucket_ms) const {
    if (window_ms < 1 || bucket_ms < 0)
        throw std::invalid_argument("window_ms is at least 1, bucket_ms at least 0");
    std::vector<TallyEntry> all, reads, writes;
    Json::Value out(Json::objectValue);
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (const TallyEntry &entry : entries_)
            if (entry.arrived_us > since_us && (account.empty() || accounts_[entry.account] == account))
                all.push_back(entry);
        out["dropped"] = static_cast<Json::UInt64>(dropped_);
    }
    std::sort(all.begin(), all.end(),
              [](const TallyEntry &a, const TallyEntry &b) { return a.arrived_us < b.arrived_us; });
    std::uint64_t deleted = 0;
    for (const TallyEntry &entry : all) {
        (entry.write ? writes : reads).push_back(entry);
        deleted += entry.deleted;
    }
    out["deleted"] = static_cast<Json::UInt64>(deleted);
    out["all"] = sums(all, window_ms);
    out["reads"] = sums(reads, window_ms);
    out["writes"] = sums(writes, window_ms);
    if (bucket_ms > 0)
        out["series"] = series(all, bucket_ms * 1000);
    return out;
}

void Tally::clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_.clear();
    accounts_.clear();
    dropped_ = 0;
}

}  // namespace ikemu
