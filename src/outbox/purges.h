// imagekit.purges: URLs of deleted files that are still to be purged from the CDN.
//
// A stage of its own behind the delete: best effort, within a monthly budget, and of no consequence for the file, which is
// settled already. An attempt is written down before it is sent, with the time of the next, so nothing has to be taken back
// from a process that died.

#ifndef IMAGEKIT_OUTBOX_PURGES_H
#define IMAGEKIT_OUTBOX_PURGES_H

#include "worker/batch.h"
#include "worker/sender.h"

namespace imagekit::outbox {

/// One that is to be sent now.
struct PurgeToSend {
  int64 id;
  int account;  // ApiClient's number
  char *url;
  int attempts;  // this one included
};

/// What became of one: done when it need not be sent again, whatever for.
struct PurgeResult {
  int64 id;
  bool done;
  bool unsent;  // taken back: no attempt, and none of the month's
  char *error;  // in words; NULL: purged
  Oid spent;    // the account whose budget ImageKit says is spent; InvalidOid: none
};

// All of these need an open SqlSession.

/// Queues the URLs of the settling files that were deleted, of accounts that have purge_cache.
void QueuePurges(const worker::Batch &batch);

/// Up to `limit` that are due, of accounts that can be sent to and have budget left; their attempt is counted. In `context`.
List *ClaimPurges(const worker::Sender &sender, int limit, MemoryContext context);

void SettlePurges(List *results);

/// When the next is due; DT_NOEND: none.
TimestampTz NextPurge(const worker::Sender &sender);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_PURGES_H
