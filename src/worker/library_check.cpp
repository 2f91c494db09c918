// Step 3, before the first answer is believed: is the key's library the one that the account's URLs belong to?
//
// A valid key of another account finds nothing under the names of ours, or worse, other files under the same names. So the
// URL of the first file that is found must begin with a prefix of the account. Where none is found, any one file of the
// library is asked for. That is remembered for the process, by key, api_url and prefixes, until the account is stopped.
//
// An empty library tells nothing. Nothing can be deleted from it either, so the look-ups go on, and what they do not find
// counts for the rule in missing.cpp. The first file that one of them does find is checked in the probe's place.

#include "core/library_check.h"

#include "pg/bridge.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Libraries that have been seen to be the right ones. In TopMemoryContext: one a server.
struct KnownLibrary {
  Oid server;
  uint64 identity;
};
List *known_libraries = NIL;

KnownLibrary *FindKnown(Oid server) {
  ListCell *cell;
  foreach (cell, known_libraries) {
    auto *known = static_cast<KnownLibrary *>(lfirst(cell));
    if (known->server == server) return known;
  }
  return nullptr;
}

void Remember(SenderAccount *entry) {
  entry->library = Library::kOurs;
  KnownLibrary *known = FindKnown(entry->account->server);
  if (known == nullptr) {
    MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
    known = static_cast<KnownLibrary *>(palloc0(sizeof(KnownLibrary)));
    known_libraries = lappend(known_libraries, known);
    MemoryContextSwitchTo(before);
  }
  *known = {entry->account->server, entry->identity};
}

bool IsOurs(const account::Account *account, const FoundFile &file) {
  ListCell *cell;
  const int count = list_length(account->url_prefixes);
  auto **prefixes = static_cast<const char **>(palloc(sizeof(char *) * (count + 1)));
  int filled = 0;
  foreach (cell, account->url_prefixes) prefixes[filled++] = static_cast<char *>(lfirst(cell));
  return pg::CallCxx([&] { return IsInLibrary(std::vector<std::string>(prefixes, prefixes + filled), file); });
}

// What the DBA has to compare, and what to do in either case. Never the key.
char *Mismatch(const account::Account *account, const FoundFile &file) {
  char prefix[256];
  pg::CallCxx([&] { strlcpy(prefix, LibraryPrefix(file).c_str(), sizeof prefix); });
  StringInfoData configured;
  initStringInfo(&configured);
  ListCell *cell;
  foreach (cell, account->url_prefixes)
    appendStringInfo(&configured, "%s%s", configured.len > 0 ? ", " : "", static_cast<char *>(lfirst(cell)));
  if (prefix[0] == '\0')
    return psprintf("it cannot be told whose library the key opens: its files have no URL; is api_url ImageKit's?");
  return psprintf(
      "the key opens a library whose URLs begin with %s, and the account's prefixes are %s: if the key is another "
      "account's, put the right one into the user mapping; if the library is the right one, add %s to url_aliases",
      prefix, configured.data, prefix);
}

bool IsWaitingFor(const QueuedFile &file, const SenderAccount *entry) {
  return IsAt(file, Stage::kAnswered) && file.account == entry->account;
}

int CountWaitingFor(const Batch *batch, const SenderAccount *entry) {
  int files = 0;
  for (int i = 0; i < batch->count; i++) files += IsWaitingFor(batch->files[i], entry);
  return files;
}

}  // namespace

Library KnownLibraryOf(Oid server, uint64 identity) {
  const KnownLibrary *known = FindKnown(server);
  return known != nullptr && known->identity == identity ? Library::kOurs : Library::kUnknown;
}

void ForgetLibrary(SenderAccount *entry) {
  entry->library = Library::kUnknown;
  KnownLibrary *known = FindKnown(entry->account->server);
  if (known != nullptr) known->identity = 0;
}

bool VerifyLibrary(Sender *sender, SenderAccount *entry, const FoundFile &file) {
  if (entry->library == Library::kOurs) return true;
  if (IsOurs(entry->account, file)) {
    Remember(entry);
    return true;
  }
  StopAccount(sender, entry, Mismatch(entry->account, file));
  return false;
}

// The account's files share the fate of the probe: one request failed, however many they are. One that is refused says nothing
// about them, so it stops the account.
void TakeProbe(Batch *batch, Sender *sender, Answer *answer) {
  auto *entry = static_cast<SenderAccount *>(list_nth(sender->accounts, static_cast<int>(answer->ticket)));
  entry->probing = false;
  if (answer->verdict == Verdict::kNotFound) {
    if (entry->library == Library::kUnknown) entry->library = Library::kEmpty;
    return;
  }
  if (answer->verdict == Verdict::kFound && VerifyLibrary(sender, entry, answer->file)) return;
  const bool of_files = answer->verdict == Verdict::kTransient || answer->verdict == Verdict::kThrottled;
  if (!of_files) StopAccount(sender, entry, answer->detail.c_str());
  answer->shared_by = CountWaitingFor(batch, entry);
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!IsWaitingFor(*file, entry)) continue;
    if (of_files)
      DecideFailure(batch, sender, file, *answer);
    else
      Decide(batch, file, Fate::kReleased, entry->pause_cause);
  }
}

bool CheckLibraries(Batch *batch, Sender *sender) {
  bool any = false;
  for (int i = 0; i < list_length(sender->accounts); i++) {
    auto *entry = static_cast<SenderAccount *>(list_nth(sender->accounts, i));
    if (entry->number < 0 || entry->library != Library::kUnknown || entry->probing || entry->pause_cause != nullptr ||
        CountWaitingFor(batch, entry) == 0)
      continue;
    entry->probing = any = true;
    pg::CallCxx([&] { sender->client->Probe(static_cast<uint64_t>(i), entry->number); });
  }
  return any;
}

}  // namespace imagekit::worker
