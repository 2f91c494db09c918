// Purging the CDN of what was deleted: behind everything else, and of no consequence for it.

#ifndef IMAGEKIT_WORKER_PURGE_H
#define IMAGEKIT_WORKER_PURGE_H

#include "worker/sender.h"

namespace imagekit::worker {

/// Purges under way. Zeroed memory at first. They outlast a round: what is still on the wire then is answered in the next.
struct Purging {
  MemoryContext context;  // of the two lists; NULL: nothing is under way
  List *sent;             // outbox::PurgeToSend *
  List *results;          // outbox::PurgeResult *
  TimestampTz due_at;     // when to look for more
};

/// When PurgeSome() will have something to do by itself; DT_NOEND: not before the next answer.
TimestampTz NextPurgeAt(const Purging &purging, const Sender &sender);

/// Writes down what became of those that were sent, and sends more. Needs an open SqlSession; nothing is sent before the
/// caller lets the client work, which is after its commit.
void PurgeSome(Purging *purging, const Sender &sender, MemoryContext parent);

void TakePurge(Purging *purging, const Sender &sender, const Answer &answer);

/// Of a client that is gone: they are sent again when their next attempt is due.
void ForgetPurges(Purging *purging);

inline bool Purges(const Purging &purging) { return purging.sent != NIL; }

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_PURGE_H
