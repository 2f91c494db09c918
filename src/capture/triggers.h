// The triggers of watched tables: which tables carry them, and in what state.
//
// A watched table has both. Its partitions get the row trigger from PostgreSQL, as a copy; the TRUNCATE trigger, which is
// not copied, each gets from us. Children by inheritance get neither from PostgreSQL, so both from us.

#ifndef IMAGEKIT_CAPTURE_TRIGGERS_H
#define IMAGEKIT_CAPTURE_TRIGGERS_H

#include "capture/watch_config.h"

namespace imagekit::capture {

// All of these need an open SqlSession.

/// Gives a watched table and all below it the triggers they lack, in the state the setting `replication` asks for.
/// Takes ShareRowExclusiveLock on every table it has to change; with `all`, on all of them.
void EnsureTriggers(const Watch &watch, bool all);

/// Drops the triggers of a table and all below it, except where another watched table above still needs them.
void DropTriggers(Oid relation);

/// True when a table has a row or TRUNCATE trigger of ours that is no copy of its parent's.
bool HasOwnTriggers(Oid relation);

/// True while we create or drop triggers ourselves: the event triggers have nothing to say then.
bool ChangingTriggers();

/// "schema"."table", quoted where needed.
char *QualifiedName(Oid relation);

constexpr char kRowTrigger[] = "imagekit_capture";
constexpr char kTruncateTrigger[] = "imagekit_capture_truncate";

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_TRIGGERS_H
