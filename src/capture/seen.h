// The URLs the current transaction has queued already: the same one removed twice is queued once.
//
// Kept as 64-bit fingerprints, keyed anew in every process so that nobody can choose URLs that collide. A transaction of
// more than kMostSeen distinct URLs starts over: memory stays bounded, and a double that slips through is one review more.

#ifndef IMAGEKIT_CAPTURE_SEEN_H
#define IMAGEKIT_CAPTURE_SEEN_H

#include <string_view>

#include "pg/server.h"

namespace imagekit::capture {

constexpr uint32 kMostSeen = 64 * 1024;

/// What must not stand for one another: removals of tables with a grace of their own, and moves, which are no removals.
struct SeenGroup {
  Oid relation;
  bool moved;
};

/// Where a URL is, or would be, in the set. Made for several URLs before the first is looked for, it hides the wait for
/// memory.
struct SeenKey {
  uint64 fingerprint;
};
SeenKey PrepareToSee(std::string_view url, SeenGroup group);

/// False when the transaction has seen the URL before, with this fileId or without one; and without one, with any. `key` is
/// the URL's.
bool SeeFirst(std::string_view url, std::string_view file_id, SeenGroup group, SeenKey key);

/// True when the transaction has seen the URL, with a fileId or without one. Changes nothing.
bool HasSeen(std::string_view url, SeenGroup group);

/// A subtransaction ends: what it saw first has not been seen, or was seen by its parent. The levels are those of
/// GetCurrentTransactionNestLevel(), the top being 1.
void UnseeSince(int nest_level);
void SeenByParent(int nest_level);

/// The transaction ends.
void ForgetSeen();

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_SEEN_H
