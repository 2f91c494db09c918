// The audit of an account's library: all files it has, beside all that rows use.
//
// In steps, each a short transaction, with nothing open while ImageKit is asked. What was done stands in imagekit.audit_runs,
// so that an audit which is broken off goes on where it was:
//
//   listing ─► references ─► tail ─► comparing ─► complete
//      │            │          │
//      └────────────┴──────────┴─► incomplete ─► (called again within a day) the same step
//                                └► abandoned: the account has changed, or its listing cannot be joined or believed
//
//   listing      the library, page by page, up to when the audit began
//   references   one statement reads all watched tables: what any row uses, and when that was
//   tail         what was uploaded meanwhile, and what the search did not know yet when it was listed; a little later
//   comparing    in sets, in SQL (72_compare.sql)
//
// The tables are read after the listing: a file that is listed and not used was used by nobody at a moment when it was there.
// What was uploaded after the audit began is no orphan whatever the tables say: its row may be just about to be written.

#ifndef IMAGEKIT_AUDIT_AUDIT_H
#define IMAGEKIT_AUDIT_AUDIT_H

#include "core/listing.h"
#include "worker/hand.h"

namespace imagekit::audit {

/// One audit, in a session's CALL imagekit.audit() or in a process of its own.
struct Audit {
  worker::Drain hand;  // how its transactions are made, and its connection to ImageKit
  Oid server;
  char *name;                // of the server
  bool scheduled;            // nobody waits for it
  worker::Ticks give_up_at;  // audit_time_limit; kNever
  worker::Ticks closes_at;   // the end of audit_hours; kNever

  // As the row of imagekit.audit_runs has it.
  int64 run;
  bool listed;  // up to when it began
  int64 files, bytes, pages;
  uint64 identity;  // of the account: whose library is listed

  Listing *listing;
  Answer *answer;
  worker::Progress progress;
  char *problem;   // why it cannot be completed now, in words; NULL: nothing is in its way
  bool abandoned;  // nor later: it is to be begun anew
  bool gone;       // the account is not there any more
};

/// worker::Begin() for a step of an audit.
void Begin(worker::Step *step, Audit *audit);

/// Its pages, to the end of the listing. Stops with audit->problem. May raise; FreeRequest() is due then.
void ListLibrary(Audit *audit);

/// True, and audit->problem, when its hours or its time are over.
bool OutOfTime(Audit *audit);

/// What the account uses by ImageKit's own count, into imagekit.usage_history. That it cannot be had is only said.
void AskForUsage(Audit *audit);

/// Gives up what is on the wire.
void FreeRequest(Audit *audit);

/// The account as the sender knows it, looked up anew; NULL, and audit->problem, when it cannot be asked. In a transaction.
worker::SenderAccount *UsableAccount(Audit *audit);

/// All steps. In a procedure, or outside of any transaction.
void RunAudit(Audit *audit, bool anew);

/// AskForUsage() by itself.
void RunUsage(Audit *audit);

}  // namespace imagekit::audit

#endif  // IMAGEKIT_AUDIT_AUDIT_H
