// A batch: the files one round of the drain works on, from claim to settlement.

#ifndef IMAGEKIT_WORKER_BATCH_H
#define IMAGEKIT_WORKER_BATCH_H

#include <vector>

#include "account/account.h"
#include "core/url.h"
#include "pg/server.h"

namespace imagekit::worker {

/// What is known of a file's future. kOpen until a step decides; the first decision stands.
enum class Fate {
  kOpen,
  kDeleted,   // history: deleted
  kNotFound,  // history: not_found
  kKept,      // history: kept, still used
  kSkipped,   // history: skipped, must not be deleted
  kParked,    // backlog: failed, a person has to look at it
  kRetry,     // backlog: retrying after a wait; the attempt counts
  kReleased,  // backlog: as it was before the claim; the attempt does not count
};

struct QueuedFile {
  // As claimed
  int64 id;  // backlog.id; 0 when deleted by hand
  char *url;
  char *captured_file_id;  // NULL when the row held none
  Oid relation;            // 0 by hand
  TimestampTz captured_at;
  int attempts;   // this one included
  bool in_doubt;  // a delete may have been sent whose answer is not known
  bool waits;     // for a row of another transaction, when it was asked last

  // As resolved
  const account::Account *account;  // NULL when the URL is under no endpoint
  char *path;                       // "/folder/name"; NULL when underivable
  int same_as;                      // index of an earlier file of the batch with the same account and path, else -1

  // As looked up
  bool looked_up;
  bool deleted_before;        // not there, and the history says that we have deleted it
  bool other_reading_exists;  // another file the URL could mean is in the library
  char *file_id;              // NULL: no file at the path
  char *name;

  Fate fate;
  char *detail;           // why, in words
  bool unwitnessed;       // deleted, and not asked since whether a row came to use it at that moment
  int64 release_wait_ms;  // kReleased: not before
};

struct Batch {
  MemoryContext context;  // of everything here; deleted at the end of the round
  QueuedFile *files;
  int count;
  std::vector<UrlReading> *readings;  // one a file, owned by `context`
};

/// Decides a file's fate unless it is decided; `detail` (may be NULL) is copied.
void Decide(Batch *batch, QueuedFile *file, Fate fate, const char *detail);

/// The word for a settled fate, as in imagekit.history.outcome; NULL for one that is not settled.
const char *OutcomeOf(Fate fate);

/// True while the file has no fate and is not a double of another.
inline bool Open(const QueuedFile &file) { return file.fate == Fate::kOpen && file.same_as < 0; }

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_BATCH_H
