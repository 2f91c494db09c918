// Ids: a random part fixed for the process and a counter, so that two emulators never hand out the same id.
#include "file_id.h"

#include <atomic>
#include <cctype>
#include <cstdio>
#include <random>

namespace ikemu {

FileId next_id() {
    static const std::uint64_t process = [] {
        std::random_device device;
        return (static_cast<std::uint64_t>(0x67c6d1a4) << 32) | device();
    }();
    static std::atomic<std::uint32_t> counter{0x00aa0000};
    return FileId{process, counter.fetch_add(1)};
}

std::string to_hex(const FileId &id) {
    char out[32];
    std::snprintf(out, sizeof out, "%016llx%08x", static_cast<unsigned long long>(id.high), id.low);
    return out;
}

std::optional<FileId> parse_id(const std::string &text) {
    if (text.size() != 24)
        return std::nullopt;
    for (char c : text)
        if (!std::isxdigit(static_cast<unsigned char>(c)))
            return std::nullopt;
    return FileId{std::stoull(text.substr(0, 16), nullptr, 16),
                  static_cast<std::uint32_t>(std::stoul(text.substr(16), nullptr, 16))};
}

std::string random_uuid() {
    static thread_local std::mt19937_64 random{std::random_device{}()};
    const std::uint64_t a = random(), b = random();
    char out[48];
    std::snprintf(out, sizeof out, "%08x-%04x-4%03x-%04x-%012llx", static_cast<unsigned>(a >> 32),
                  static_cast<unsigned>(a >> 16) & 0xffff, static_cast<unsigned>(a) & 0xfff,
                  (static_cast<unsigned>(b >> 48) & 0x3fff) | 0x8000,
                  static_cast<unsigned long long>(b & 0xffffffffffffULL));
    return out;
}

}  // namespace ikemu
