// What the server's processes share about the pace of accounts: whoever sends for one takes from the same place, whatever
// database it works for.
//
// Exists only when the library is in shared_preload_libraries. Without it, each session paces itself.

#ifndef IMAGEKIT_WORKER_SHARED_PACE_H
#define IMAGEKIT_WORKER_SHARED_PACE_H

#include "core/pace.h"
#include "pg/server.h"

namespace imagekit::worker {

struct AccountPace {
  PaceState reads;
  PaceState writes;
  PaceState purges;  // how long ImageKit wants none
};

/// The pace kept under a name, a fingerprint of what tells the account from others. NULL when there is no shared memory, or
/// no room in it: the caller then keeps its own. Valid as long as the server runs.
AccountPace *FindAccountPace(uint64 name);

/// Which databases' processes have asked for it since the server started, up to so many of them; returns how many.
constexpr int kPaceDatabases = 8;
int DatabasesOfPace(uint64 name, Oid *databases);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_SHARED_PACE_H
