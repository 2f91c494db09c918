// The table from request, status and body to verdict.
//
// It must never call something done that ImageKit itself has not said to be done: a proxy's, a portal's or another
// host's page would otherwise empty the queue in silence (section 4.1 of the API contract). What no line names is
// kBroken, which stops the account and asks for a person.
//
// What each class of verdict does, once the outer ring has it:
//
//   verdict       the file                                its attempts    the account
//   ------------  --------------------------------------  --------------  ---------------------------------------------
//   kDeleted      settled: deleted                        -               -
//   kGone         settled: not_found                      -               an unusual share of these stops it
//   kNotFound     asked for again after a while, then     -               likewise
//   kElsewhere      settled: not_found
//   kAmbiguous    parked as failed, for a person          -               -
//   kRejected     parked as failed, for a person          -               -
//   kUndecided    asked for again in the same attempt     not counted     -
//   kThrottled    goes back                               not counted     its pace pauses, for all who share it
//   kCredentials  goes back                               not counted     stops; one cheap request now and then
//   kBroken       goes back                               not counted     stops; one cheap request now and then
//   kTransient    goes back, due after a backoff with     counted         stops after many in a row; its pace pauses
//                   full jitter                                           for as long as a Retry-After says
//   kPurged       a purge is done when it is accepted; every other answer to a purge means "not purged" and nothing
//   kQuota          more: it changes neither the file, which is deleted, nor the account, which goes on deleting

#include "core/taxonomy.h"

#include <algorithm>
#include <string>

#include "core/core_only.h"

namespace imagekit {

namespace {

// Sets of requests and of bodies, as bits.
constexpr unsigned Bit(Request request) { return 1u << static_cast<unsigned>(request); }
constexpr unsigned kInFolder = Bit(Request::kFolderSearch);
constexpr unsigned kInLibrary = Bit(Request::kLibrarySearch);
constexpr unsigned kSearch = kInFolder | kInLibrary | Bit(Request::kIdSearch);
constexpr unsigned kProbe = Bit(Request::kProbe);
constexpr unsigned kDelete = Bit(Request::kDelete);
constexpr unsigned kBulk = Bit(Request::kBulkDelete);
constexpr unsigned kPurge = Bit(Request::kPurge);
constexpr unsigned kList = Bit(Request::kList);
constexpr unsigned kUsage = Bit(Request::kUsage);
constexpr unsigned kAny = kSearch | kProbe | kDelete | kBulk | kPurge | kList | kUsage;

constexpr unsigned Bit(BodyKind kind) { return 1u << static_cast<unsigned>(kind); }
constexpr unsigned kAnyBody = ~0u;
constexpr unsigned kNoPage = ~Bit(BodyKind::kHtml);
constexpr unsigned kMessage = Bit(BodyKind::kMessage);
constexpr unsigned kArray = Bit(BodyKind::kArray);
constexpr unsigned kObject = Bit(BodyKind::kMessage) | Bit(BodyKind::kJson);
constexpr unsigned kNothingSaid = Bit(BodyKind::kEmpty) | Bit(BodyKind::kJson);

struct Line {
  unsigned requests;
  int first_status;
  int last_status;
  unsigned bodies;
  Verdict verdict;
};

// The first line that fits decides. Numbers in the comments are sections of the API contract. A search for fileIds that is
// refused, with whatever status, is followed by one by path: so a 404 needs no line for it.
constexpr Line kTable[] = {
    // 2.3: a bare array, `[]` when nothing matches
    {kSearch | kProbe | kList, 200, 200, kArray, Verdict::kFound},
    {kUsage, 200, 200, Bit(BodyKind::kJson), Verdict::kFound},  // 7
    {kList | kUsage, 404, 404, kMessage, Verdict::kBroken},     // as for the library: a route is missing
    {kInFolder, 404, 404, kMessage, Verdict::kNotFound},        // 2.4: perhaps how a missing folder is answered
    {kInLibrary, 404, 404, kMessage, Verdict::kBroken},         // no folder can be missing: a route is, or a whole API
    {kDelete, 204, 204, kAnyBody, Verdict::kDeleted},           // 4.1: the documented success; it has no body
    {kDelete, 200, 200, kNothingSaid, Verdict::kUndecided},  // 1.5, not 4.1: asked once more, ImageKit says it clearly
    {kDelete, 404, 404, kMessage, Verdict::kGone},           // 4.1: "already gone" only in ImageKit's own JSON
    {kBulk, 200, 200, kObject, Verdict::kDeleted},           // 5: those that it lists
    {kBulk, 207, 207, kObject, Verdict::kDeleted},           // 5: likewise
    {kBulk, 404, 404, kMessage, Verdict::kGone},             // 5: those that it lists; nothing was deleted
    {kPurge, 200, 299, kObject, Verdict::kPurged},           // 6.1: sources disagree on 200 and 201
    {kAny, 429, 429, kAnyBody, Verdict::kThrottled},         // 8.4: also when a proxy says it: waiting harms nothing
    {kAny, 401, 401, kNoPage, Verdict::kCredentials},        // 1.5: no key in the request
    {kAny, 403, 403, kNoPage, Verdict::kCredentials},        // 1.5: unknown or expired key, disabled account
    {kAny, 408, 408, kAnyBody, Verdict::kTransient},         // 1.5: undocumented, clients retry it
    {kAny, 423, 423, kAnyBody, Verdict::kTransient},         // 1.5: a bulk job holds the folder
    {kAny, 500, 599, kAnyBody, Verdict::kTransient},         // 1.4, 8.4: may be text or a proxy's page
    {kAny, 400, 400, kNoPage, Verdict::kRejected},           // 2.4, 4.1: bad query or malformed id
    {kAny, 414, 414, kAnyBody, Verdict::kRejected},          // 2.2: the names make the target too long for a proxy
    {kAny, 400, 499, kMessage, Verdict::kRejected},          // 1.5: ImageKit refuses, for a reason of its own
};

}  // namespace

Verdict JudgeAnswer(Request request, int status, BodyKind body) noexcept {
  for (const Line& line : kTable) {
    if ((line.requests & Bit(request)) != 0 && status >= line.first_status && status <= line.last_status &&
        (line.bodies & Bit(body)) != 0) {
      return line.verdict;
    }
  }
  // Redirects (1.1: never followed), other 2xx, a 404 or 403 in HTML, statuses nobody has heard of.
  return Verdict::kBroken;
}

Verdict JudgePurge(Verdict verdict, std::string_view message, bool wait_is_known) {
  // Nobody says how a spent budget is answered: expect a 429 that names no time, or a refusal in words.
  if (verdict == Verdict::kThrottled) return wait_is_known ? verdict : Verdict::kQuota;
  if (verdict != Verdict::kCredentials) return verdict;
  std::string words(message);
  std::transform(words.begin(), words.end(), words.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  const bool spent = words.find("quota") != std::string::npos || words.find("limit") != std::string::npos;
  return spent ? Verdict::kQuota : verdict;
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
    case Verdict::kUndecided:
      return "undecided";
    case Verdict::kPurged:
      return "purged";
    case Verdict::kQuota:
      return "quota";
  }
  return "unknown";
}

}  // namespace imagekit
