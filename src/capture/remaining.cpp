// Counts the files of a table as the TRUNCATE trigger reads them: in C++ and straight from the heap, so that nothing a
// table's owner has put into indexes or functions runs with the extension owner's rights.
//
// Spellings of one file count once. What cannot be read is not counted: whoever asks holds files back when there are few.

#include "capture/remaining.h"

#include <string>
#include <unordered_set>

#include "account/account.h"
#include "capture/row.h"
#include "core/url.h"
#include "pg/attempt.h"
#include "pg/bridge.h"

namespace imagekit::capture {

namespace {

// Hashes of files' keys. A collision is a file less.
using Files = std::unordered_set<size_t>;

struct Counting : UrlSink {
  Oid table;
  const EndpointMap *endpoints;
  Files *files;
  size_t enough;
};

bool Enough(const Counting &counting) { return counting.files->size() >= counting.enough; }

void Count(UrlSink *self, std::string_view url, std::string_view) {
  auto *counting = static_cast<Counting *>(self);
  if (Enough(*counting) || !counting->endpoints->Owns(url)) return;
  pg::CallCxx([&] { counting->files->insert(std::hash<std::string>()(UrlKey(url))); });
}

void CountHeap(Relation relation, Counting *counting) {
  const WatchedRelation *watched = LookUp(relation);
  counting->endpoints = account::Endpoints();
  ForEachRow(relation, [&](TupleTableSlot *row) {
    ExtractRow(*watched, row, counting);
    return !Enough(*counting);
  });
}

void CountTable(void *argument) {
  auto *counting = static_cast<Counting *>(argument);
  if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(counting->table))) return;  // dropped: it uses nothing
  if (WatchedAbove(counting->table) == NIL)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("it is not watched any more")));
  ListCell *cell;
  foreach (cell, find_all_inheritors(counting->table, NoLock, nullptr)) {
    Oid table = lfirst_oid(cell);
    if (Enough(*counting)) break;
    if (!ConditionalLockRelationOid(table, AccessShareLock))
      ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("it is locked")));
    Relation relation = try_relation_open(table, NoLock);
    if (relation == nullptr) {
      UnlockRelationOid(table, AccessShareLock);
      continue;  // dropped
    }
    if (relation->rd_rel->relkind == RELKIND_RELATION && relation->rd_rel->relpersistence != RELPERSISTENCE_TEMP)
      CountHeap(relation, counting);
    relation_close(relation, AccessShareLock);
  }
}

}  // namespace

int64 CountRemaining(Oid table, int64 enough, char **problem) {
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "imagekit remaining", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(scratch);
  Counting counting = {};
  counting.take = Count;
  counting.table = table;
  counting.files = pg::Own<Files>(scratch);
  counting.enough = static_cast<size_t>(enough);
  const ErrorData *error = pg::Attempt(CountTable, &counting);
  auto count = static_cast<int64>(counting.files->size());
  *problem = error == nullptr ? nullptr : MemoryContextStrdup(before, error->message);
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  return count;
}

}  // namespace imagekit::capture
