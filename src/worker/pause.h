// Pauses: an operator's word that nothing is sent for an account, kept in imagekit.pauses.
//
// Once a transaction that says so is committed, no delete of the account goes out any more. So a drain looks at the pauses
// between its proof and the wire, and between this look and the wire it holds a lock, shared, that whoever says stop takes
// alone at his commit:
//
//   drain     proof, which may take long ─► LockWire ─► the pauses as they are ─► requests on the wire ─► UnlockWire
//   pause()   ... ─► COMMIT: waits for those between LockWire and UnlockWire, ─► the pause is there for all to see
//
// Neither waits for long: the one for requests to be handed over, the other for a commit.

#ifndef IMAGEKIT_WORKER_PAUSE_H
#define IMAGEKIT_WORKER_PAUSE_H

#include "worker/batch.h"
#include "worker/sender.h"

namespace imagekit::worker {

/// Stops the accounts of `sender` that are paused, by what is committed at this moment, whatever snapshot the transaction has:
/// what is in hand of them goes back, as of an account that ImageKit has stopped. Needs a transaction.
void HaltPaused(Sender *sender);

/// Gives up on what is at kProving of accounts that are stopped.
void ReleaseHalted(Batch *batch, const Sender *sender);

/// See above. Ends with the transaction, also when that fails.
void LockWire();
void UnlockWire();

/// The current transaction says stop: its commit waits for what is between LockWire and UnlockWire. One that is prepared does
/// not, as nobody is there to wait at COMMIT PREPARED; what is on its way to the wire at that moment still goes out.
void StopAtCommit();

/// DROP SERVER tells us nothing, so whoever says anything about pauses sweeps. Needs an open SqlSession.
void ForgetPausesOfDropped();

/// Registers the transaction callback. Once per backend, from _PG_init, before others whose work at the commit may take long:
/// those that are registered last are called first.
void InitializePauses();

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_PAUSE_H
