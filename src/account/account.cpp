// Reads the accounts from the catalogs, and keeps the one map of URL prefixes that capture asks for every URL.

#include <fnmatch.h>

#include "account/account.h"

#include "account/options.h"
#include "pg/bridge.h"

namespace imagekit::account {

char *SameLibrary(const Account *other, const char *why) {
  return psprintf(
      "server \"%s\" is for the same library: %s. A row that uses a file under a prefix of one would not keep the "
      "other from deleting it; name all prefixes in url_endpoint and url_aliases of one server, and drop the other",
      other->name, why);
}

namespace {

// The prefix map is asked for every URL of every deleted row, so it is built once and only tagged stale by the
// invalidation callback: nothing may be freed there, somebody may be reading it.
EndpointMap *cached_endpoints = nullptr;
bool endpoints_fresh = false;
bool endpoints_touched = false;  // invalidated since they were last begun to be read
uint64 version = 1;

void InvalidateEndpoints(Datum, pg::SyscacheId, uint32) {
  endpoints_fresh = false;
  endpoints_touched = true;
  version++;
}

void InvalidateKeys(Datum, pg::SyscacheId, uint32) { version++; }

void ReadOption(Account *account, const char *name, const char *value) {
  if (strcmp(name, "url_endpoint") == 0) {
    account->url_endpoint = pstrdup(value);
    account->url_prefixes = lcons(pstrdup(value), account->url_prefixes);
  } else if (strcmp(name, "url_aliases") == 0) {
    account->url_prefixes = list_concat(account->url_prefixes, SplitList(value));
  } else if (strcmp(name, "api_url") == 0) {
    account->api_url = pstrdup(value);
  } else if (strcmp(name, "protect") == 0) {
    account->protect = SplitList(value);
  } else if (strcmp(name, "dry_run") == 0) {
    account->dry_run = BoolValue(value);
  } else if (strcmp(name, "allow_missing") == 0) {
    account->allow_missing = BoolValue(value);
  } else if (strcmp(name, "read_rate") == 0) {
    account->read_rate = RateValue(value);
  } else if (strcmp(name, "read_burst") == 0) {
    account->read_burst = RateValue(value);
  } else if (strcmp(name, "write_rate") == 0) {
    account->write_rate = RateValue(value);
  } else if (strcmp(name, "write_burst") == 0) {
    account->write_burst = RateValue(value);
  } else if (strcmp(name, "search_size") == 0) {
    account->search_size = static_cast<int>(LimitValue(value));
  } else if (strcmp(name, "bulk_size") == 0) {
    account->bulk_size = static_cast<int>(LimitValue(value));
  } else if (strcmp(name, "purge_cache") == 0) {
    account->purge_cache = BoolValue(value);
  } else if (strcmp(name, "purges_per_month") == 0) {
    account->purges_per_month = LimitValue(value);
  } else if (strcmp(name, "hold_above") == 0) {
    account->hold_above = LimitValue(value);
  } else if (strcmp(name, "hold_fraction") == 0) {
    account->hold_fraction = FractionValue(value);
  } else if (strcmp(name, "hold_window") == 0) {
    account->hold_window = WindowValue(value);
  } else if (strcmp(name, "max_deletes_per_hour") == 0) {
    account->max_deletes_per_hour = LimitValue(value);
  } else if (strcmp(name, "audit_share") == 0) {
    account->audit_share = FractionValue(value);
  } else if (strcmp(name, "audit_time_limit") == 0) {
    account->audit_time_limit = WindowValue(value);
  }
  // grace_period is read in SQL, by imagekit.grace_of(); audit_every and audit_hours by imagekit.next_audits.
}

Account *ReadAccount(Form_pg_foreign_server form) {
  auto *account = static_cast<Account *>(palloc0(sizeof(Account)));
  AccountAccess defaults;
  account->read_rate = defaults.read_rate;
  account->read_burst = defaults.read_burst;
  account->write_rate = defaults.write_rate;
  account->write_burst = defaults.write_burst;
  account->search_size = defaults.search_size;
  account->bulk_size = defaults.bulk_size;
  account->purges_per_month = kPurgesPerMonth;
  account->hold_above = kHoldAbove;
  account->hold_fraction = kHoldFraction;
  account->hold_window = kHoldWindow;
  account->audit_share = kAuditShare;
  account->api_url = pstrdup("https://api.imagekit.io");
  account->server = form->oid;
  account->name = pstrdup(NameStr(form->srvname));
  account->owner = form->srvowner;
  ListCell *cell;
  foreach (cell, GetForeignServer(form->oid)->options) {
    auto *option = static_cast<DefElem *>(lfirst(cell));
    ReadOption(account, option->defname, defGetString(option));
  }
  return account;
}

// Adds an account's prefixes; false when another account already has one of them.
bool AddPrefixes(EndpointMap *map, const Account *account, char *conflict, size_t size) {
  ListCell *cell;
  foreach (cell, account->url_prefixes) {
    const char *prefix = static_cast<char *>(lfirst(cell));
    bool added = pg::CallCxx([&] {
      try {
        map->Add(AccountNumber(account->server), prefix);
        return true;
      } catch (const EndpointError &) {
        return false;
      }
    });
    if (!added) {
      strlcpy(conflict, prefix, size);
      return false;
    }
  }
  return true;
}

bool ShareId(const Account *a, const Account *b) {
  ListCell *left, *right;
  foreach (left, a->url_prefixes) {
    foreach (right, b->url_prefixes) {
      const std::string_view id = AccountIdOf(static_cast<char *>(lfirst(left)));
      if (!id.empty() && id == AccountIdOf(static_cast<char *>(lfirst(right)))) return true;
    }
  }
  return false;
}

// Two accounts with one prefix: which of them a URL belongs to is a guess, so neither is used until that is mended.
void MarkConflicts(List *accounts) {
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "imagekit conflicts", ALLOCSET_SMALL_SIZES);
  ListCell *left, *right;
  foreach (left, accounts) {
    foreach (right, accounts) {
      auto *a = static_cast<Account *>(lfirst(left));
      auto *b = static_cast<Account *>(lfirst(right));
      char conflict[256];
      if (a == b) continue;
      if (ShareId(a, b)) a->problem = SameLibrary(b, "the same identifier of ImageKit's");
      auto *pair = pg::Own<EndpointMap>(scratch);
      if (AddPrefixes(pair, a, conflict, sizeof conflict) && AddPrefixes(pair, b, conflict, sizeof conflict)) continue;
      a->problem =
          psprintf("the URL prefix %s is also configured for server \"%s\"; one prefix can belong to one account only",
                   conflict, b->name);
    }
  }
  MemoryContextDelete(scratch);
}

}  // namespace

