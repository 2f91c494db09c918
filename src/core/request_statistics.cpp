#include "core/request_statistics.h"

#include <type_traits>

#include "core/core_only.h"

namespace imagekit {

namespace {

static_assert(std::is_trivial_v<RequestStatistics>, "it lives in plain memory");

RequestKind KindOf(Request request) noexcept {
  switch (request) {
    case Request::kList:
      return RequestKind::kList;
    case Request::kUsage:
      return RequestKind::kUsage;
    case Request::kProbe:
      return RequestKind::kProbe;
    case Request::kDelete:
      return RequestKind::kDelete;
    case Request::kBulkDelete:
      return RequestKind::kBulkDelete;
    case Request::kPurge:
      return RequestKind::kPurge;
    case Request::kFolderSearch:
    case Request::kLibrarySearch:
    case Request::kIdSearch:
      break;
  }
  return RequestKind::kSearch;
}

StatusClass ClassOf(int status) noexcept {
  switch (status) {
    case 0:
      return StatusClass::kNone;
    case 400:
      return StatusClass::k400;
    case 401:
      return StatusClass::k401;
    case 403:
      return StatusClass::k403;
    case 404:
      return StatusClass::k404;
    case 429:
      return StatusClass::k429;
    default:
      break;
  }
  switch (status / 100) {
    case 2:
      return StatusClass::k2xx;
    case 4:
      return StatusClass::k4xx;
    case 5:
      return StatusClass::k5xx;
    default:
      return StatusClass::kOther;
  }
}

}  // namespace

const char* RequestKindName(RequestKind kind) noexcept {
  switch (kind) {
    case RequestKind::kSearch:
      return "search";
    case RequestKind::kList:
      return "list";
    case RequestKind::kUsage:
      return "usage";
    case RequestKind::kProbe:
      return "probe";
    case RequestKind::kDelete:
      return "delete";
    case RequestKind::kBulkDelete:
      return "bulk_delete";
    case RequestKind::kPurge:
      return "purge";
  }
  return "unknown";
}

const char* StatusClassName(StatusClass status) noexcept {
  switch (status) {
    case StatusClass::k2xx:
      return "2xx";
    case StatusClass::k400:
      return "400";
    case StatusClass::k401:
      return "401";
    case StatusClass::k403:
      return "403";
    case StatusClass::k404:
      return "404";
    case StatusClass::k429:
      return "429";
    case StatusClass::k4xx:
      return "4xx";
    case StatusClass::k5xx:
      return "5xx";
    case StatusClass::kOther:
      return "other";
    case StatusClass::kNone:
      return "none";
  }
  return "unknown";
}

void RequestStatistics::Add(Request request, int status, int64_t took_us) noexcept {
  ++requests[static_cast<int>(KindOf(request))][static_cast<int>(ClassOf(status))];
  times.Add(took_us);
}

void RequestStatistics::Add(const RequestStatistics& other) noexcept {
  for (int kind = 0; kind < kRequestKinds; ++kind) {
    for (int status = 0; status < kStatusClasses; ++status) requests[kind][status] += other.requests[kind][status];
  }
  times.Add(other.times);
}

}  // namespace imagekit
