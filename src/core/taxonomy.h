// What an answer means, by the request it answers, its status and the kind of its body: the one place where that is
// decided.

#ifndef IMAGEKIT_CORE_TAXONOMY_H
#define IMAGEKIT_CORE_TAXONOMY_H

#include <string_view>

#include "core/api.h"

namespace imagekit {

/// The kinds of request.
enum class Request {
  kFolderSearch,   // search or listing with a `path` parameter
  kLibrarySearch,  // search for names in the whole library
  kIdSearch,       // search for fileIds
  kProbe,
  kDelete,      // one file
  kBulkDelete,  // several
  kPurge,
  kList,   // a page of the whole library
  kUsage,  // what the account uses
};

/// As much of a body as the verdict depends on.
enum class BodyKind {
  kEmpty,
  kMessage,  // a JSON object with a non-empty string `message`: ImageKit's own error (section 1.4)
  kArray,    // a JSON array
  kJson,     // any other JSON object
  kHtml,     // somebody else's page: a proxy, a portal, a wrong host
  kText,     // anything else; ImageKit's own 5xx may look so (section 1.4)
};

/// How a request ended, before its status is looked at.
enum class Transport {
  kComplete,    // a whole answer came
  kTimeout,     // none, or not the whole of it, in time
  kConnection,  // no connection, or one that broke
  kUntrusted,   // the other end could not prove who it is
  kNotHttp,     // what came is no HTTP
  kTooLarge,    // more came than is read
};

/// The verdict on a complete answer. Where the answer is a list it is the best that an entry of it can be, and the
/// entries decide: kFound for an array of a search or probe, kDeleted and kGone for a bulk delete.
Verdict JudgeAnswer(Request request, int status, BodyKind body) noexcept;

/// A purge's refusal looked at closer: whether it means that the purges of the month are used up (section 6.4).
/// `wait_is_known`: the answer came with a usable waiting time.
Verdict JudgePurge(Verdict verdict, std::string_view message, bool wait_is_known);

/// The verdict on a request that got no complete answer.
Verdict JudgeFailure(Transport transport) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_TAXONOMY_H
