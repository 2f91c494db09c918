// What imagekit.watch() does that DDL can do as well.

#ifndef IMAGEKIT_CAPTURE_WATCH_H
#define IMAGEKIT_CAPTURE_WATCH_H

#include "capture/watch_config.h"

namespace imagekit::capture {

/// A table has become, or is about to become, a partition or child of a watched one: its own settings and triggers, and
/// those below it, make way, with a NOTICE. What would not be watched any more is raised at `level`. Needs an open
/// SqlSession.
void WatchedByParent(Oid relation, Oid parent, int level);

/// Makes the indexes of a watched table and of what is below it, where that is a matter of a moment; else says how.
void SeeToIndexes(const Watch &watch);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_WATCH_H
