// Date arithmetic in UTC; the C library's calendar is used so that month lengths need no table here.
#include "times.h"

#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace ikemu {

std::int64_t wall_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::int64_t wall_us() {
    using namespace std::chrono;
    return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

namespace {
std::atomic<std::int64_t> service_offset{0};
}

std::int64_t service_ms() {
    return wall_ms() + service_offset;
}

void set_service_offset(std::int64_t ms) {
    service_offset = ms;
}

std::int64_t monotonic_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

std::string iso_time(std::int64_t ms) {
    std::int64_t seconds = ms / 1000, rest = ms % 1000;
    if (rest < 0) {
        rest += 1000;
        --seconds;
    }
    const std::time_t t = static_cast<std::time_t>(seconds);
    std::tm tm{};
    gmtime_r(&t, &tm);
    char date[40], out[64];
    std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    std::snprintf(out, sizeof out, "%s.%03dZ", date, static_cast<int>(rest));
    return out;
}

std::string http_date(std::int64_t ms) {
    // strftime's names follow the locale; this program never sets one.
    const std::time_t t = static_cast<std::time_t>(ms / 1000);
    std::tm tm{};
    gmtime_r(&t, &tm);
    char out[64];
    std::strftime(out, sizeof out, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return out;
}

std::optional<std::int64_t> parse_time(const std::string &text) {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, milli = 0, used = 0;
    if (text.size() < 10 || std::sscanf(text.c_str(), "%4d-%2d-%2d%n", &year, &month, &day, &used) != 3 || used != 10)
        return std::nullopt;
    std::size_t at = 10;
    if (at < text.size()) {
        if (std::sscanf(text.c_str() + at, "T%2d:%2d:%2d%n", &hour, &minute, &second, &used) != 3 || used != 9)
            return std::nullopt;
        at += 9;
        if (at < text.size() && text[at] == '.') {
            if (std::sscanf(text.c_str() + at, ".%3d%n", &milli, &used) != 1 || used != 4)
                return std::nullopt;
            at += 4;
        }
        if (at < text.size() && text[at] == 'Z')
            ++at;
    }
    if (at != text.size() || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return std::nullopt;
    std::tm tm{};
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;
    tm.tm_hour = hour;
    tm.tm_min = minute;
    tm.tm_sec = second;
    const std::time_t t = timegm(&tm);
    if (tm.tm_mday != day)  // 30 February rolls over: not a date
        return std::nullopt;
    return static_cast<std::int64_t>(t) * 1000 + milli;
}

std::optional<std::int64_t> parse_relative_time(const std::string &text, std::int64_t now) {
    if (text.size() < 2 || text.size() > 7)
        return std::nullopt;
    int count = 0;
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
        if (!std::isdigit(static_cast<unsigned char>(text[i])))
            return std::nullopt;
        count = count * 10 + (text[i] - '0');
    }
    const std::int64_t hour = 3600 * 1000;
    switch (text.back()) {
        case 'h':
            return now - count * hour;
        case 'd':
            return now - count * 24 * hour;
        case 'w':
            return now - count * 7 * 24 * hour;
        case 'm':
        case 'y':
            break;
        default:
            return std::nullopt;
    }
    const std::time_t t = static_cast<std::time_t>(now / 1000);
    std::tm tm{};
    gmtime_r(&t, &tm);
    if (text.back() == 'm')
        tm.tm_mon -= count;
    else
        tm.tm_year -= count;
    return static_cast<std::int64_t>(timegm(&tm)) * 1000 + now % 1000;
}

}  // namespace ikemu
