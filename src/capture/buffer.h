// Where captured URLs wait until their transaction commits.
//
// The trigger adds URLs; they are encoded at once into page-sized packs, one open pack for each (subtransaction, table,
// origin, role). Just before the commit (or PREPARE TRANSACTION) the packs are written to imagekit.outbox. A rolled-back
// subtransaction drops its packs, a released one hands them to its parent. When the packs grow beyond a cap, those of
// the current subtransaction are written early: only those, because a parent's must survive this one's rollback.

#ifndef IMAGEKIT_CAPTURE_BUFFER_H
#define IMAGEKIT_CAPTURE_BUFFER_H

#include "capture/difference.h"
#include "capture/watched_relation.h"
#include "outbox/journal.h"

namespace imagekit::capture {

/// Longer than any URL that a browser, a proxy or ImageKit would take. What is longer is said once in a transaction, and
/// not queued.
constexpr size_t kLongestUrl = 64 * 1024;

/// Queues URLs in the current transaction, except those that it has queued already.
void Queue(const WatchedRelation &watched, outbox::Origin origin, const FoundUrl *urls, int count);

/// Registers the transaction callbacks. Once per backend, from _PG_init: registering per transaction would make each
/// one dearer than the last.
void InitializeBuffer();

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_BUFFER_H
