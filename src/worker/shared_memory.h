// What of this library lies in the server's shared memory: a few pieces, each with a lock of its own.
//
// Exists only when the library is in shared_preload_libraries. Holds no pointer into a process.

#ifndef IMAGEKIT_WORKER_SHARED_MEMORY_H
#define IMAGEKIT_WORKER_SHARED_MEMORY_H

#include "pg/server.h"

namespace imagekit::worker {

struct SharedPiece {
  const char *name;  // also of its lock, as wait event
  Size (*size)();
  /// Called in the postmaster: whoever it starts has what this leaves. The memory is zeroed; `fresh`: it was not there before.
  void (*attach)(void *memory, LWLock *lock, bool fresh);
};

// The pieces, each defined where it is used.
extern const SharedPiece kServicePiece;     // shared_state.cpp
extern const SharedPiece kPacePiece;        // shared_pace.cpp
extern const SharedPiece kComplaintsPiece;  // complaints.cpp

/// Hooks for the postmaster. Once, from _PG_init under shared_preload_libraries.
void RequestSharedMemory();

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_SHARED_MEMORY_H
