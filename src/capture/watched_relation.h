// What the trigger needs to know of a table, kept from one row to the next.

#ifndef IMAGEKIT_CAPTURE_WATCHED_RELATION_H
#define IMAGEKIT_CAPTURE_WATCHED_RELATION_H

#include "capture/source.h"

namespace imagekit::capture {

/// A partition is looked up for its own row trigger, and for the TRUNCATE trigger of the table above it.
struct WatchedKey {
  Oid relation;  // the table with the row
  Oid trigger;
};

struct WatchedRelation {
  WatchedKey key;
  bool fresh;
  bool touched;  // invalidated since it was last begun to be filled
  Oid watched;   // the table imagekit.watch() was called for: itself, or the partitioned table above
  int count;
  ResolvedSource *sources;
  MemoryContext context;
};

/// The sources named by a trigger's arguments from `first_argument` on. Cached per table until the table changes; a
/// source that no longer fits is left out with a WARNING. Valid until the next call.
const WatchedRelation *LookUp(Relation relation, const Trigger *trigger, int first_argument);

/// Registers the cache's invalidation. Once, from _PG_init.
void InitializeWatchedRelations();

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_WATCHED_RELATION_H
