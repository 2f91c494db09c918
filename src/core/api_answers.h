// From the reply to a request to the answers of those it was sent for.

#ifndef IMAGEKIT_CORE_API_ANSWERS_H
#define IMAGEKIT_CORE_API_ANSWERS_H

#include <cstdint>
#include <deque>
#include <vector>

#include "core/api.h"
#include "core/api_account.h"
#include "core/api_deletes.h"
#include "core/api_lookups.h"
#include "core/http_multi.h"
#include "core/taxonomy.h"

namespace imagekit {

/// A request on the wire, and for whom it is.
struct Sent {
  int account = 0;
  Request request = Request::kProbe;
  Search search;        // the three searches
  Deletion deletion;    // kDelete, kBulkDelete
  uint64_t ticket = 0;  // of all others
  int64_t sent_us = 0;  // on MonotonicUs

  bool is_delete() const noexcept { return request == Request::kDelete || request == Request::kBulkDelete; }
};

/// Judges a reply: appends the answers that it gives, and changes what it says about the account: its clock, its pace, how
/// many files go into one delete, and the look-ups that have to be asked for again. `proxy_secrets` are hidden like the
/// account's own.
void AnswerReply(Account* account, Sent sent, const HttpReply& reply, const std::vector<SecretText>& proxy_secrets,
                 std::deque<Answer>* answers);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_ANSWERS_H
