// The process that audits by schedule, one a database, beside the worker: in the same slot, and no slot is for it alone.

#include "worker/slots.h"

namespace imagekit::worker {

namespace {

bool audit_noted = false;  // this process audits, and came to something

void WithdrawAudit(int, Datum database) {
  Locked locked;
  DatabaseSlot *slot = FindSlot(DatumGetObjectId(database));
  if (slot == nullptr || slot->audit_pid != MyProcPid) return;
  slot->audit_pid = 0;
  if (audit_noted || slot->audit_stopped)
    slot->audit_failures = 0;
  else
    slot->audit_rests_until = NowTicks() + RestAfter(slot->audit_failures++);
  slot->audits_changed = true;
  WakeSlot(slot);
}

}  // namespace

void WakeForAccounts(Oid database) {
  if (state == nullptr) return;
  Locked locked;
  DatabaseSlot *slot = FindOrAnnounceSlot(database);
  if (slot == nullptr) return;
  NoteAccountsChanged(slot);
  WakeSlot(slot);
}

void NoteAccountsPrepared(Oid database) {
  if (state == nullptr) return;
  NotePrepared(database);
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  if (slot != nullptr) slot->accounts_prepared = true;
}

bool PublishAudit(Oid database) {
  if (state == nullptr) return false;
  before_shmem_exit(WithdrawAudit, ObjectIdGetDatum(database));
  Locked locked;
  DatabaseSlot *slot = FindOrTakeSlot(database, NowTicks());
  if (slot == nullptr || slot->audit_pid != 0 || slot->aside > 0) return false;
  slot->audit_pid = MyProcPid;
  slot->audit_stopped = false;
  return true;
}

void NoteAudit() { audit_noted = true; }

Ticks AuditMayStartAt(Oid database) {
  if (state == nullptr) return kNever;
  Locked locked(LW_SHARED);
  const DatabaseSlot *slot = FindSlot(database);
  return slot == nullptr || slot->audit_pid != 0 ? kNever : slot->audit_rests_until;
}

Ticks NoteAuditOrder(Oid database, bool ordered) {
  Locked locked;
  DatabaseSlot *slot = FindSlot(database);
  if (slot == nullptr) return 0;
  if (ordered)
    slot->audit_refused_since = 0;
  else if (slot->audit_refused_since == 0)
    slot->audit_refused_since = NowTicks();
  return ordered ? 0 : NowTicks() - slot->audit_refused_since;
}

bool AuditWasSetAside() {
  Locked locked(LW_SHARED);
  const DatabaseSlot *slot = FindSlot(MyDatabaseId);
  return slot != nullptr && slot->audit_pid == MyProcPid && slot->audit_stopped;
}

}  // namespace imagekit::worker
