// How much may be said in the server log about what fails for good: a dozen warnings an hour at most for a database, however
// many files meet it, and however many processes work for the database one after the other.
//
// What has been said is kept in shared memory; without it, by each process.

#ifndef IMAGEKIT_WORKER_COMPLAINTS_H
#define IMAGEKIT_WORKER_COMPLAINTS_H

#include "pg/server.h"

namespace imagekit::worker {

/// True when a warning about a file may be written: a few at once, and then one every ten minutes. `*unsaid` gets how
/// many were not since the last.
bool MayComplain(int *unsaid);

/// True when it may be said that an account has stopped. A cause that has not been said for an hour always may; one that comes
/// and goes is two complaints like any other, with its end.
bool MaySayStopped(Oid server, const char *cause);
/// True when this may be said of the database, for the first time in an hour.
bool MaySayOnce(const char *cause);
/// True when it is to be said that an account goes on: when it was said that it has stopped.
bool MaySayResumed(Oid server);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_COMPLAINTS_H
