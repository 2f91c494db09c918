// Arming: a database sends only when imagekit.enable() was called in it, in this cluster. A copy is not armed.

#ifndef IMAGEKIT_WORKER_ARMING_H
#define IMAGEKIT_WORKER_ARMING_H

namespace imagekit::worker {

/// NULL when this database may send; otherwise why not, in words. Needs a transaction.
const char *WhyDisarmed();

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_ARMING_H
