// Names what went wrong. Only the cases that an operator acts on have words of their own; for the rest libcurl's are
// good, and they hold no credentials: those travel in a header it does not know the meaning of.

#include "core/http_failure.h"

#include <algorithm>
#include <cerrno>

#include "core/core_only.h"

namespace imagekit {

namespace {

std::string Ms(int milliseconds) { return std::to_string(milliseconds) + " ms"; }

}  // namespace

long SilenceSeconds(const TransportOptions& options) noexcept {
  return std::max(options.request_timeout_ms / 2 / 1000, 1);
}

void ExplainFailure(CURL* easy, CURLcode code, bool too_large, const std::string& words, const std::string& peer,
                    const TransportOptions& options, HttpReply* reply) {
  long system_error = 0;
  curl_off_t sent_after_us = 0;
  curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &system_error);
  curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &sent_after_us);

  reply->transport = Transport::kConnection;
  reply->error = words + " (" + peer + ")";
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      reply->transport = Transport::kTimeout;
      if (sent_after_us == 0) {
        reply->error = "no connection to " + peer + " within " +
                       Ms(std::min(options.connect_timeout_ms, options.request_timeout_ms));
      } else if (words.find("too slow") != std::string::npos) {
        reply->error = "not a byte came for " + std::to_string(SilenceSeconds(options)) + " s";
      } else if (reply->status == 0) {
        reply->error = "no answer within " + Ms(options.request_timeout_ms);
      } else {
        reply->error = "the answer was not complete within " + Ms(options.request_timeout_ms);
      }
      break;
    case CURLE_COULDNT_CONNECT:
      if (system_error == ECONNREFUSED) reply->error = "connection refused by " + peer;
      break;
    case CURLE_COULDNT_RESOLVE_HOST:
      reply->error = "the name in " + peer + " could not be resolved";
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
      reply->transport = Transport::kUntrusted;
      break;
    case CURLE_UNSUPPORTED_PROTOCOL:  // the answer did not begin with a status line
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_URL_MALFORMAT:
      reply->transport = Transport::kNotHttp;
      break;
    case CURLE_WRITE_ERROR:
      if (!too_large) break;
      reply->transport = Transport::kTooLarge;
      reply->error = "the answer is longer than " + std::to_string(options.max_body_bytes) + " bytes";
      break;
    default:
      break;
  }
}

}  // namespace imagekit
