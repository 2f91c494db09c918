// What was asked of ImageKit for one account, how it was answered, and how long it took: counted, not kept.
//
// Plain memory, and zeroed memory is an empty count: so it may be copied, added up, and live where no destructor runs.

#ifndef IMAGEKIT_CORE_REQUEST_STATISTICS_H
#define IMAGEKIT_CORE_REQUEST_STATISTICS_H

#include <cstddef>
#include <cstdint>
#include <iterator>

#include "core/taxonomy.h"

namespace imagekit {

/// How many times were how long. `kBoundsUs`: the upper bounds of the buckets in microseconds, rising, each of its own bucket
/// (Prometheus' `le`); one more bucket has what is above the last.
template <const auto& kBoundsUs>
struct Histogram {
  static constexpr size_t kBuckets = std::size(kBoundsUs) + 1;

  int64_t counts[kBuckets];
  int64_t sum_us;

  /// A time below zero, of a clock that was put back, counts as zero.
  void Add(int64_t us) noexcept {
    if (us < 0) us = 0;
    size_t bucket = 0;
    while (bucket + 1 < kBuckets && us > kBoundsUs[bucket]) ++bucket;
    ++counts[bucket];
    sum_us += us;
  }
  void Add(const Histogram& other) noexcept {
    for (size_t i = 0; i < kBuckets; ++i) counts[i] += other.counts[i];
    sum_us += other.sum_us;
  }
};

/// 5 ms to 30 s, which is imagekit_cleanup.request_timeout unless it was set.
inline constexpr int64_t kRequestBoundsUs[] = {5000,   10000,   25000,   50000,   100000,   250000,
                                               500000, 1000000, 2500000, 5000000, 10000000, 30000000};

/// The kinds of request that are told apart.
enum class RequestKind { kSearch, kList, kUsage, kProbe, kDelete, kBulkDelete, kPurge };
constexpr int kRequestKinds = 7;

/// Their answers, by HTTP status. kNone: no whole answer came, or it was not waited for.
enum class StatusClass { k2xx, k400, k401, k403, k404, k429, k4xx, k5xx, kOther, kNone };
constexpr int kStatusClasses = 10;

/// "search", "bulk_delete", …
const char* RequestKindName(RequestKind kind) noexcept;
/// "2xx", "429", "none", …; "4xx" are those without a class of their own.
const char* StatusClassName(StatusClass status) noexcept;

struct RequestStatistics {
  int64_t requests[kRequestKinds][kStatusClasses];
  Histogram<kRequestBoundsUs> times;  // of all of them, from the start of the request to the end of its answer

  /// `status`: 0 when there was no whole answer.
  void Add(Request request, int status, int64_t took_us) noexcept;
  void Add(const RequestStatistics& other) noexcept;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_REQUEST_STATISTICS_H
