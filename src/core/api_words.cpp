// Puts the words of an answer together.
//
// It must never let a secret through: a proxy's error page that repeats the request is not far-fetched.

#include "core/api_words.h"

#include "core/api_text.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

// Room for what follows ImageKit's message in the words of an answer.
constexpr size_t kMaxMessageBytes = 350;
constexpr size_t kMaxRequestIdBytes = 64;

}  // namespace

std::string WordsOf(const HttpReply& reply, const ReplyBody& body, Verdict verdict) {
  if (reply.transport != Transport::kComplete) return reply.error;
  if (reply.status >= 300 && reply.status < 400) {
    return reply.location.empty() ? "a redirect" : "a redirect to " + reply.location + ", not followed";
  }
  switch (body.kind) {
    case BodyKind::kMessage:
      return body.message;
    case BodyKind::kHtml:
      return "an HTML page, not an answer of ImageKit";
    case BodyKind::kText:
      return verdict == Verdict::kBroken ? "not an answer of ImageKit: " + body.message : body.message;
    case BodyKind::kArray:
      if (verdict == Verdict::kFound) return "";
      break;
    case BodyKind::kEmpty:
    case BodyKind::kJson:
      break;
  }
  if (verdict == Verdict::kUndecided) return "the answer does not say that the file was deleted";
  return verdict == Verdict::kBroken ? "not an answer of ImageKit" : "";
}

DetailWriter::DetailWriter(const HttpReply& reply, const std::vector<SecretText>& secrets) : secrets_(secrets) {
  // Each part is cut on its own, so that a long message does not cost the request id that support asks for.
  if (reply.status != 0) status_ = "HTTP " + std::to_string(reply.status);
  if (!reply.request_id.empty()) request_ = " (request " + Fit(reply.request_id, kMaxRequestIdBytes) + ")";
}

std::string DetailWriter::Write(const std::string& words) const {
  std::string detail = status_;
  if (!words.empty()) detail += (detail.empty() ? "" : ": ") + Fit(words, kMaxMessageBytes);
  return CleanText(detail + request_, kMaxDetailBytes);
}

std::string DetailWriter::Fit(const std::string& text, size_t most_bytes) const {
  return CleanText(HideSecrets(text, secrets_), most_bytes);
}

}  // namespace imagekit
