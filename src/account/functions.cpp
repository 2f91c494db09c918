// SQL functions that answer questions about URLs and accounts. They read, and never send.

#include "account/account.h"
#include "core/url.h"
#include "pg/bridge.h"
#include "pg/server.h"
#include "pg/sql.h"

namespace {

using imagekit::EndpointMap;
using imagekit::UrlClass;

std::string_view TextView(const text *value) {
  return {VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))};
}

// A C++ string leaves C++ as plain memory in the current context: first its size, then its bytes.
template <typename Make>
text *TextFromCxx(Make make) {
  auto *result = imagekit::pg::Own<std::string>(CurrentMemoryContext);
  imagekit::pg::CallCxx([&] { *result = make(); });
  return cstring_to_text_with_len(result->data(), static_cast<int>(result->size()));
}

const char *ClassName(UrlClass kind) {
  switch (kind) {
    case UrlClass::kForeign:
      return "foreign";
    case UrlClass::kLibraryFile:
      return "library file";
    case UrlClass::kSkipped:
      return "skipped";
    case UrlClass::kRefused:
      return "refused";
  }
  return nullptr;
}

}  // namespace

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_library_path);
IMAGEKIT_SQL_FUNCTION(imagekit_read_url);
IMAGEKIT_SQL_FUNCTION(imagekit_protected_by);
IMAGEKIT_SQL_FUNCTION(imagekit_url_key);
IMAGEKIT_SQL_FUNCTION(imagekit_account_of);
IMAGEKIT_SQL_FUNCTION(imagekit_account_problem);

// library_path(url text) -> text
Datum imagekit_library_path(PG_FUNCTION_ARGS) {
  text *url = PG_GETARG_TEXT_PP(0);
  const EndpointMap *endpoints = imagekit::account::Endpoints();
  text *path = TextFromCxx([&] {
    auto reading = endpoints->Read(TextView(url));
    return reading.kind == UrlClass::kLibraryFile ? reading.path.FilePath() : std::string();
  });
  if (VARSIZE_ANY_EXHDR(path) == 0) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(path);
}

// read_url(url text) -> record, see its columns in the install script
Datum imagekit_read_url(PG_FUNCTION_ARGS) {
  namespace pg = imagekit::pg;
  text *url = PG_GETARG_TEXT_PP(0);
  TupleDesc columns;
  if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  const EndpointMap *endpoints = imagekit::account::Endpoints();
  auto *reading = pg::Own<imagekit::UrlReading>(CurrentMemoryContext);
  pg::CallCxx([&] { *reading = endpoints->Read(TextView(url)); });
  bool foreign = reading->kind == UrlClass::kForeign, file = reading->kind == UrlClass::kLibraryFile;
  auto *others = static_cast<char **>(palloc(sizeof(char *) * (reading->other_readings.size() + 1)));
  for (size_t i = 0; i < reading->other_readings.size(); i++)
    others[i] = text_to_cstring(TextFromCxx([&] { return reading->other_readings[i].FilePath(); }));
  Datum values[5] = {
      CStringGetTextDatum(ClassName(reading->kind)),
      foreign ? 0 : ObjectIdGetDatum(imagekit::account::AccountServer(reading->account)),
      file ? PointerGetDatum(TextFromCxx([&] { return reading->path.FilePath(); })) : 0,
      file ? 0 : CStringGetTextDatum(foreign ? "it is under no url_endpoint or url_aliases" : reading->reason.c_str()),
      pg::TextArray(others, static_cast<int>(reading->other_readings.size()))};
  bool nulls[5] = {false, foreign, !file, file, false};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls)));
}

// protected_by(server oid, path text) -> text
Datum imagekit_protected_by(PG_FUNCTION_ARGS) {
  // Loaded once for many calls: a statement may ask for each file of a library.
  struct Loaded {
    uint64 version;
    List *accounts;
  };
  auto *loaded = static_cast<Loaded *>(fcinfo->flinfo->fn_extra);
  if (loaded == nullptr || loaded->version != imagekit::account::Version()) {
    loaded = static_cast<Loaded *>(MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(Loaded)));
    loaded->version = imagekit::account::Version();
    loaded->accounts = imagekit::account::LoadAccounts(fcinfo->flinfo->fn_mcxt);
    fcinfo->flinfo->fn_extra = loaded;
  }
  const char *path = text_to_cstring(PG_GETARG_TEXT_PP(1));
  ListCell *cell;
  foreach (cell, loaded->accounts) {
    auto *account = static_cast<imagekit::account::Account *>(lfirst(cell));
    if (account->server != PG_GETARG_OID(0)) continue;
    const char *pattern = imagekit::account::ProtectedBy(*account, path);
    if (pattern == nullptr) break;
    PG_RETURN_TEXT_P(cstring_to_text(pattern));
  }
  PG_RETURN_NULL();
}

// url_key(url text) -> text
Datum imagekit_url_key(PG_FUNCTION_ARGS) {
  text *url = PG_GETARG_TEXT_PP(0);
  text *key = TextFromCxx([&] { return imagekit::UrlKey(TextView(url)); });
  if (VARSIZE_ANY_EXHDR(key) == 0) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(key);
}

// account_of(url text) -> oid
Datum imagekit_account_of(PG_FUNCTION_ARGS) {
  text *url = PG_GETARG_TEXT_PP(0);
  const EndpointMap *endpoints = imagekit::account::Endpoints();
  Oid server = imagekit::pg::CallCxx([&] { return imagekit::account::ServerOf(*endpoints, TextView(url)); });
  if (!OidIsValid(server)) PG_RETURN_NULL();
  PG_RETURN_OID(server);
}

// account_problem(server oid) -> text
Datum imagekit_account_problem(PG_FUNCTION_ARGS) {
  using imagekit::account::Account;
  Oid server = PG_GETARG_OID(0);
  List *accounts = imagekit::account::LoadAccounts(CurrentMemoryContext);
  imagekit::account::WipeKeys(accounts, imagekit::account::LoadKeys(accounts, CurrentMemoryContext));
  const char *answer = "there is no such account";
  ListCell *cell;
  foreach (cell, accounts) {
    auto *account = static_cast<Account *>(lfirst(cell));
    if (account->server == server) answer = account->problem;
  }
  if (answer == nullptr) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(answer));
}
}
