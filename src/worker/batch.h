// The batch: the files a drain (or a call by hand) has in hand, each on its way from claim to settlement.
//
// A drain has one batch for as long as it works. Files come into free slots claim by claim and leave when they are settled,
// each at its own pace, so that none waits for another. The stages, and who moves a file on, are in README.md here.

#ifndef IMAGEKIT_WORKER_BATCH_H
#define IMAGEKIT_WORKER_BATCH_H

#include <vector>

#include "account/account.h"
#include "core/url.h"
#include "pg/server.h"
#include "worker/shared_state.h"

namespace imagekit::worker {

/// Where an open file is on its way.
enum class Stage : uint8 {
  kNew,       // its URL has not been read
  kClaimed,   // is to be looked up
  kAsked,     // is being looked up
  kAnswered,  // the library's answer is there; whether it is believed is not decided
  kFound,     // is in the library, and waits for the pace
  kProving,   // is being asked about in the watched tables
  kSent,      // its delete is on the wire
  kFree,      // no file: an empty slot
};

/// What is known of a file's future. kOpen until a step decides; the first decision stands.
enum class Fate : uint8 {
  kOpen,
  kDeleted,   // history: deleted
  kNotFound,  // history: not_found
  kKept,      // history: kept, still used
  kSkipped,   // history: skipped, must not be deleted
  kParked,    // backlog: failed, a person has to look at it
  kRetry,     // backlog: retrying after a wait; the attempt counts
  kReleased,  // backlog: as it was before the claim; the attempt does not count
};

/// A row of imagekit.claims: files that were claimed together, and the memory of what is theirs.
struct Claim {
  int64 id;
  MemoryContext context;
  int files;         // in the batch, not settled yet
  int decided;       // of them, with a fate and free to be settled; counted when it is asked
  Ticks decided_at;  // when the first of these was seen; 0: none
};

struct QueuedFile {
  // As claimed
  Claim *claim;  // NULL when nothing was claimed: by hand, and where only references are looked for
  int64 id;      // backlog.id; 0 when it has none: straight from the journal, or by hand
  char *url;
  char *captured_file_id;  // NULL when the row held none
  Oid server;              // at the time it was queued
  FullTransactionId transaction;
  Oid relation;  // 0 by hand
  Oid role;
  char origin;
  TimestampTz captured_at;
  TimestampTz due_at;
  char *last_error;
  int attempts;   // this one included
  bool in_doubt;  // a delete may have been sent whose answer is not known
  bool approved;
  bool by_hand;

  // As resolved
  const account::Account *account;  // NULL when the URL is under no endpoint
  char *path;                       // "/folder/name"; NULL when underivable
  int same_as;                      // index of a file of the same claim with the same account and path, else -1
  int behind;                       // index of one claimed before that is at the same path: waits for it; else -1

  // As looked up
  Stage stage;
  int answers_due;   // of questions to ImageKit about it
  bool asked_again;  // as one of them was put off
  bool looked_up;
  char *refused;              // what ImageKit says against looking it up
  bool deleted_before;        // not there, and it is known that we have deleted it
  bool may_be_newer;          // its row went after that one was looked up: another may have been uploaded since
  bool other_reading_exists;  // another file the URL could mean is in the library
  char *file_id;              // NULL: no file at the path
  char *name;
  TimestampTz looked_up_at;  // when it came to kFound, by the wall's clock
  Ticks found_at;            // when it came to kFound

  // As sent
  bool alone;     // only a delete of its own can decide it
  int undecided;  // answers that did not decide it, or put it off

  Fate fate;
  char *detail;           // why, in words
  bool unwitnessed;       // deleted, and not asked since whether a row came to use it at that moment
  int64 release_wait_ms;  // kReleased: not before
  bool settling;          // is being settled
};

/// So often may a file be put off, or an answer not decide it, before the attempt counts as failed.
constexpr int kMostUndecided = 8;

struct Batch {
  MemoryContext context;  // of what is not one claim's
  QueuedFile *files;
  int count;                          // slots up to the last one in use
  int first_free;                     // no slot before this is free
  std::vector<UrlReading> *readings;  // one a slot, owned by `context`
};

/// Decides a file's fate unless it is decided; `detail` (may be NULL) is copied.
void Decide(Batch *batch, QueuedFile *file, Fate fate, const char *detail);

/// Where what belongs to the file is allocated.
MemoryContext MemoryOf(const Batch *batch, const QueuedFile *file);

/// The word for a settled fate, as in imagekit.history.outcome; NULL for one that is not settled.
const char *OutcomeOf(Fate fate);

/// True while the file has no fate and is not a double of another.
inline bool Open(const QueuedFile &file) {
  return file.fate == Fate::kOpen && file.same_as < 0 && file.stage != Stage::kFree;
}

inline bool IsAt(const QueuedFile &file, Stage stage) { return file.stage == stage && Open(file); }

/// Asked about in the watched tables: may a delete go out, and was one a mistake?
inline bool Asked(const QueuedFile &file) { return IsAt(file, Stage::kProving) || file.unwitnessed; }

/// Ready to be settled: nothing is to be learnt about it any more.
inline bool Decided(const QueuedFile &file) {
  return file.stage != Stage::kFree && file.fate != Fate::kOpen && file.answers_due == 0;
}

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_BATCH_H
