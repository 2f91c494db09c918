// Makes the API client from the configuration. Keys pass through here into the client, and are wiped on the way.

#include "worker/sender.h"

#include "outbox/counters.h"
#include "pg/bridge.h"
#include "pg/settings.h"
#include "worker/shared_pace.h"

namespace imagekit::worker {

namespace {

struct Configuration {
  List *accounts;  // account::Account *
  char **keys;     // one an account; NULL where there is none
  uint64 *identities;
  uint64 *configurations;
  uint64 fingerprint;  // of all of it and the settings that the client is made with
};

uint64 Mix(uint64 fingerprint, const void *bytes, size_t size) {
  return hash_combine64(fingerprint,
                        hash_bytes_extended(static_cast<const unsigned char *>(bytes), static_cast<int>(size), 0));
}

uint64 MixText(uint64 fingerprint, const char *text) {
  return text == nullptr ? Mix(fingerprint, "", 1) : Mix(fingerprint, text, strlen(text) + 1);
}

uint64 MixAccount(uint64 fingerprint, const account::Account *account) {
  fingerprint = Mix(fingerprint, &account->server, sizeof account->server);
  fingerprint = MixText(fingerprint, account->name);
  fingerprint = MixText(fingerprint, account->api_url);
  fingerprint = MixText(fingerprint, account->problem);
  double rates[] = {account->read_rate,
                    account->read_burst,
                    account->write_rate,
                    account->write_burst,
                    static_cast<double>(account->search_size),
                    static_cast<double>(account->bulk_size),
                    account->audit_share};
  fingerprint = Mix(fingerprint, rates, sizeof rates);
  fingerprint = Mix(fingerprint, &account->dry_run, sizeof account->dry_run);
  fingerprint = Mix(fingerprint, &account->purge_cache, sizeof account->purge_cache);
  fingerprint = Mix(fingerprint, &account->purges_per_month, sizeof account->purges_per_month);
  fingerprint = Mix(fingerprint, &account->max_deletes_per_hour, sizeof account->max_deletes_per_hour);
  fingerprint = Mix(fingerprint, &account->allow_missing, sizeof account->allow_missing);
  ListCell *cell;
  foreach (cell, account->url_prefixes) fingerprint = MixText(fingerprint, static_cast<char *>(lfirst(cell)));
  foreach (cell, account->protect) fingerprint = MixText(fingerprint, static_cast<char *>(lfirst(cell)));
  return fingerprint;
}

// Of what decides whose library is asked, and whose it should be.
uint64 IdentityOf(const account::Account *account, const char *key) {
  uint64 identity = MixText(MixText(1, account->api_url), key);
  ListCell *cell;
  foreach (cell, account->url_prefixes) identity = MixText(identity, static_cast<char *>(lfirst(cell)));
  return identity;
}

Configuration ReadConfiguration(MemoryContext context) {
  Configuration configuration = {};
  configuration.accounts = account::LoadAccounts(context);
  int count = list_length(configuration.accounts);
  configuration.keys = account::LoadKeys(configuration.accounts, context);
  configuration.identities = static_cast<uint64 *>(MemoryContextAllocZero(context, sizeof(uint64) * (count + 1)));
  configuration.configurations = static_cast<uint64 *>(MemoryContextAllocZero(context, sizeof(uint64) * (count + 1)));
  int settings[] = {settings::connect_timeout, settings::request_timeout, settings::max_requests};
  uint64 fingerprint = MixText(MixText(Mix(1, settings, sizeof settings), settings::ca_file), settings::proxy);
  for (int i = 0; i < count; i++) {
    auto *account = static_cast<account::Account *>(list_nth(configuration.accounts, i));
    configuration.identities[i] = IdentityOf(account, configuration.keys[i]);
    configuration.configurations[i] = MixText(MixAccount(1, account), configuration.keys[i]);
    fingerprint = Mix(fingerprint, &configuration.configurations[i], sizeof(uint64));
  }
  configuration.fingerprint = fingerprint;
  return configuration;
}

TransportOptions Transport() {
  TransportOptions options;
  options.connect_timeout_ms = settings::connect_timeout;
  options.request_timeout_ms = settings::request_timeout;
  options.max_in_flight = settings::max_requests;
  options.ca_file = settings::ca_file != nullptr ? settings::ca_file : "";
  options.proxy = settings::proxy != nullptr ? settings::proxy : "";
  options.user_agent = "imagekit_cleanup/1.0 (PostgreSQL extension)";
  return options;
}

// Whoever has the key shares the account's limit, and so does whoever serves the same library with another key.
void NamePaces(const account::Account *account, const char *key, uint64 *names) {
  static_assert(kPaceNames == 2, "by key and by library");
  const uint64 api = MixText(1, account->api_url);
  names[0] = MixText(Mix(api, "key", 4), key);
  names[1] = MixText(Mix(api, "url", 4), account->url_endpoint);
}

int AddToClient(ApiClient *client, const account::Account *account, const char *key) {
  uint64 names[kPaceNames];
  NamePaces(account, key, names);
  AccountPace *paces[kPaceNames];
  for (int i = 0; i < kPaceNames; i++) paces[i] = FindAccountPace(names[i]);
  return pg::CallCxx([&] {
    AccountAccess access;
    access.name = account->name;
    access.api_url = account->api_url;
    access.private_key = key;
    access.read_rate = account->read_rate;
    access.read_burst = account->read_burst;
    access.write_rate = account->write_rate;
    access.write_burst = account->write_burst;
    access.search_size = account->search_size;
    access.bulk_size = account->bulk_size;
    access.list_share = account->audit_share;
    for (int i = 0; i < kPaceNames; i++) {
      access.read_pace[i] = paces[i] == nullptr ? nullptr : &paces[i]->reads;
      access.write_pace[i] = paces[i] == nullptr ? nullptr : &paces[i]->writes;
      access.purge_pace[i] = paces[i] == nullptr ? nullptr : &paces[i]->purges;
    }
    return client->AddAccount(access);
  });
}

}  // namespace

bool Refresh(Sender *sender, MemoryContext parent, bool may) {
  const uint64 version = account::Version();
  MemoryContext fresh = AllocSetContextCreate(parent, "imagekit sender", ALLOCSET_DEFAULT_SIZES);
  Configuration configuration = ReadConfiguration(fresh);
  const bool changed = sender->client == nullptr || configuration.fingerprint != sender->fingerprint;
  const bool renew = changed && may;
  if (renew) {
    MemoryContext before = MemoryContextSwitchTo(fresh);
    TransportOptions *transport = pg::Own<TransportOptions>(fresh);
    pg::CallCxx([&] { *transport = Transport(); });
    auto *client = pg::Own<ApiClient>(fresh, *transport);
    List *accounts = NIL;
    for (int i = 0; i < list_length(configuration.accounts); i++) {
      auto *entry = static_cast<SenderAccount *>(palloc0(sizeof(SenderAccount)));
      entry->account = static_cast<account::Account *>(list_nth(configuration.accounts, i));
      entry->problem = entry->account->problem;
      entry->number = entry->problem != nullptr ? -1 : AddToClient(client, entry->account, configuration.keys[i]);
      entry->identity = configuration.identities[i];
      entry->configuration = configuration.configurations[i];
      entry->library = KnownLibraryOf(entry->account->server, entry->identity);
      accounts = lappend(accounts, entry);
    }
    MemoryContextSwitchTo(before);
    MemoryContext old = sender->context;
    outbox::CountRequests(*sender);  // of the client that goes
    *sender = {fresh, client, accounts, configuration.fingerprint, version};
    if (old != nullptr) MemoryContextDelete(old);
  }
  account::WipeKeys(configuration.accounts, configuration.keys);
  if (!renew) MemoryContextDelete(fresh);
  if (!changed) sender->version = version;
  return changed && !may;
}

bool ReadIdentity(Oid server, uint64 *identity) {
  const Configuration configuration = ReadConfiguration(CurrentMemoryContext);
  account::WipeKeys(configuration.accounts, configuration.keys);
  for (int i = 0; i < list_length(configuration.accounts); i++) {
    auto *account = static_cast<account::Account *>(list_nth(configuration.accounts, i));
    if (account->server != server) continue;
    *identity = configuration.identities[i];
    return account->problem == nullptr;
  }
  return false;
}

List *DatabasesThatSendFor(Oid server) {
  const Configuration configuration = ReadConfiguration(CurrentMemoryContext);
  uint64 names[kPaceNames] = {};
  bool named = false;
  for (int i = 0; i < list_length(configuration.accounts); i++) {
    auto *account = static_cast<account::Account *>(list_nth(configuration.accounts, i));
    named = account->server == server && configuration.keys[i] != nullptr;
    if (!named) continue;
    NamePaces(account, configuration.keys[i], names);
    break;
  }
  account::WipeKeys(configuration.accounts, configuration.keys);
  List *databases = NIL;
  for (int i = 0; named && i < kPaceNames; i++) {
    Oid found[kPaceDatabases];
    const int count = DatabasesOfPace(names[i], found);
    for (int k = 0; k < count; k++) databases = list_append_unique_oid(databases, found[k]);
  }
  return databases;
}

bool IsOld(Sender *sender, MemoryContext scratch) {
  return account::Version() != sender->version && Refresh(sender, scratch, false);
}

SenderAccount *FindAccount(const Sender *sender, Oid server) {
  ListCell *cell;
  foreach (cell, sender->accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->account->server == server) return entry;
  }
  return nullptr;
}

}  // namespace imagekit::worker
