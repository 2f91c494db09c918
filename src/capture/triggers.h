// The triggers of watched tables: which tables carry them, and in what form and state.
//
// A watched table has both. Its partitions get the row trigger from PostgreSQL, as a copy; the TRUNCATE trigger, which is
// not copied, each gets from us. Children by inheritance get neither from PostgreSQL, so both from us.
//
// The row trigger's form is AFTER DELETE OR UPDATE OF the watched columns: an UPDATE of others then costs nothing. But such a
// trigger does not fire when a BEFORE UPDATE trigger changes a watched column by itself, so where there is one, here or in
// a partition or child, the form is plain AFTER DELETE OR UPDATE.

#ifndef IMAGEKIT_CAPTURE_TRIGGERS_H
#define IMAGEKIT_CAPTURE_TRIGGERS_H

#include "capture/watch_config.h"

namespace imagekit::capture {

// All of these need an open SqlSession.

/// Gives a watched table and all below it their triggers, in the right form and state, whatever they had before. Takes
/// ShareRowExclusiveLock on all of them.
void MakeTriggers(const Watch &watch);

/// Gives a new partition or child, and what is below it, the triggers they lack. Locks only those.
void AddTriggers(const Watch &watch, Oid newcomer);

/// Brings the row triggers of a watched table and all below it into the right form, or with `plain` into that, where they are
/// in the other. One that is not there is not made by the way.
void FormTriggers(const Watch &watch, bool plain);

/// Drops the triggers of a table and all below it, except where another watched table above still needs them.
void DropTriggers(Oid relation);

/// Drops those of one table that are no copies. Takes AccessExclusiveLock.
void DropOwnTriggers(Oid relation);

/// True when a table has a row or TRUNCATE trigger of ours that is no copy of its parent's.
bool HasOwnTriggers(Oid relation);

/// True while we create or drop triggers ourselves: the event triggers have nothing to say then.
bool ChangingTriggers();

/// "schema"."table", quoted where needed.
char *QualifiedName(Oid relation);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_TRIGGERS_H
