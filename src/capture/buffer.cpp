// The transaction's buffer of captured URLs, and its callbacks. Nothing here may outlive the transaction.

#include "capture/buffer.h"

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
  outbox::PackWriter writer;
  size_t capacity;
  bool full;
  char data[FLEXIBLE_ARRAY_MEMBER];
};

constexpr size_t kMostBuffered = 4 * 1024 * 1024;

// All in TopTransactionContext; forgotten, not freed, when the transaction ends.
Pack *packs = nullptr;  // newest first
size_t buffered = 0;    // bytes of all packs

Pack *NewPack(Oid relation, Origin origin, size_t capacity) {
  auto *pack = static_cast<Pack *>(MemoryContextAlloc(TopTransactionContext, offsetof(Pack, data) + capacity));
  pack->subtransaction = GetCurrentSubTransactionId();
  pack->relation = relation;
  pack->role = GetUserId();
  pack->origin = origin;
  pack->captured_at = GetCurrentStatementStartTimestamp();
  pack->capacity = capacity;
  pack->full = false;
  pack->writer.Start(pack->data, capacity);
  pack->next = packs;
  packs = pack;
  buffered += capacity;
  return pack;
}

Pack *OpenPack(Oid relation, Origin origin) {
  SubTransactionId subtransaction = GetCurrentSubTransactionId();
  Oid role = GetUserId();
  // Full packs follow the open ones of their kind, so the first match decides.
  for (Pack *pack = packs; pack != nullptr; pack = pack->next)
    if (pack->relation == relation && pack->subtransaction == subtransaction && pack->origin == origin &&
        pack->role == role)
      return pack->full ? nullptr : pack;
  return nullptr;
}

bool Chosen(const Pack *pack, SubTransactionId subtransaction) {
  return subtransaction == InvalidSubTransactionId || pack->subtransaction == subtransaction;
}

// Takes packs of one subtransaction (or all) out of the list.
void Discard(SubTransactionId subtransaction) {
  for (Pack **link = &packs; *link != nullptr;) {
    Pack *pack = *link;
    if (Chosen(pack, subtransaction)) {
      *link = pack->next;
      buffered -= pack->capacity;
      pfree(pack);
    } else {
      link = &pack->next;
    }
  }
}

void Write(SubTransactionId subtransaction) {
  outbox::JournalWriter journal;
  if (!journal.Open()) return;
  for (const Pack *pack = packs; pack != nullptr; pack = pack->next)
    if (Chosen(pack, subtransaction))
      journal.Write({pack->captured_at, pack->relation, pack->role, pack->origin, pack->data, pack->writer.size()});
  journal.Close();
  worker::WakeAtCommit();
}

void OnTransaction(XactEvent event, void *) {
  if (packs == nullptr) return;
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
      Write(InvalidSubTransactionId);
      break;
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_PREPARE:
    case XACT_EVENT_ABORT:
      packs = nullptr;
      buffered = 0;
      break;
    default:  // parallel workers never run triggers
      break;
  }
}

void OnSubtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *) {
  if (packs == nullptr) return;
  if (event == SUBXACT_EVENT_ABORT_SUB) Discard(mine);
  if (event != SUBXACT_EVENT_COMMIT_SUB) return;
  for (Pack *pack = packs; pack != nullptr; pack = pack->next)
    if (pack->subtransaction == mine) pack->subtransaction = parent;
}

}  // namespace

void Queue(Oid relation, Origin origin, std::string_view url, std::string_view file_id) {
  Pack *pack = OpenPack(relation, origin);
  if (pack != nullptr && pack->writer.Add(url, file_id)) return;
  if (pack != nullptr) pack->full = true;

  if (buffered > kMostBuffered) {
    Write(GetCurrentSubTransactionId());
    Discard(GetCurrentSubTransactionId());
  }
  // A URL longer than a page gets a pack of its own; the journal's TOAST table takes it.
  size_t need = 1 + url.size() + file_id.size() + outbox::kEntryOverhead;
  pack = NewPack(relation, origin, need > outbox::kPagePack ? need : outbox::kPagePack);
  if (!pack->writer.Add(url, file_id)) elog(ERROR, "a URL of %zu bytes does not fit its own pack", url.size());
}

void InitializeBuffer() {
  RegisterXactCallback(OnTransaction, nullptr);
  RegisterSubXactCallback(OnSubtransaction, nullptr);
}

}  // namespace imagekit::capture
