// Our triggers as the catalogs have them: found by the function they call, whatever they are named.

#ifndef IMAGEKIT_CAPTURE_OWN_TRIGGER_H
#define IMAGEKIT_CAPTURE_OWN_TRIGGER_H

#include "pg/server.h"

namespace imagekit::capture {

enum class TriggerKind { kRow, kTruncate };
constexpr TriggerKind kTriggerKinds[] = {TriggerKind::kRow, TriggerKind::kTruncate};

/// The name it is made with.
const char *UsualName(TriggerKind kind);

struct OwnTrigger {
  bool exists;
  NameData name;
  bool copy;           // of a partitioned parent's
  Bitmapset *columns;  // numbers of UPDATE OF; NULL: the plain form
  char state;          // TRIGGER_FIRES_..., TRIGGER_DISABLED
};

/// True for imagekit.capture() as the extension makes it; anybody may make one of that name. Asks for no right on its schema.
bool IsCaptureFunction(Oid function);

/// Takes no lock on the table.
OwnTrigger FindOwnTrigger(Oid relation, TriggerKind kind);

/// True when the table has a BEFORE UPDATE row trigger, or one of its partitions or children has; enabled or not, as nobody
/// tells us when one is enabled in a single session.
bool MayChangeUnseen(Oid relation);

/// As ALTER TABLE ONLY ... ENABLE TRIGGER does it, which would refuse a table with pending trigger events, or one that a cursor
/// of this session reads.
void SetState(Oid relation, TriggerKind kind, char state);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_OWN_TRIGGER_H
