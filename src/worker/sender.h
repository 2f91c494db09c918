// The sender: this process' connection to ImageKit, with the accounts it may use. Kept from round to round, so that
// connections are reused and an account's pace is held.

#ifndef IMAGEKIT_WORKER_SENDER_H
#define IMAGEKIT_WORKER_SENDER_H

#include "core/api.h"
#include "worker/batch.h"

namespace imagekit::worker {

/// Whose library the key opens.
enum class Library { kUnknown, kOurs, kEmpty };

/// One account the sender knows. `number` is ApiClient's; -1 while the account has a problem.
struct SenderAccount {
  const account::Account *account;
  int number;
  char *problem;       // in words; NULL when it can be sent to
  char *pause_cause;   // what ImageKit said in this round that stops the account; NULL: nothing
  bool answered;       // ImageKit gave a proper answer in this round
  int slice;           // deletes that may still be sent in this slice
  bool limited;        // by max_deletes_per_hour
  int64 deletes_left;  // of it, in this round
  Library library;
  uint64 identity;       // fingerprint of what decides which library is meant: key, api_url, prefixes
  uint64 configuration;  // fingerprint of all its options and its key
  // How the last look-ups and deletes went: core/missing_run.h, as stored. 0: nothing yet.
  int64 missing_lookups, missing_deletes;
  bool missing_changed;  // since they were read
};

struct Sender {
  MemoryContext context;  // of the client and the accounts; renewed when the configuration changes
  ApiClient *client;
  List *accounts;  // SenderAccount *
  uint64 fingerprint;
};

/// Reads accounts, keys and settings; makes a new client when any of them has changed. Needs a transaction. The sender
/// itself is zeroed memory at first, and lives in `parent`.
void Refresh(Sender *sender, MemoryContext parent);

SenderAccount *FindAccount(const Sender *sender, Oid server);

/// The account's cause to be stopped, unless it has one already. What was known of its library is forgotten.
void StopAccount(Sender *sender, SenderAccount *entry, const char *cause);

/// kOurs when this process has seen that an account of this identity has the right library.
Library KnownLibraryOf(Oid server, uint64 identity);
void ForgetLibrary(SenderAccount *entry);

/// Waits until every request queued in the client is answered, on latch and sockets together. Takes answers as they come.
/// No transaction is open in the worker meanwhile. Interrupts are handled: may raise, the client is to be abandoned then.
using TakeAnswer = void (*)(void *argument, const Answer &answer);
void WaitForAnswers(ApiClient *client, TakeAnswer take, void *argument);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_SENDER_H
