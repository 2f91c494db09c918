// Audits that nobody calls for: the accounts' option audit_every.

#ifndef IMAGEKIT_AUDIT_SCHEDULE_H
#define IMAGEKIT_AUDIT_SCHEDULE_H

#include "worker/shared_state.h"

namespace imagekit::audit {

/// backend_type and application_name of the process that audits.
constexpr char kAuditType[] = "imagekit_cleanup audit";

/// Starts a process when an audit is due and none runs; returns when to look again, which the end of a process brings forward.
/// In a transaction with an open SqlSession, in a worker.
worker::Ticks OrderDueAudits();

}  // namespace imagekit::audit

#endif  // IMAGEKIT_AUDIT_SCHEDULE_H
