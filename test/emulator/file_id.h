// File, folder, version and purge-request ids: 24 hex digits, as in every sample of the API, held as 12 bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace ikemu {

struct FileId {
    std::uint64_t high = 0;
    std::uint32_t low = 0;
    bool operator==(const FileId &o) const { return high == o.high && low == o.low; }
    bool operator!=(const FileId &o) const { return !(*this == o); }
};

struct FileIdHash {
    std::size_t operator()(const FileId &id) const {
        return std::hash<std::uint64_t>()((id.high ^ id.low) * 0x9e3779b97f4a7c15ULL + id.low);
    }
};

// A fresh id, unique in this process (all accounts share the counter, as ids of the service are global).
FileId next_id();
std::string to_hex(const FileId &id);
// Empty unless exactly 24 hex digits.
std::optional<FileId> parse_id(const std::string &text);
// A random UUID for the request-id headers.
std::string random_uuid();

}  // namespace ikemu
