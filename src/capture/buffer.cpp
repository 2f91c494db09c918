// The transaction's buffer of captured URLs, and its callbacks. Nothing here may outlive the transaction.

#include "capture/buffer.h"

#include "capture/seen.h"
#include "outbox/pack.h"
#include "worker/wake.h"

namespace imagekit::capture {

namespace {

using outbox::Origin;

struct Pack {
  Pack *next;
  SubTransactionId subtransaction;
  Oid relation;
  Oid role;
  Origin origin;
  TimestampTz captured_at;
  // Fixed now, so that a later unwatch(), watch() or DROP TABLE does not shorten the wait.
  bool has_grace;
  Interval grace;
  outbox::PackWriter writer;
  size_t capacity;
  bool full;
  char data[FLEXIBLE_ARRAY_MEMBER];
};

// ImageKit's are 24 characters.
constexpr size_t kLongestFileId = 256;

constexpr size_t kMostBuffered = 2 * 1024 * 1024;

// All in TopTransactionContext; forgotten, not freed, when the transaction ends.
Pack *packs = nullptr;  // newest first
size_t buffered = 0;    // bytes of all packs
Pack *spare = nullptr;  // page-sized ones that were written early
bool written = false;   // the commit has come so far that nothing will ask us again
bool early = false;     // something has been written already, so that what is left is not all
bool told_too_long = false;

// What a pack's URLs may differ in their time of capture. The statement has begun before it removes anything; so has the
// transaction, which within a procedure may be the later of the two.
constexpr int64 kOnePack = USECS_PER_SEC;
TimestampTz CapturedAt() { return Max(GetCurrentStatementStartTimestamp(), GetCurrentTransactionStartTimestamp()); }

// What the packs of one call of Queue() have in common; asked for once.
struct Kind {
  const WatchedRelation *watched;
  Origin origin;
  SubTransactionId subtransaction;
  Oid role;
  TimestampTz captured_at;
};

Pack *NewPack(const Kind &kind, size_t capacity) {
  const WatchedRelation &watched = *kind.watched;
  outbox::HoldJournal();
  Pack *pack = spare;
  if (pack != nullptr && capacity == outbox::kPagePack)
    spare = pack->next;
  else
    pack = static_cast<Pack *>(MemoryContextAlloc(TopTransactionContext, offsetof(Pack, data) + capacity));
  pack->subtransaction = kind.subtransaction;
  pack->relation = watched.watched;
  pack->role = kind.role;
  pack->origin = kind.origin;
  pack->captured_at = kind.captured_at;
  pack->has_grace = watched.grace != nullptr;
  if (pack->has_grace) pack->grace = *watched.grace;
  pack->capacity = capacity;
  pack->full = false;
  pack->writer.Start(pack->data, capacity);
  pack->next = packs;
  packs = pack;
  buffered += capacity;
  return pack;
}

// `a` is the older.
bool SameKind(const Pack &a, const Pack &b) {
  return a.relation == b.relation && a.origin == b.origin && a.role == b.role &&
         b.captured_at - a.captured_at <= kOnePack;
}

// The list is a stack: a subtransaction's packs are in front of its parent's. Within one, full packs follow the open one
// of their kind, so the first of the kind decides.
Pack *OpenPack(const Kind &kind) {
  Oid relation = kind.watched->watched;
  for (Pack *pack = packs; pack != nullptr && pack->subtransaction == kind.subtransaction; pack = pack->next)
    if (pack->relation == relation && pack->origin == kind.origin && pack->role == kind.role)
      return pack->full || kind.captured_at - pack->captured_at > kOnePack ? nullptr : pack;
  return nullptr;
}

void Free(Pack *pack) {
  buffered -= pack->capacity;
  if (pack->capacity == outbox::kPagePack) {
    pack->next = spare;
    spare = pack;
  } else {
    pfree(pack);
  }
}

// A subtransaction's packs are those in front.
void Discard(SubTransactionId subtransaction) {
  while (packs != nullptr && packs->subtransaction == subtransaction) {
    Pack *pack = packs;
    packs = pack->next;
    Free(pack);
  }
}

// Calls `take` for each URL of a pack, put together in memory that is good during the call.
template <typename Take>
void ForEachUrl(const Pack &pack, Take take) {
  auto *url = static_cast<char *>(palloc(pack.writer.size() + outbox::kMostShared));
  outbox::PackReader reader({pack.data, pack.writer.size()});
  std::string_view prefix, suffix, file_id;
  while (reader.Next(&prefix, &suffix, &file_id)) {
    memcpy(url, prefix.data(), prefix.size());
    memcpy(url + prefix.size(), suffix.data(), suffix.size());
    take(std::string_view(url, prefix.size() + suffix.size()), file_id);
  }
  pfree(url);
}

// Most bytes that a pack's URLs take elsewhere: they share less with others before them.
size_t MostElsewhere(const Pack &pack) {
  return pack.writer.size() + size_t{pack.writer.count()} * (outbox::kEntryOverhead + outbox::kMostShared);
}

// A URL that moved along with its row, and that the transaction removed as well, is reviewed as removed and not twice.
outbox::PackWriter WithoutRemoved(const Pack &pack) {
  SeenGroup removed = {pack.has_grace ? pack.relation : InvalidOid, false};
  size_t capacity = MostElsewhere(pack);
  outbox::PackWriter kept;
  kept.Start(static_cast<char *>(palloc(capacity)), capacity);
  ForEachUrl(pack, [&](std::string_view url, std::string_view file_id) {
    if (!HasSeen(url, removed)) (void)kept.Add(url, file_id);
  });
  return kept;
}

// How many files the transaction removes from a table, while all of them are in the buffer. What moved is no removal yet.
int32 Total(Oid relation) {
  int64 total = 0;
  for (const Pack *pack = packs; pack != nullptr; pack = pack->next)
    if (pack->relation == relation && pack->origin != outbox::kMove) total += pack->writer.count();
  return static_cast<int32>(Min(total, int64{PG_INT32_MAX}));
}

// Writes the packs in front: all, or those of one subtransaction.
void Write(SubTransactionId subtransaction, bool all) {
  outbox::JournalWriter journal;
  if (!journal.Open()) return;
  TimestampTz now = GetCurrentTimestamp();
  bool counted = all && !early;
  Oid last_relation = InvalidOid;
  int32 total = -1;
  for (const Pack *pack = packs; pack != nullptr && (all || pack->subtransaction == subtransaction);
       pack = pack->next) {
    outbox::PackWriter writer = pack->origin == outbox::kMove ? WithoutRemoved(*pack) : pack->writer;
    if (writer.count() == 0) continue;
    if (counted && pack->relation != last_relation) total = Total(last_relation = pack->relation);
    journal.Write({pack->captured_at, now, pack->has_grace ? &pack->grace : nullptr, pack->relation, pack->role,
                   pack->origin, static_cast<int32>(writer.count()), pack->origin == outbox::kMove ? -1 : total,
                   writer.data(), writer.size()});
  }
  journal.Close();
  early = true;
  worker::WakeAtCommit();
}

// Copies a child's entries behind those of its parent; false, and nothing lost, when they do not fit.
bool Append(Pack *parent, const Pack &child) {
  if (parent->full || parent->writer.size() + MostElsewhere(child) > parent->capacity) return false;
  ForEachUrl(child, [&](std::string_view url, std::string_view file_id) {
    if (!parent->writer.Add(url, file_id))
      elog(ERROR, "a pack of %zu bytes does not take %zu more", parent->writer.size(), child.writer.size());
  });
  return true;
}

// A released subtransaction hands its packs to its parent. Where they fit they are put together: thousands of
// subtransactions with a row each must not leave thousands of packs.
void HandOver(SubTransactionId mine, SubTransactionId parent) {
  Pack *kept = nullptr;
  Pack **last_kept = &kept;
  while (packs != nullptr && packs->subtransaction == mine) {
    Pack *pack = packs;
    packs = pack->next;
    pack->subtransaction = parent;
    *last_kept = pack;
    last_kept = &pack->next;
  }
  *last_kept = nullptr;
  while (kept != nullptr) {
    Pack *pack = kept;
    kept = pack->next;
    Pack *older = packs;
    while (older != nullptr && older->subtransaction == parent && !SameKind(*older, *pack)) older = older->next;
    bool same = older != nullptr && older->subtransaction == parent;
    if (same && Append(older, *pack)) {
      Free(pack);
    } else {
      if (same) older->full = true;
      pack->next = packs;
      packs = pack;
    }
  }
}

void WriteAll() {
  if (packs != nullptr) Write(InvalidSubTransactionId, true);
  packs = nullptr;
  buffered = 0;
}

void Forget() {
  packs = spare = nullptr;
  buffered = 0;
  written = early = false;
  told_too_long = false;
  ForgetSeen();
}

void OnTransaction(XactEvent event, void *) {
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
      WriteAll();
      written = true;
      break;
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_PREPARE:
    case XACT_EVENT_ABORT:
      Forget();
      break;
    default:  // parallel workers never run triggers
      break;
  }
}

void OnSubtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *) {
  // The level is still the subtransaction's own.
  if (event == SUBXACT_EVENT_ABORT_SUB) {
    Discard(mine);
    UnseeSince(GetCurrentTransactionNestLevel());
  } else if (event == SUBXACT_EVENT_PRE_COMMIT_SUB) {
    // Handed over, it would wait with the parent's, which a subtransaction cannot write.
    if (buffered > kMostBuffered && packs->subtransaction == mine) {
      Write(mine, false);
      Discard(mine);
    }
  } else if (event == SUBXACT_EVENT_COMMIT_SUB) {
    HandOver(mine, parent);
    SeenByParent(GetCurrentTransactionNestLevel());
  }
}

