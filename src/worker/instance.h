// The instance: this server on this data directory, told from a server on a copy of its files.

#ifndef IMAGEKIT_WORKER_INSTANCE_H
#define IMAGEKIT_WORKER_INSTANCE_H

namespace imagekit::worker {

/// The mark of this instance: the same after a restart, another one for a copy of the data directory (README says which
/// copies share it). Printable ASCII, palloc'ed. NULL when it cannot be told, with why in *problem.
char *InstanceMark(const char **problem);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_INSTANCE_H
