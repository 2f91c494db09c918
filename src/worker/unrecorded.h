// What was deleted by hand in a transaction that is then rolled back, by ROLLBACK, a cancel or an error: the images are gone,
// and imagekit.history does not have them, as its rows went with the transaction. That is said in a WARNING; the server log
// has their names.

#ifndef IMAGEKIT_WORKER_UNRECORDED_H
#define IMAGEKIT_WORKER_UNRECORDED_H

#include "worker/batch.h"

namespace imagekit::worker {

/// Keeps in mind what of the batch ImageKit has deleted, or may have, until the transaction's end.
void NoteDeletedByHand(const Batch &batch);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_UNRECORDED_H