void Add(const Kind &kind, std::string_view url, std::string_view file_id) {
  Pack *pack = OpenPack(kind);
  if (pack != nullptr && pack->writer.Add(url, file_id)) return;
  if (pack != nullptr) pack->full = true;

  if (buffered > kMostBuffered && packs->subtransaction == kind.subtransaction) {
    Write(kind.subtransaction, false);
    Discard(kind.subtransaction);
  }
  // A URL longer than a page gets a pack of its own; the journal's TOAST table takes it.
  size_t need = 1 + url.size() + file_id.size() + outbox::kEntryOverhead;
  pack = NewPack(kind, need > outbox::kPagePack ? need : outbox::kPagePack);
  if (!pack->writer.Add(url, file_id)) elog(ERROR, "a URL of %zu bytes does not fit its own pack", url.size());
}

void TellTooLong(const WatchedRelation &watched, size_t size) {
  if (told_too_long) return;
  told_too_long = true;
  ereport(WARNING,
          (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a URL of %zu bytes is not queued for deletion", size),
           errdetail("It stands in table \"%s\" and is longer than %zu bytes, more than any URL that can be used.",
                     get_rel_name(watched.watched), kLongestUrl),
           errhint("If an image is meant, delete it by hand. Further ones of this transaction are not reported.")));
}

