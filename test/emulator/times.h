// Clocks and the one date format of the API (ISO 8601, milliseconds, UTC). All times are milliseconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ikemu {

std::int64_t wall_ms();       // since 1970
std::int64_t wall_us();       // the same in microseconds
// The clock of the service, which stamps files and answers: this much ahead of this machine's, or behind.
std::int64_t service_ms();
void set_service_offset(std::int64_t ms);

std::int64_t monotonic_ms();  // since some point before the process started

// 2025-03-04T10:11:12.345Z
std::string iso_time(std::int64_t ms);
// Tue, 04 Mar 2025 10:11:12 GMT
std::string http_date(std::int64_t ms);
// "YYYY-MM-DD", "YYYY-MM-DDTHH:MM:SS", and the latter with ".mmm" and/or "Z".
std::optional<std::int64_t> parse_time(const std::string &text);
// "1h" "2d" "3w" "4m" (months) "1y": that long before `now`.
std::optional<std::int64_t> parse_relative_time(const std::string &text, std::int64_t now);

}  // namespace ikemu
