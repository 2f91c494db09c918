// The sender: this process' connection to ImageKit, with the accounts it may use. Kept from round to round, so that
// connections are reused and an account's pace is held.

#ifndef IMAGEKIT_WORKER_SENDER_H
#define IMAGEKIT_WORKER_SENDER_H

#include "core/api.h"
#include "worker/batch.h"

namespace imagekit::worker {

/// Whose library the key opens.
enum class Library { kUnknown, kOurs, kEmpty };

/// Where in imagekit.backlog, in the order of due_at and id, an account's next claim begins: outbox/first_due.h.
struct BacklogPlace {
  TimestampTz due_at;
  int64 id;
  bool unsure;     // something may lie before it
  Ticks again_at;  // from the beginning then, when that is so and nothing behind the place is due
  Ticks until;     // and then in any case; 0: there is no place
};

/// One account the sender knows. `number` is ApiClient's; -1 while the account has a problem.
struct SenderAccount {
  const account::Account *account;
  int number;
  char *problem;       // in words; NULL when it can be sent to
  char *pause_cause;   // what ImageKit said that stops the account; NULL: nothing
  bool pause_written;  // for all to see. It can be tried again once nothing of it is in hand.
  bool answered;       // ImageKit gave a proper answer since that was last written down
  // Requests that failed since one was answered: look-ups, and deletes, which may fail for a reason of their own.
  double read_failures, write_failures;
  bool limited;            // by max_deletes_per_hour
  int64 deletes_left;      // of it
  int64 deletes_in_doubt;  // that may have been done: leave as much of it to them
  BacklogPlace place;
  int room;           // how many of its files may be claimed
  bool starved;       // more might have been claimed
  bool tried;         // with one file, after a stop
  Ticks answered_at;  // when ImageKit last answered, or first had reason to
  Library library;
  bool probing;          // any file of the library is being asked for
  uint64 identity;       // fingerprint of what decides which library is meant: key, api_url, prefixes
  uint64 configuration;  // fingerprint of all its options and its key
  // How the last look-ups and deletes went: core/missing_run.h, as stored. 0: nothing yet.
  int64 missing_lookups, missing_deletes;
  bool missing_changed;  // since they were read
};

/// Requests in a row that met no answer of ImageKit's before the account is stopped for it, and tried with one file: then one
/// more is enough.
constexpr double kMostFailures = 10;

struct Sender {
  MemoryContext context;  // of the client and the accounts; renewed when the configuration changes
  ApiClient *client;
  List *accounts;  // SenderAccount *
  uint64 fingerprint;
  uint64 version;  // of the accounts, when they were last seen to be as they are here
};

/// Reads accounts, keys and settings. When any of them has changed, makes a new client and new accounts if it `may`; true
/// when it may not, and what the sender has is old. Needs a transaction. The sender itself is zeroed memory at first, and
/// lives in `parent`.
bool Refresh(Sender *sender, MemoryContext parent, bool may = true);

/// True when the configuration is not any more what the sender was made with. Cheap. Needs a transaction.
bool IsOld(Sender *sender, MemoryContext scratch);

/// The fingerprint of what decides which library an account means; false when it cannot be used. Needs a transaction.
bool ReadIdentity(Oid server, uint64 *identity);

/// Databases of this server, this one among them, whose processes have sent for the account, or for its library by another key,
/// since the server started; not all, where they are many. Needs a transaction.
List *DatabasesThatSendFor(Oid server);

SenderAccount *FindAccount(const Sender *sender, Oid server);

/// The account's cause to be stopped, unless it has one already. What was known of its library is forgotten.
void StopAccount(Sender *sender, SenderAccount *entry, const char *cause);

/// kOurs when this process has seen that an account of this identity has the right library.
Library KnownLibraryOf(Oid server, uint64 identity);
void ForgetLibrary(SenderAccount *entry);

/// Waits for ImageKit: for its sockets, the client's timers, the latch, or until `longest_ms` have passed (-1: no matter how
/// long), and lets the client work. Returns at once when an answer is there to be taken. Interrupts are handled: may raise;
/// FreeWaiter() and client->Abandon() are due then. *woken says that the latch was set.
struct Waiter {
  WaitEventSet *set;
  uint64_t version;
};
void WaitForImageKit(Waiter *waiter, ApiClient *client, long longest_ms, bool *woken);
void FreeWaiter(Waiter *waiter);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_SENDER_H
