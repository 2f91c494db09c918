// What a DDL command is about, as far as it may concern watched tables; for the event triggers.

#ifndef IMAGEKIT_CAPTURE_DDL_COMMAND_H
#define IMAGEKIT_CAPTURE_DDL_COMMAND_H

#include "pg/server.h"

namespace imagekit::capture {

// What a command is about to do, or has done. Tables that do not exist (yet, any more) are not in it.
struct Alteration {
  List *tables;     // those it names, and the watched tables of a type it alters
  List *newcomers;  // those that become partitions or children
  List *parted;     // those that it takes off a partitioned table or a parent
  bool attach;      // the newcomer is to be a partition of the first of `tables`
  List *columns;    // names of those it drops, or gives another type
};

Alteration ReadAlteration(const EventTriggerData &event);

/// Those watched tables that the command can have to do with: no row or lock of another may be touched, lest sessions that
/// change different tables wait for each other.
List *ConcernedTables(const Alteration &alteration);

/// What the server calls the command: "ALTER TABLE".
const char *TagOf(const EventTriggerData *event);

/// The event, or an error when the function was called in another way.
EventTriggerData *EventOf(FunctionCallInfo fcinfo, const char *function);

/// Says what went wrong, with which watched table (0: none in particular), where no command may fail; nothing when `error` is
/// NULL.
void WarnNotFollowed(const ErrorData *error, const EventTriggerData *event, Oid table);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_DDL_COMMAND_H
