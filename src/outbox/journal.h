// Writing the journal: packs become tuples of imagekit.outbox in the current (sub)transaction.

#ifndef IMAGEKIT_OUTBOX_JOURNAL_H
#define IMAGEKIT_OUTBOX_JOURNAL_H

#include "pg/server.h"

namespace imagekit::outbox {

/// Where a removed URL came from; the letters stand in the tables. kMove is no removal: the row has gone to another
/// partition, perhaps without one of its images, which the drain finds out.
enum Origin : char { kDelete = 'D', kUpdate = 'U', kTruncate = 'T', kMove = 'M', kEnqueue = 'E' };

struct JournalEntry {
  TimestampTz captured_at;  // not after the removal
  TimestampTz written_at;   // not before it: the grace runs from here
  const Interval *grace;    // the table's own; NULL: by the account's
  Oid relation;
  Oid role;
  Origin origin;
  int32 files;  // in the pack
  int32 total;  // that the transaction removes from the table, all packs together; negative: not known yet
  const char *pack;
  size_t size;
};

/// The largest pack that still shares a page-sized tuple with its columns.
constexpr size_t kPagePack = 8000;

/// Takes the lock that the writer will take at the commit, so that DROP EXTENSION waits before it holds what the commit needs.
void HoldJournal();

class JournalWriter {
 public:
  /// Opens imagekit.outbox; false when the extension has been dropped in this transaction, and the URLs with it.
  bool Open();
  void Write(const JournalEntry &entry);
  void Close();

 private:
  Relation outbox_;
  bool own_snapshot_;
};

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_JOURNAL_H
