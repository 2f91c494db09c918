// An open-addressing set of fingerprints, and a log of those that a subtransaction added and may take back.
//
// Not dynahash: the set is made for every transaction that captures anything, most of them a single row, and must cost
// nothing there.

// In the header, so that the compiler sees it all: it runs for every URL of every deleted row.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "capture/seen.h"

namespace imagekit::capture {

namespace {

constexpr uint32 kFirstSlots = 64;

struct LogEntry {
  uint64 fingerprint;
  int nest_level;
};

// A zero slot is free. The first table is static: a transaction of a few rows allocates nothing.
uint64 first_table[kFirstSlots];
uint64 *table = first_table;
uint32 slots = kFirstSlots;
uint32 used = 0;

// In TopTransactionContext, like every table but the first.
LogEntry *entries = nullptr;
int logged = 0;
int log_room = 0;

uint64 seed = 0;
bool any_pair = false;  // a fileId was seen in this transaction

// A URL is seen without a fileId, or with one: then as the pair, and as a URL that came with some fileId.
enum Role : uint64 { kAlone, kPair, kWithSome };

uint64 Fingerprint(std::string_view text, SeenGroup group, uint64 role) {
  while (seed == 0) seed = pg_prng_uint64(&pg_global_prng_state);
  uint64 print = XXH3_64bits_withSeed(text.data(), text.size(),
                                      seed + (uint64{group.relation} << 3 | uint64{group.moved} << 2) + role);
  return print == 0 ? 1 : print;
}

uint32 Home(uint64 print) { return static_cast<uint32>(print) & (slots - 1); }
uint32 After(uint32 slot) { return (slot + 1) & (slots - 1); }

// The slot that holds it, or the free one where it belongs.
uint32 Find(uint64 print) {
  uint32 slot = Home(print);
  while (table[slot] != 0 && table[slot] != print) slot = After(slot);
  return slot;
}

void Grow() {
  uint64 *old = table;
  uint32 old_slots = slots;
  table = static_cast<uint64 *>(MemoryContextAllocZero(TopTransactionContext, sizeof(uint64) * old_slots * 2));
  slots = old_slots * 2;
  for (uint32 i = 0; i < old_slots; i++)
    if (old[i] != 0) table[Find(old[i])] = old[i];
  if (old == first_table)
    memset(first_table, 0, sizeof first_table);  // for the next transaction
  else
    pfree(old);
}

void Clear() {
  memset(table, 0, sizeof(uint64) * slots);
  used = 0;
  logged = 0;
}

void Remove(uint64 print) {
  uint32 hole = Find(print);
  if (table[hole] == 0) return;
  used--;
  // Whatever could no longer be found behind the hole moves into it.
  for (uint32 slot = After(hole); table[slot] != 0; slot = After(slot)) {
    uint32 distance_home = (slot - Home(table[slot])) & (slots - 1);
    uint32 distance_hole = (slot - hole) & (slots - 1);
    if (distance_home < distance_hole) continue;
    table[hole] = table[slot];
    hole = slot;
  }
  table[hole] = 0;
}

void Log(uint64 print, int nest_level) {
  if (logged == log_room) {
    int room = log_room == 0 ? 64 : log_room * 2;
    entries =
        static_cast<LogEntry *>(entries == nullptr ? MemoryContextAlloc(TopTransactionContext, sizeof(LogEntry) * room)
                                                   : repalloc_huge(entries, sizeof(LogEntry) * room));
    log_room = room;
  }
  entries[logged++] = {print, nest_level};
}

bool Contains(uint64 print) { return table[Find(print)] != 0; }

// False when it is there already.
bool Insert(uint64 print) {
  uint32 slot = Find(print);
  if (table[slot] != 0) return false;
  if (used >= kMostSeen) {
    Clear();
    slot = Find(print);
  } else if (used >= slots / 2) {
    Grow();
    slot = Find(print);
  }
  int nest_level = GetCurrentTransactionNestLevel();
  if (nest_level > 1) Log(print, nest_level);
  table[slot] = print;
  used++;
  return true;
}

}  // namespace

SeenKey PrepareToSee(std::string_view url, SeenGroup group) {
  uint64 alone = Fingerprint(url, group, kAlone);
  __builtin_prefetch(&table[Home(alone)], 1);
  return {alone};
}

bool SeeFirst(std::string_view url, std::string_view file_id, SeenGroup group, SeenKey key) {
  uint64 alone = key.fingerprint;
  if (file_id.empty()) {
    // Nearly always: no fileId in the whole transaction, and one look.
    if (any_pair && Contains(Fingerprint(url, group, kWithSome))) return false;
    return Insert(alone);
  }
  // Mixed, not added: equal URL and fileId must not cancel each other out.
  uint64 pair = Fingerprint(file_id, group, kPair) * 31 + Fingerprint(url, group, kPair);
  if (Contains(alone) || !Insert(pair == 0 ? 1 : pair)) return false;
  any_pair = true;
  (void)Insert(Fingerprint(url, group, kWithSome));
  return true;
}

bool HasSeen(std::string_view url, SeenGroup group) {
  return used > 0 &&
         (Contains(Fingerprint(url, group, kAlone)) || (any_pair && Contains(Fingerprint(url, group, kWithSome))));
}

void UnseeSince(int nest_level) {
  while (logged > 0 && entries[logged - 1].nest_level >= nest_level) Remove(entries[--logged].fingerprint);
}

void SeenByParent(int nest_level) {
  if (nest_level == 2) {
    // What the top level saw is never taken back.
    logged = 0;
    return;
  }
  for (int i = logged; i > 0 && entries[i - 1].nest_level >= nest_level; i--)
    entries[i - 1].nest_level = nest_level - 1;
}

void ForgetSeen() {
  if (table == first_table && used > 0) memset(first_table, 0, sizeof first_table);
  table = first_table;
  slots = kFirstSlots;
  used = 0;
  entries = nullptr;
  logged = log_room = 0;
  any_pair = false;
}

}  // namespace imagekit::capture
