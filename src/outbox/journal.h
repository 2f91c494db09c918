// Writing the journal: packs become tuples of imagekit.outbox in the current (sub)transaction.

#ifndef IMAGEKIT_OUTBOX_JOURNAL_H
#define IMAGEKIT_OUTBOX_JOURNAL_H

#include "pg/server.h"

namespace imagekit::outbox {

/// Where a removed URL came from; the letters stand in the tables.
enum Origin : char { kDelete = 'D', kUpdate = 'U', kTruncate = 'T', kEnqueue = 'E' };

struct JournalEntry {
  TimestampTz captured_at;
  Oid relation;
  Oid role;
  Origin origin;
  const char *pack;
  size_t size;
};

/// The largest pack that still shares a page-sized tuple with its columns.
constexpr size_t kPagePack = 8000;

class JournalWriter {
 public:
  /// Opens imagekit.outbox; false when the extension has been dropped in this transaction, and the URLs with it.
  bool Open();
  void Write(const JournalEntry &entry);
  void Close();

 private:
  Relation outbox_;
};

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_JOURNAL_H
