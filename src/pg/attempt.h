// Trying what may fail without failing oneself.

#ifndef IMAGEKIT_PG_ATTEMPT_H
#define IMAGEKIT_PG_ATTEMPT_H

#include "pg/server.h"

namespace imagekit::pg {

/// Calls `work(argument)` in a subtransaction. NULL when it succeeded; else what went wrong, in the current memory context,
/// with everything undone. A cancelled query is not caught: that is the operator's word.
ErrorData *Attempt(void (*work)(void *argument), void *argument);

}  // namespace imagekit::pg

#endif  // IMAGEKIT_PG_ATTEMPT_H
