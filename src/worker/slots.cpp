// Finding a database's slot, and waking who is to look after it.

#include "worker/slots.h"

namespace imagekit::worker {

SharedState *state = nullptr;

namespace {

// A worker that fails is followed by another after this, and twice as long each time, up to the other: what fails in
// earnest, as on a full disk, must not fill the log. A reload of the configuration and enable() end the wait.
constexpr Ticks kFirstRest = 1000;
constexpr Ticks kLongestRest = 300 * 1000;

// Holds nothing that a later look at its database would not find out.
bool Replaceable(const DatabaseSlot &slot, Ticks now) {
  return slot.worker_pid == 0 && slot.audit_pid == 0 && !slot.ordered && slot.aside == 0 && !slot.woken &&
         slot.look_again_at > now;
}

}  // namespace

DatabaseSlot *FindSlot(Oid database) {
  static int last = 0;  // a session asks for its own database again and again
  if (state->slots[last].database == database) return &state->slots[last];
  for (DatabaseSlot &slot : *state)
    if (slot.database == database) {
      last = static_cast<int>(&slot - state->slots);
      return &slot;
    }
  return nullptr;
}

DatabaseSlot *FindOrTakeSlot(Oid database, Ticks now) {
  DatabaseSlot *slot = FindSlot(database);
  if (slot != nullptr) return slot;
  slot = FindSlot(InvalidOid);
  if (slot == nullptr) {
    for (DatabaseSlot &other : *state)
      if (Replaceable(other, now) && (slot == nullptr || other.look_again_at > slot->look_again_at)) slot = &other;
    if (slot == nullptr) return nullptr;
  }
  *slot = DatabaseSlot{};
  slot->database = database;
  slot->look_again_at = now;  // never looked at: look now
  return slot;
}

DatabaseSlot *FindOrAnnounceSlot(Oid database) {
  DatabaseSlot *slot = FindOrTakeSlot(database, NowTicks());
  if (slot == nullptr || !slot->known) state->databases_changed = true;
  return slot;
}

void WakeLauncher() {
  if (state->launcher_latch != nullptr) SetLatch(state->launcher_latch);
}

void WakeSlot(DatabaseSlot *slot) {
  if (!slot->woken) slot->woken_at = NowTicks();
  slot->quiet_looks = 0;
  slot->woken = true;
  if (slot->worker_latch != nullptr)
    SetLatch(slot->worker_latch);
  else
    WakeLauncher();
}

void ForgetAuditFailures(DatabaseSlot *slot) {
  slot->audit_failures = 0;
  slot->audit_rests_until = 0;
}

void NoteAccountsChanged(DatabaseSlot *slot) {
  slot->audits_changed = true;
  ForgetAuditFailures(slot);
}

Ticks RestAfter(int failures) { return Min(kFirstRest << Min(failures, 10), kLongestRest); }

}  // namespace imagekit::worker
