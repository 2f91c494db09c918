// An UPDATE that leaves every watched column as it was queues no trigger event.
//
// PostgreSQL keeps an event for each row that an AFTER trigger may want, and at the statement's end fetches both versions of
// it again: most of what an application pays that writes back all it has read. Only a WHEN condition stops an event before
// it is queued, and one in SQL would be parsed and planned in every statement, detoast what it compares, and call functions
// that the user must be allowed to execute. So our row trigger says WHEN (true), and where a statement begins that
// condition is answered in C. Where we are not asked (an apply worker, a partition that rows are routed to), `true` it is: the
// trigger fires and looks itself.

#ifndef IMAGEKIT_CAPTURE_UNCHANGED_H
#define IMAGEKIT_CAPTURE_UNCHANGED_H

#include "pg/server.h"

namespace imagekit::capture {

/// Hooks into the executor's start. Once, from _PG_init.
void InitializeUnchanged();

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_UNCHANGED_H
