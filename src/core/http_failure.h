// Why a transfer ended without a whole answer: for the verdict, and in words for a person.

#ifndef IMAGEKIT_CORE_HTTP_FAILURE_H
#define IMAGEKIT_CORE_HTTP_FAILURE_H

#include <curl/curl.h>

#include <string>

#include "core/api.h"
#include "core/http_multi.h"

namespace imagekit {

/// A connection that stays silent for half of the request's time is given up, so that its slot becomes free for
/// another: a search or delete takes ImageKit well under a second.
long SilenceSeconds(const TransportOptions& options) noexcept;

/// Fills the transport and the error of a reply. `code` is not CURLE_OK; `words` are libcurl's, `peer` is who was asked;
/// `too_large`: the transfer was ended because of its size.
void ExplainFailure(CURL* easy, CURLcode code, bool too_large, const std::string& words, const std::string& peer,
                    const TransportOptions& options, HttpReply* reply);

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_HTTP_FAILURE_H
