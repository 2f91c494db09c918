// Bringing a watched table's settings and triggers in line with what it is now.

#ifndef IMAGEKIT_CAPTURE_DDL_H
#define IMAGEKIT_CAPTURE_DDL_H

#include "capture/ddl_command.h"

namespace imagekit::capture {

/// Follows what a command has done to a watched table: renamed, altered and dropped columns, new partitions and children, the
/// form of its triggers. What is not watched any more is a WARNING. Needs an open SqlSession.
void FollowTable(Oid table, const Alteration &alteration);

/// Rows that went to another partition can be asked for what they hold no longer: that partition is gone, or not watched
/// any more. Nothing is concluded from moves until now. Needs an open SqlSession.
void ConcludeNothing(Oid table);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_DDL_H
