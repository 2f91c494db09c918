// Who uses a file: the watched rows that hold its library path, under any spelling.

#ifndef IMAGEKIT_WORKER_REFERENCES_H
#define IMAGEKIT_WORKER_REFERENCES_H

#include "worker/batch.h"
#include "worker/table_search.h"

namespace imagekit::worker {

/// `where` says where the URL stands; it is certain that it means the file, or it could.
using OnUse = void (*)(void *argument, const TableSearch &where, int file, bool certain);

/// All uses of the batch's files that are at kProving, in every watched table. Raises an error when one of them cannot be searched. Needs a
/// transaction; allocates in the current context.
void FindUses(Batch *batch, OnUse on_use, void *argument);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_REFERENCES_H