List *LoadAccounts(MemoryContext context) {
  MemoryContext before = MemoryContextSwitchTo(context);
  List *accounts = NIL;
  Oid wrapper = get_foreign_data_wrapper_oid("imagekit", true);
  if (OidIsValid(wrapper)) {
    Relation servers = table_open(ForeignServerRelationId, AccessShareLock);
    SysScanDesc scan = systable_beginscan(servers, InvalidOid, false, nullptr, 0, nullptr);
    HeapTuple tuple;
    while (HeapTupleIsValid(tuple = systable_getnext(scan))) {
      auto form = reinterpret_cast<Form_pg_foreign_server>(GETSTRUCT(tuple));
      if (form->srvfdw == wrapper) accounts = lappend(accounts, ReadAccount(form));
    }
    systable_endscan(scan);
    table_close(servers, AccessShareLock);
    MarkConflicts(accounts);
  }
  MemoryContextSwitchTo(before);
  return accounts;
}

Oid AccountNamed(const char *name) {
  const Oid server = get_foreign_server_oid(name, false);
  if (GetForeignServer(server)->fdwid != get_foreign_data_wrapper_oid("imagekit", true))
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("server \"%s\" is no ImageKit account", name),
                    errdetail("It is of another foreign-data wrapper than imagekit."),
                    errhint("SELECT server FROM imagekit.status lists the accounts.")));
  return server;
}

Oid OnlyAccount() {
  List *accounts = LoadAccounts(CurrentMemoryContext);
  if (list_length(accounts) == 1) return static_cast<Account *>(linitial(accounts))->server;
  ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                  accounts == NIL ? errmsg("there is no ImageKit account")
                                  : errmsg("there are %d ImageKit accounts", list_length(accounts)),
                  accounts == NIL ? errhint("CREATE SERVER ... FOREIGN DATA WRAPPER imagekit makes one.")
                                  : errhint("Name one; SELECT server FROM imagekit.status lists them.")));
}

const EndpointMap *Endpoints() {
  while (cached_endpoints == nullptr || !endpoints_fresh) {
    // An invalidation that arrives while the catalogs are read makes us read again; an error leaves the map stale.
    endpoints_touched = false;
    MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "imagekit accounts", ALLOCSET_SMALL_SIZES);
    auto *map = pg::Own<EndpointMap>(scratch);
    List *accounts = LoadAccounts(scratch);
    ListCell *cell;
    char ignored[256];
    // A prefix of two accounts stays with the first: its URLs are still captured, and neither account may send.
    foreach (cell, accounts) (void)AddPrefixes(map, static_cast<Account *>(lfirst(cell)), ignored, sizeof ignored);
    pg::CallCxx([&] {
      auto *kept = new EndpointMap(std::move(*map));
      delete cached_endpoints;
      cached_endpoints = kept;
    });
    endpoints_fresh = !endpoints_touched;
    MemoryContextDelete(scratch);
  }
  return cached_endpoints;
}

Oid ServerOf(const EndpointMap &endpoints, std::string_view url) {
  int account;
  std::string_view path;
  if (endpoints.ReadPlain(url, &account, &path)) return AccountServer(account);
  return endpoints.Owns(url) ? AccountServer(endpoints.Read(url).account) : InvalidOid;
}

uint64 Version() {
  AcceptInvalidationMessages();
  return version;
}

void Initialize() {
  CacheRegisterSyscacheCallback(FOREIGNSERVEROID, InvalidateEndpoints, 0);
  CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, InvalidateEndpoints, 0);
  CacheRegisterSyscacheCallback(USERMAPPINGOID, InvalidateKeys, 0);
}

// A pattern protects the path it matches; one that ends in a slash protects all below it.
const char *ProtectedBy(const Account &account, const char *path) {
  ListCell *cell;
  foreach (cell, account.protect) {
    const char *pattern = static_cast<char *>(lfirst(cell));
    size_t length = strlen(pattern);
    bool below = length > 0 && pattern[length - 1] == '/' && strncmp(path, pattern, length) == 0;
    // Without FNM_PATHNAME `*` crosses slashes: when in doubt, more is protected.
    if (below || fnmatch(pattern, path, 0) == 0) return pattern;
  }
  return nullptr;
}

}  // namespace imagekit::account
