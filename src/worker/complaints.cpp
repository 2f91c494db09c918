// The shared memory behind complaints.h: lock-free counters for each database (core/pace.h), and the causes that were said last.

#include "worker/complaints.h"

#include "core/pace.h"
#include "worker/shared_memory.h"
#include "worker/shared_state.h"

namespace imagekit::worker {

namespace {

// A few at once, and then one every ten minutes: ten in an hour, and one cause's stop and its end make the dozen full.
constexpr double kComplaints = 4;
constexpr double kComplaintsPerSecond = 1.0 / 600;

constexpr Ticks kSaidLately = 3600 * 1000;

// Noted when it was said that an account has stopped: that it goes on is to be said, too, and has its place in the dozen.
constexpr char kEnd[] = "sends again";

// Databases that find no room share the last place, and causes that do not are forgotten sooner.
constexpr int kMostDatabases = 1024;
constexpr int kMostCauses = 256;

struct DatabaseComplaints {
  Oid database;  // InvalidOid: free
  PaceState complaints;
  std::atomic<uint32> unsaid;
};

struct SaidCause {
  uint64 what;
  Ticks at;  // 0: free
};

struct Table {
  LWLock *lock;  // NULL where it is one process's own
  DatabaseComplaints databases[kMostDatabases];
  SaidCause causes[kMostCauses];
};

Table own_table;
Table *table = &own_table;

void Attach(void *memory, LWLock *lock, bool) {
  table = static_cast<Table *>(memory);  // zeroed: full buckets, nothing said
  table->lock = lock;
}

void Lock() {
  if (table->lock != nullptr) LWLockAcquire(table->lock, LW_EXCLUSIVE);
}

void Unlock() {
  if (table->lock != nullptr) LWLockRelease(table->lock);
}

DatabaseComplaints *Mine() {
  static DatabaseComplaints *mine = nullptr;
  if (mine != nullptr) return mine;
  Lock();
  for (DatabaseComplaints &one : table->databases) {
    mine = &one;
    if (!OidIsValid(one.database)) one.database = MyDatabaseId;
    if (one.database == MyDatabaseId) break;
  }
  Unlock();
  return mine;
}

// All or none of them.
bool TryTake(PaceState *state, int count) {
  const Pace pace(kComplaintsPerSecond, kComplaints);
  int taken = 0;
  while (taken < count && pace.TryTake(&state, 1, NowTicks() * 1000)) taken++;
  if (taken == count) return true;
  while (taken-- > 0) pace.GiveBack(&state, 1);
  return false;
}

uint64 HashCause(Oid server, const char *cause) {
  const Oid whose[] = {MyDatabaseId, server};
  return hash_combine64(
      hash_bytes_extended(reinterpret_cast<const unsigned char *>(whose), sizeof whose, 0),
      hash_bytes_extended(reinterpret_cast<const unsigned char *>(cause), static_cast<int>(strlen(cause)), 0));
}

// Notes the cause as said now. True when it was not said lately; the oldest makes room for it.
bool IsNews(uint64 what) {
  const Ticks now = NowTicks();
  Lock();
  SaidCause *place = &table->causes[0];
  for (SaidCause &cause : table->causes) {
    if (cause.at != 0 && cause.what == what) {
      place = &cause;
      break;
    }
    if (cause.at < place->at) place = &cause;
  }
  const bool news = place->at == 0 || place->what != what || now - place->at > kSaidLately;
  if (news) *place = {what, now};
  Unlock();
  return news;
}

// True when it was noted.
bool Forget(uint64 what) {
  bool found = false;
  Lock();
  for (SaidCause &cause : table->causes) {
    if (cause.at == 0 || cause.what != what) continue;
    cause = {};
    found = true;
  }
  Unlock();
  return found;
}

}  // namespace

const SharedPiece kComplaintsPiece = {"imagekit_cleanup_complaints", [] { return sizeof(Table); }, Attach};

bool MayComplain(int *unsaid) {
  DatabaseComplaints *mine = Mine();
  if (!TryTake(&mine->complaints, 1)) {
    mine->unsaid.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  *unsaid = static_cast<int>(mine->unsaid.exchange(0, std::memory_order_relaxed));
  return true;
}

bool MaySayStopped(Oid server, const char *cause) {
  if (!IsNews(HashCause(server, cause)) && !TryTake(&Mine()->complaints, 2)) return false;
  (void)IsNews(HashCause(server, kEnd));
  return true;
}

bool MaySayOnce(const char *cause) { return IsNews(HashCause(InvalidOid, cause)); }

bool MaySayResumed(Oid server) { return Forget(HashCause(server, kEnd)); }

}  // namespace imagekit::worker
