// Arming: a database sends only when imagekit.enable() was called in it, on this very server, or on the one that this
// server has taken over from. A copy is not armed.

#ifndef IMAGEKIT_WORKER_ARMING_H
#define IMAGEKIT_WORKER_ARMING_H

namespace imagekit::worker {

/// NULL when this database may send; otherwise why not, in words. Needs a transaction. Cheap: one row and one file's
/// status, so it is asked before every step that cannot be undone.
const char *WhyDisarmed();

/// The same, and writes down what it finds: that this server, promoted, has taken over; or that this is a copy, which then
/// also its own standbys and copies know. Needs a transaction that may write.
const char *SettleArming();

/// Raises an error unless this session may delete images by `what`: armed, allowed to, and able to record it. Rows of a standby
/// are no proof.
void RequireMayDelete(const char *what);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_ARMING_H
