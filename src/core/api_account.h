// One account as ApiClient keeps it: what a request to it needs, its pace, and what waits to be sent.

#ifndef IMAGEKIT_CORE_API_ACCOUNT_H
#define IMAGEKIT_CORE_API_ACCOUNT_H

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>

#include "core/api.h"
#include "core/api_lookups.h"
#include "core/api_request.h"
#include "core/clock_offset.h"
#include "core/pace.h"
#include "core/request_statistics.h"
#include "core/secret.h"

namespace imagekit {

/// A pace and the states it takes from.
class PacedClass {
 public:
  PacedClass(double rate, double burst, PaceState* const (&shared)[kPaceNames]) : pace_(rate, burst) {
    for (PaceState* state : shared) {
      // Two names may share one state; it must not be taken from twice for one request.
      if (state != nullptr && (count_ == 0 || states_[0] != state)) states_[count_++] = state;
    }
    if (count_ == 0) states_[count_++] = &own_;
  }
  PacedClass(const PacedClass&) = delete;
  PacedClass& operator=(const PacedClass&) = delete;

  bool TryTake(int64_t now_us) noexcept { return pace_.TryTake(states_, count_, now_us); }
  void GiveBack() noexcept { pace_.GiveBack(states_, count_); }
  int64_t WaitUs(int64_t now_us) const noexcept { return pace_.WaitUs(states_, count_, now_us); }
  int Ready(int64_t now_us) const noexcept { return pace_.Ready(states_, count_, now_us); }
  void PauseUntil(int64_t until_us) noexcept { pace_.PauseUntil(states_, count_, until_us); }

 private:
  static_assert(kPaceNames == 2, "the constructor compares with the first alone");

  const Pace pace_;
  PaceState own_ = {};
  PaceState* states_[kPaceNames] = {};
  int count_ = 0;
};

/// A question about the library or the account as a whole.
struct Inquiry {
  uint64_t ticket;
  Request request;  // kList, kUsage
  std::string target;
};

struct PurgeOfUrl {
  uint64_t ticket;
  std::string url;
};

struct Account {
  explicit Account(const AccountAccess& access)
      : base(ReadApiUrl(access.api_url)),
        key(View(access.private_key)),
        reads(access.read_rate, access.read_burst, access.read_pace),
        writes(access.write_rate, access.write_burst, access.write_pace),
        inquiry_pace(access.read_rate * access.list_share, std::max(1.0, access.read_burst * access.list_share),
                     kAlone),
        spare_reads(access.read_burst >= 2 ? 2 : 1),
        purge_pause(kUnpaced, kUnpaced, access.purge_pace),
        look_ups(base.path.size(), access.search_size),
        bulk_size(access.bulk_size) {}

  const ApiBase base;
  const MaskedSecret key;
  ClockOffset clock;
  PacedClass reads;
  PacedClass writes;
  PacedClass inquiry_pace;  // beside that of the reads: their share of it
  const int spare_reads;   // so many tokens there must be for one of them, so that look-ups of all processes come first
  PacedClass purge_pause;  // purges take their tokens from the writes; here only a pause is kept

  std::deque<uint64_t> probes;  // tickets
  LookUps look_ups;
  std::deque<PurgeOfUrl> purges;
  std::deque<Inquiry> inquiries;

  int bulk_size;
  int reserved = 0;               // deletes
  int64_t deletes_wanted_us = 0;  // when some were last asked for

  RequestStatistics statistics = {};

 private:
  static constexpr double kUnpaced = 1e6;
  static constexpr PaceState* kAlone[kPaceNames] = {};
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_ACCOUNT_H
