// The shared memory behind shared_pace.h: a table of names that only grows, and lock-free counters (core/pace.h).

#include "worker/shared_pace.h"

#include "core/http_multi.h"
#include "worker/shared_memory.h"

namespace imagekit::worker {

namespace {

// Two names an account. Those that find no room pace themselves, and the log says so once.
constexpr int kMostNames = 1024;

struct NamedPace {
  uint64 name;  // 0: free
  AccountPace pace;
  Oid databases[kPaceDatabases];  // InvalidOid: no more
};

struct PaceTable {
  LWLock *lock;
  int64 made_us;  // when
  NamedPace names[kMostNames];
};

PaceTable *table = nullptr;

void Attach(void *memory, LWLock *lock, bool fresh) {
  table = static_cast<PaceTable *>(memory);
  table->lock = lock;
  if (fresh) table->made_us = MonotonicUs();
}

// What was used before a crash or a restart is not known any more: a second burst could follow right after the first.
void BeginWithoutBurst(AccountPace *pace) {
  pace->reads.began_us = table->made_us;
  pace->writes.began_us = table->made_us;
}

// Those that find no room are left out.
void NoteDatabase(NamedPace *named) {
  for (Oid &database : named->databases) {
    if (database == InvalidOid) database = MyDatabaseId;
    if (database == MyDatabaseId) return;
  }
}

}  // namespace

const SharedPiece kPacePiece = {"imagekit_cleanup_pace", [] { return sizeof(PaceTable); }, Attach};

AccountPace *FindAccountPace(uint64 name) {
  if (table == nullptr) return nullptr;
  name = Max(name, uint64{1});
  AccountPace *pace = nullptr;
  LWLockAcquire(table->lock, LW_EXCLUSIVE);
  for (NamedPace &named : table->names) {
    if (named.name == 0) {
      named.name = name;
      BeginWithoutBurst(&named.pace);
    }
    if (named.name != name) continue;
    pace = &named.pace;
    NoteDatabase(&named);
    break;
  }
  LWLockRelease(table->lock);
  static bool complained = false;
  if (pace == nullptr && !complained)
    ereport(LOG,
            (errmsg("imagekit_cleanup has no room for the pace of another account"),
             errdetail("Processes that send for it keep to its limits each by itself, until the server restarts.")));
  complained |= pace == nullptr;
  return pace;
}

int DatabasesOfPace(uint64 name, Oid *databases) {
  if (table == nullptr) return 0;
  name = Max(name, uint64{1});
  int count = 0;
  LWLockAcquire(table->lock, LW_SHARED);
  for (const NamedPace &named : table->names) {
    if (named.name == 0) break;
    if (named.name != name) continue;
    while (count < kPaceDatabases && named.databases[count] != InvalidOid) {
      databases[count] = named.databases[count];
      count++;
    }
  }
  LWLockRelease(table->lock);
  return count;
}

}  // namespace imagekit::worker
