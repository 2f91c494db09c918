// What an answer means, by its status and the kind of its body: the one place where that is decided.

#ifndef IMAGEKIT_CORE_TAXONOMY_H
#define IMAGEKIT_CORE_TAXONOMY_H

#include "core/api.h"

namespace imagekit {

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

/// The verdict on a complete answer. A look-up or probe answered by an array is kFound here: the entries decide the rest.
Verdict JudgeAnswer(Operation operation, int status, BodyKind body) noexcept;

/// The verdict on a request that got no complete answer.
Verdict JudgeFailure(Transport transport) noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_TAXONOMY_H
