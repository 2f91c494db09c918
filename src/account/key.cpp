// Where an account's private key comes from: the user mapping of the server's owner, else PUBLIC's; from the option
// itself or from a file. The key must never reach a message.

#include <sys/stat.h>
#include <unistd.h>

#include "account/account.h"
#include "core/api_request.h"
#include "pg/bridge.h"

namespace imagekit::account {

namespace {

// Options of the mapping; NIL with *found false when there is none. GetUserMapping() would raise an error.
List *MappingOptions(const Account *account, bool *found) {
  HeapTuple tuple =
      SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(account->owner), ObjectIdGetDatum(account->server));
  if (!HeapTupleIsValid(tuple))
    tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), ObjectIdGetDatum(account->server));
  *found = HeapTupleIsValid(tuple);
  if (!*found) return NIL;
  bool null;
  Datum options = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &null);
  List *list = null ? NIL : untransformRelOptions(options);
  ReleaseSysCache(tuple);
  return list;
}

// A file that others may read is refused, as libpq refuses such a password file: the mistake should be seen at once.
char *ReadKeyFile(const char *path, char **problem) {
  struct stat status;
  FILE *file = AllocateFile(path, "r");
  if (file == nullptr) {
    *problem = psprintf("the key file \"%s\" cannot be read: %m", path);
    return nullptr;
  }
  char *key = nullptr;
  char line[1024];
  (void)setvbuf(file, nullptr, _IONBF, 0);  // a buffer of the C library's would keep the key
  if (fstat(fileno(file), &status) != 0)
    *problem = psprintf("the key file \"%s\" cannot be read: %m", path);
  else if (!S_ISREG(status.st_mode))
    *problem = psprintf("the key file \"%s\" is not a plain file", path);
  else if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    *problem = psprintf("the key file \"%s\" may be read by others; run chmod 600 on it", path);
  else if (fgets(line, sizeof line, file) == nullptr || strspn(line, " \t\r\n") == strlen(line))
    *problem = psprintf("the key file \"%s\" is empty", path);
  else {
    size_t start = strspn(line, " \t");
    size_t length = strcspn(line + start, " \t\r\n");
    key = pnstrdup(line + start, length);
  }
  explicit_bzero(line, sizeof line);
  FreeFile(file);
  return key;
}

bool IsUsable(const char *key) {
  return pg::CallCxx([&] {
    try {
      CheckPrivateKey(key);
      return true;
    } catch (const std::invalid_argument &) {
      return false;
    }
  });
}

// NULL with *problem in words when there is none to be had.
char *LoadKey(const Account *account, MemoryContext context, char **problem) {
  MemoryContext before = MemoryContextSwitchTo(context);
  bool found;
  char *key = nullptr;
  *problem = nullptr;
  ListCell *cell;
  foreach (cell, MappingOptions(account, &found)) {
    auto *option = static_cast<DefElem *>(lfirst(cell));
    if (strcmp(option->defname, "private_key") == 0) key = pstrdup(defGetString(option));
    if (strcmp(option->defname, "private_key_file") == 0) key = ReadKeyFile(defGetString(option), problem);
  }
  if (!found)
    *problem = psprintf(
        "there is no key: neither the owner of server \"%s\" nor PUBLIC has a user mapping; run CREATE USER "
        "MAPPING FOR PUBLIC SERVER %s OPTIONS (private_key '...')",
        account->name, quote_identifier(account->name));
  else if (key == nullptr && *problem == nullptr)
    *problem = psprintf("the user mapping of server \"%s\" holds no key", account->name);
  if (key != nullptr && !IsUsable(key)) {
    explicit_bzero(key, strlen(key));
    key = nullptr;
    *problem =
        psprintf("the key of server \"%s\" holds what no key can: spaces, a colon, or other than ASCII", account->name);
  }
  MemoryContextSwitchTo(before);
  return key;
}

// Two accounts with the same key have the same library, and would delete each other's files.
void MarkSharedKeys(List *accounts, char *const *keys) {
  for (int i = 0; i < list_length(accounts); i++) {
    auto *account = static_cast<Account *>(list_nth(accounts, i));
    for (int j = 0; j < list_length(accounts) && account->problem == nullptr; j++) {
      auto *other = static_cast<Account *>(list_nth(accounts, j));
      if (i == j || keys[i] == nullptr || keys[j] == nullptr || strcmp(keys[i], keys[j]) != 0) continue;
      if (strcmp(account->api_url, other->api_url) == 0) account->problem = SameLibrary(other, "the same key");
    }
  }
}

}  // namespace

char **LoadKeys(List *accounts, MemoryContext context) {
  const int count = list_length(accounts);
  auto **keys = static_cast<char **>(MemoryContextAllocZero(context, sizeof(char *) * (count + 1)));
  for (int i = 0; i < count; i++) {
    auto *account = static_cast<Account *>(list_nth(accounts, i));
    char *problem;
    keys[i] = LoadKey(account, context, &problem);
    if (account->problem == nullptr) account->problem = problem;
  }
  MarkSharedKeys(accounts, keys);
  return keys;
}

void WipeKeys(List *accounts, char **keys) {
  for (int i = 0; i < list_length(accounts); i++)
    if (keys[i] != nullptr) explicit_bzero(keys[i], strlen(keys[i]));
}

}  // namespace imagekit::account
