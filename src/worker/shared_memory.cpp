#include "worker/shared_memory.h"

namespace imagekit::worker {

namespace {

constexpr const SharedPiece *kPieces[] = {&kServicePiece, &kPacePiece, &kComplaintsPiece};

shmem_request_hook_type next_request_hook = nullptr;
shmem_startup_hook_type next_startup_hook = nullptr;

void OnRequest() {
  if (next_request_hook != nullptr) next_request_hook();
  for (const SharedPiece *piece : kPieces) {
    RequestAddinShmemSpace(MAXALIGN(piece->size()));
    RequestNamedLWLockTranche(piece->name, 1);
  }
}

void OnStartup() {
  if (next_startup_hook != nullptr) next_startup_hook();
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  for (const SharedPiece *piece : kPieces) {
    bool found;
    void *memory = ShmemInitStruct(piece->name, piece->size(), &found);
    if (!found) memset(memory, 0, piece->size());
    piece->attach(memory, &GetNamedLWLockTranche(piece->name)->lock, !found);
  }
  LWLockRelease(AddinShmemInitLock);
}

}  // namespace

void RequestSharedMemory() {
  next_request_hook = shmem_request_hook;
  shmem_request_hook = OnRequest;
  next_startup_hook = shmem_startup_hook;
  shmem_startup_hook = OnStartup;
}

}  // namespace imagekit::worker
