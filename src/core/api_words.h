// Answer::detail: what a reply says, in words that may be kept and shown.

#ifndef IMAGEKIT_CORE_API_WORDS_H
#define IMAGEKIT_CORE_API_WORDS_H

#include <string>
#include <vector>

#include "core/api.h"
#include "core/api_reply.h"
#include "core/api_text.h"
#include "core/http_multi.h"
#include "core/secret.h"

namespace imagekit {

/// What the reply says beyond its status, in words of its own or of libcurl; raw, not cleaned. Empty when it is a list:
/// then its entries speak.
std::string WordsOf(const HttpReply& reply, const ReplyBody& body, Verdict verdict);

/// Writes the details of the answers that one reply gives.
class DetailWriter {
 public:
  /// `secrets` are those of the request. Both must outlive it.
  DetailWriter(const HttpReply& reply, const std::vector<SecretText>& secrets);

  /// The words that a reply's answers share, hidden and cut once for all of them.
  std::string Shorten(const std::string& words) const { return Fit(words, kMaxDetailBytes); }

  /// "HTTP 500: Internal server error (request 5f0c1d3e)", free of secrets and control characters, at most
  /// kMaxDetailBytes.
  std::string Write(const std::string& words) const;

 private:
  std::string Fit(const std::string& text, size_t most_bytes) const;

  const std::vector<SecretText>& secrets_;
  std::string status_;
  std::string request_;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_WORDS_H
