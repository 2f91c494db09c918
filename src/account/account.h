// Accounts: the foreign servers of the wrapper `imagekit`, with their options and keys.

#ifndef IMAGEKIT_ACCOUNT_ACCOUNT_H
#define IMAGEKIT_ACCOUNT_ACCOUNT_H

#include "core/api.h"
#include "core/url.h"
#include "pg/server.h"

namespace imagekit::account {

/// One account as configured. Plain memory in the context it was loaded into.
struct Account {
  Oid server;
  char *name;
  Oid owner;
  char *url_endpoint;
  List *url_prefixes;  // char *: url_endpoint, then each of url_aliases
  char *api_url;
  List *protect;  // char *: library paths or globs that are never deleted
  bool dry_run;
  bool purge_cache;        // the URLs of what was deleted are purged from the CDN
  int64 purges_per_month;  // 0: no limit
  bool allow_missing;      // however many files are not found, the account goes on
  double read_rate, read_burst, write_rate, write_burst;
  int search_size, bulk_size;  // files in one request
  int64 hold_above;            // files; 0: no limit
  double hold_fraction;        // of a table's files; 0: no limit
  int64 max_deletes_per_hour;  // 0: no limit
  int64 hold_window;           // microseconds; 0: each transaction by itself
  double audit_share;          // of read_rate, for audits
  int64 audit_time_limit;      // microseconds; 0: none
  char *problem;               // why it cannot be used, in words; NULL when it can
};

/// What they are unless the options say otherwise.
constexpr int64 kPurgesPerMonth = 1000;  // what ImageKit's plans were documented to include
constexpr int64 kHoldAbove = 5000;
constexpr double kHoldFraction = 0.5;
constexpr int64 kHoldWindow = 10 * USECS_PER_MINUTE;

constexpr double kAuditShare = 0.25;

/// All accounts of this database, read from the catalogs now. Keys are not among them.
List *LoadAccounts(MemoryContext context);

/// The account of this name, or an error that says how accounts are found.
Oid AccountNamed(const char *name);

/// The only account there is, or an error that says how to name one.
Oid OnlyAccount();

/// The private keys, one an account, in `context`; NULL where there is none to be had. An account that has none, or shares its
/// key with another (so that each would delete the other's files), gets that as its problem.
char **LoadKeys(List *accounts, MemoryContext context);
void WipeKeys(List *accounts, char **keys);

/// Why an account cannot be used beside `other`, in words.
char *SameLibrary(const Account *other, const char *why);

/// The pattern of `protect` that covers a library path; NULL when none does.
const char *ProtectedBy(const Account &account, const char *path);

/// Prefix map of all accounts; the number of an entry is the account's server oid. Cached, renewed when a foreign
/// server changes. Valid until the next call.
const EndpointMap *Endpoints();

/// The account that a URL belongs to; InvalidOid when it is under no prefix. C++ throughout.
Oid ServerOf(const EndpointMap &endpoints, std::string_view url);

/// Another one than before whenever an account's options or its key may have changed.
uint64 Version();

/// Registers the cache's invalidation. Once, from _PG_init.
void Initialize();

/// A server oid as EndpointMap's account number and back.
inline int AccountNumber(Oid server) { return static_cast<int>(server); }
inline Oid AccountServer(int number) { return static_cast<Oid>(number); }

}  // namespace imagekit::account

#endif  // IMAGEKIT_ACCOUNT_ACCOUNT_H