void QueueOne(const Kind &kind, const FoundUrl &found, SeenGroup group, SeenKey key) {
  if (found.url.size() > kLongestUrl) {
    TellTooLong(*kind.watched, found.url.size());
    return;
  }
  // Cut, it is no file's id, and so lets no file be deleted.
  std::string_view file_id = found.file_id.substr(0, kLongestFileId);
  if (SeeFirst(found.url, file_id, group, key)) Add(kind, found.url, file_id);
}

}  // namespace

void Queue(const WatchedRelation &watched, Origin origin, const FoundUrl *urls, int count) {
  // A table's own grace is its own promise: what another table removes at once does not stand for it.
  SeenGroup group = {watched.grace == nullptr ? InvalidOid : watched.watched, origin == outbox::kMove};
  Kind kind = {&watched, origin, GetCurrentSubTransactionId(), GetUserId(), CapturedAt()};
  // The set is larger than the processor's nearest caches: all are sent for before the first is looked at.
  constexpr int kAtOnce = 16;
  SeenKey keys[kAtOnce];
  for (int first = 0; first < count; first += kAtOnce) {
    int most = Min(count - first, kAtOnce);
    for (int i = 0; i < most; i++) keys[i] = PrepareToSee(urls[first + i].url, group);
    for (int i = 0; i < most; i++) QueueOne(kind, urls[first + i], group, keys[i]);
  }
  // Another extension deletes rows at PRE_COMMIT, after our turn.
  if (written) WriteAll();
}

void InitializeBuffer() {
  RegisterXactCallback(OnTransaction, nullptr);
  RegisterSubXactCallback(OnSubtransaction, nullptr);
}

}  // namespace imagekit::capture
