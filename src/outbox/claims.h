// imagekit.claims: which files a drain has in hand, many to a row.

#ifndef IMAGEKIT_OUTBOX_CLAIMS_H
#define IMAGEKIT_OUTBOX_CLAIMS_H

#include "worker/batch.h"

namespace imagekit::outbox {

/// A claim without files, in the batch.
worker::Claim *MakeClaim(worker::Batch *batch);

/// A free slot for a file of the claim, NULL when there is none; a new file there, zeroed.
worker::QueuedFile *AddFile(worker::Batch *batch, worker::Claim *claim);
int FreeSlots(const worker::Batch &batch);

/// Writes the claim's row, for its files that are not settling. Needs an open SqlSession.
void WriteClaim(const worker::Batch &batch, worker::Claim *claim);

/// Takes the rows of claims of which all files are settling, and writes those of which some are not anew.
void FinishClaims(const worker::Batch &batch, List *claims);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_CLAIMS_H
