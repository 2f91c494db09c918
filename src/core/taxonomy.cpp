// The table from status and body to verdict.
//
// It must never call something done that ImageKit itself has not said to be done: a proxy's, a portal's or another
// host's page would otherwise empty the queue in silence (section 4.1 of the API contract). What no line names is
// kBroken, which stops the account and asks for a person.

#include "core/taxonomy.h"

#include "core/core_only.h"

namespace imagekit {

namespace {

// Sets of operations and of bodies, as bits.
constexpr unsigned kFind = 1u << static_cast<unsigned>(Operation::kFind);
constexpr unsigned kDelete = 1u << static_cast<unsigned>(Operation::kDelete);
constexpr unsigned kProbe = 1u << static_cast<unsigned>(Operation::kProbe);
constexpr unsigned kAny = kFind | kDelete | kProbe;

constexpr unsigned Bit(BodyKind kind) { return 1u << static_cast<unsigned>(kind); }
constexpr unsigned kAnyBody = ~0u;
constexpr unsigned kNoPage = ~Bit(BodyKind::kHtml);
constexpr unsigned kMessage = Bit(BodyKind::kMessage);
constexpr unsigned kArray = Bit(BodyKind::kArray);
constexpr unsigned kNothingOrJson =
    Bit(BodyKind::kEmpty) | Bit(BodyKind::kMessage) | Bit(BodyKind::kArray) | Bit(BodyKind::kJson);

struct Line {
  unsigned operations;
  int first_status;
  int last_status;
  unsigned bodies;
  Verdict verdict;
};

// The first line that fits decides. Numbers in the comments are sections of the API contract.
constexpr Line kTable[] = {
    {kFind | kProbe, 200, 200, kArray, Verdict::kFound},     // 2.3: a bare array, `[]` when nothing matches
    {kFind, 404, 404, kMessage, Verdict::kNotFound},         // 2.4: perhaps how a missing folder is answered
    {kDelete, 204, 204, kAnyBody, Verdict::kDeleted},        // 4.1: the documented success; it has no body
    {kDelete, 200, 200, kNothingOrJson, Verdict::kDeleted},  // 1.5: success too, unless a portal's page says it
    {kDelete, 404, 404, kMessage, Verdict::kGone},           // 4.1: "already gone" only in ImageKit's own JSON
    {kAny, 429, 429, kAnyBody, Verdict::kThrottled},         // 8.4: also when a proxy says it: waiting harms nothing
    {kAny, 401, 401, kNoPage, Verdict::kCredentials},        // 1.5: no key in the request
    {kAny, 403, 403, kNoPage, Verdict::kCredentials},        // 1.5: unknown or expired key, disabled account
    {kAny, 408, 408, kAnyBody, Verdict::kTransient},         // 1.5: undocumented, clients retry it
    {kAny, 423, 423, kAnyBody, Verdict::kTransient},         // 1.5: a bulk job holds the folder
    {kAny, 500, 599, kAnyBody, Verdict::kTransient},         // 1.4, 8.4: may be text or a proxy's page
    {kAny, 400, 400, kNoPage, Verdict::kRejected},           // 2.4, 4.1: bad query or malformed id
    {kAny, 414, 414, kAnyBody, Verdict::kRejected},          // 2.2: the name makes the target too long for a proxy
    {kAny, 400, 499, kMessage, Verdict::kRejected},          // 1.5: ImageKit refuses, for a reason of its own
};

}  // namespace

Verdict JudgeAnswer(Operation operation, int status, BodyKind body) noexcept {
  for (const Line& line : kTable) {
    if ((line.operations & 1u << static_cast<unsigned>(operation)) != 0 && status >= line.first_status &&
        status <= line.last_status && (line.bodies & Bit(body)) != 0) {
      return line.verdict;
    }
  }
  // Redirects (1.1: never followed), other 2xx, a 404 or 403 in HTML, statuses nobody has heard of.
  return Verdict::kBroken;
}

Verdict JudgeFailure(Transport transport) noexcept {
  switch (transport) {
    case Transport::kTimeout:     // 8.4
    case Transport::kConnection:  // 8.4
      return Verdict::kTransient;
    case Transport::kUntrusted:  // no retry makes a certificate better, and what answers is not known to be ImageKit
    case Transport::kNotHttp:
    case Transport::kTooLarge:  // 1.1: a full page is 1 to 2 MB
    case Transport::kComplete:
      break;
  }
  return Verdict::kBroken;
}

const char* VerdictName(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kFound:
      return "found";
    case Verdict::kNotFound:
      return "not found";
    case Verdict::kElsewhere:
      return "elsewhere";
    case Verdict::kAmbiguous:
      return "ambiguous";
    case Verdict::kDeleted:
      return "deleted";
    case Verdict::kGone:
      return "gone";
    case Verdict::kThrottled:
      return "throttled";
    case Verdict::kCredentials:
      return "credentials";
    case Verdict::kTransient:
      return "transient";
    case Verdict::kRejected:
      return "rejected";
    case Verdict::kBroken:
      return "broken";
  }
  return "unknown";
}

}  // namespace imagekit
