// How much a watched table still uses.

#ifndef IMAGEKIT_CAPTURE_REMAINING_H
#define IMAGEKIT_CAPTURE_REMAINING_H

#include "pg/server.h"

namespace imagekit::capture {

/// How many files the table, its partitions and its children use; reading stops at `enough` of them. When they cannot be
/// counted, *problem says why in words, in the current memory context. Waits for no lock and keeps none.
int64 CountRemaining(Oid table, int64 enough, char **problem);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_REMAINING_H
