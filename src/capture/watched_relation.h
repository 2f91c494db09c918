// What the triggers need to know of a table, kept from one row to the next.

#ifndef IMAGEKIT_CAPTURE_WATCHED_RELATION_H
#define IMAGEKIT_CAPTURE_WATCHED_RELATION_H

#include "capture/watch_config.h"

namespace imagekit::capture {

struct WatchedRelation {
  Oid relation;  // the table with the rows
  bool fresh;
  bool touched;  // invalidated since it was last begun to be filled
  // The table imagekit.watch() was called for: itself, or one it is a partition or child of. 0 when there is none any more.
  Oid watched;
  Interval *grace;  // NULL: the account's
  OnTruncate on_truncate;
  int count;
  ResolvedSource *sources;
  MemoryContext context;
};

/// A table's sources, by the numbers its own columns have. Cached until the table or its settings change; a source that no
/// longer fits is left out, with a WARNING if nobody has been told. Valid until the next call.
const WatchedRelation *LookUp(Relation relation);

/// Makes every session look up a table, and all below it, anew. For whoever changes its settings.
void ForgetWatched(Oid relation);

/// Registers the cache's invalidation. Once, from _PG_init.
void InitializeWatchedRelations();

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_WATCHED_RELATION_H
