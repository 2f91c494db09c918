#include "worker/pause.h"

#include "pg/bridge.h"
#include "pg/sql.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// imagekit.pauses, by position
enum Column { kServer = 1, kName, kSince, kBy, kReason };

bool stop_at_commit = false;

// An advisory lock like those of claim.cpp, which have the numbers before.
LOCKTAG WireTag() {
  LOCKTAG tag;
  SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0x696B, 3, 100);
  return tag;
}

void OnTransaction(XactEvent event, void *) {
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
      if (stop_at_commit) {
        LOCKTAG tag = WireTag();
        (void)LockAcquire(&tag, ExclusiveLock, false, false);
      }
      break;
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE:
      stop_at_commit = false;
      break;
    default:
      break;
  }
}

// As the view status has it, too.
char *Words(const SenderAccount *entry, TupleTableSlot *slot) {
  bool null;
  const char *by = NameStr(*DatumGetName(slot_getattr(slot, kBy, &null)));
  char *since = DatumGetCString(DirectFunctionCall1(timestamptz_out, slot_getattr(slot, kSince, &null)));
  Datum reason = slot_getattr(slot, kReason, &null);
  return psprintf("paused by %s since %s%s%s; SELECT imagekit.resume(%s) goes on", by, since, null ? "" : ": ",
                  null ? "" : TextDatumGetCString(reason), quote_literal_cstr(entry->account->name));
}

// What ImageKit has stopped stays so for that reason, and is written down.
void Halt(const Sender *sender, SenderAccount *entry, TupleTableSlot *slot) {
  if (entry->pause_cause != nullptr) return;
  entry->pause_cause = MemoryContextStrdup(sender->context, Words(entry, slot));
  entry->pause_written = true;
  if (entry->number >= 0) pg::CallCxx([&] { sender->client->GiveBackPurges(entry->number); });
}

}  // namespace

// Read from the table itself: a query would see what its transaction's snapshot sees, which in a session that calls
// delete_files() may be of hours ago.
void HaltPaused(Sender *sender) {
  Relation pauses = table_open(pg::ExtensionTable("pauses"), AccessShareLock);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  TableScanDesc scan = pg::BeginScan(pauses, snapshot);
  TupleTableSlot *slot = table_slot_create(pauses, nullptr);
  while (table_scan_getnextslot(scan, ForwardScanDirection, slot)) {
    bool null;
    SenderAccount *entry = FindAccount(sender, DatumGetObjectId(slot_getattr(slot, kServer, &null)));
    if (entry != nullptr) Halt(sender, entry, slot);
  }
  ExecDropSingleTupleTableSlot(slot);
  table_endscan(scan);
  UnregisterSnapshot(snapshot);
  table_close(pauses, AccessShareLock);
}

void ReleaseHalted(Batch *batch, const Sender *sender) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!IsAt(*file, Stage::kProving)) continue;
    const SenderAccount *entry = FindAccount(sender, file->account->server);
    if (entry->pause_cause != nullptr) Decide(batch, file, Fate::kReleased, entry->pause_cause);
  }
}

void LockWire() {
  LOCKTAG tag = WireTag();
  (void)LockAcquire(&tag, ShareLock, false, false);
}

void UnlockWire() {
  LOCKTAG tag = WireTag();
  (void)LockRelease(&tag, ShareLock, false);
}

void StopAtCommit() { stop_at_commit = true; }

void InitializePauses() { RegisterXactCallback(OnTransaction, nullptr); }

}  // namespace imagekit::worker
