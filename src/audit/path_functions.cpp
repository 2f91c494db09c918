// Library paths as keys, and back to URLs: what the audit's SQL compares by.

#include "account/account.h"
#include "core/api_text.h"
#include "core/path_key.h"
#include "core/url.h"
#include "pg/bridge.h"
#include "pg/encoding.h"

namespace imagekit::audit {

namespace {

std::string_view View(const text *value) { return {VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))}; }

// A URL or a path as the library's paths are: in UTF-8.
std::string_view Utf8(const text *value) { return pg::ToUtf8(View(value)); }

Datum UuidOf(const PathKey &key) {
  auto *uuid = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
  memcpy(uuid->data, key.data(), sizeof uuid->data);
  return UUIDPGetDatum(uuid);
}

const account::Account *FindAccount(Oid server) {
  ListCell *cell;
  foreach (cell, account::LoadAccounts(CurrentMemoryContext)) {
    auto *account = static_cast<account::Account *>(lfirst(cell));
    if (account->server == server) return account;
  }
  return nullptr;
}

// Each folder and the name percent-encoded, so that it is read back byte for byte.
std::string UrlUnder(std::string_view prefix, std::string_view path) {
  std::string url(prefix);
  while (!url.empty() && url.back() == '/') url.pop_back();
  for (size_t start = 0; start < path.size();) {
    const size_t end = std::min(path.find('/', start + 1), path.size());
    url += '/';
    url += PercentEncode(path.substr(start + 1, end - start - 1));
    start = end;
  }
  return url;
}

// Does the URL mean this one file of the account, and nothing else?
bool Means(const EndpointMap &endpoints, const std::string &url, Oid server, const pg_uuid_t *key) {
  const UrlReading reading = endpoints.Read(url);
  if (reading.kind != UrlClass::kLibraryFile || account::AccountServer(reading.account) != server ||
      !reading.other_readings.empty())
    return false;
  const PathKey path_key = KeyOfPath(reading.path.FilePath());
  return memcmp(path_key.data(), key->data, path_key.size()) == 0;
}

}  // namespace

}  // namespace imagekit::audit

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_file_key);
IMAGEKIT_SQL_FUNCTION(imagekit_name_key);
IMAGEKIT_SQL_FUNCTION(imagekit_path_url);
IMAGEKIT_SQL_FUNCTION(imagekit_folder_of);

// file_key(url text) -> uuid
Datum imagekit_file_key(PG_FUNCTION_ARGS) {
  using namespace imagekit::audit;
  const std::string_view url = Utf8(PG_GETARG_TEXT_PP(0));
  const imagekit::EndpointMap *endpoints = imagekit::account::Endpoints();
  imagekit::PathKey key;
  const bool file = imagekit::pg::CallCxx([&] {
    const imagekit::UrlReading reading = endpoints->Read(url);
    if (reading.kind != imagekit::UrlClass::kLibraryFile) return false;
    key = imagekit::KeyOfPath(reading.path.FilePath());
    return true;
  });
  if (!file) PG_RETURN_NULL();
  return UuidOf(key);
}

// name_key(url text) -> uuid
Datum imagekit_name_key(PG_FUNCTION_ARGS) {
  using namespace imagekit::audit;
  const std::string_view url = Utf8(PG_GETARG_TEXT_PP(0));
  imagekit::PathKey key;
  imagekit::pg::CallCxx([&] { key = imagekit::KeyOfPath(imagekit::UrlKey(url)); });
  return UuidOf(key);
}

// path_url(server oid, path text, key uuid) -> text
Datum imagekit_path_url(PG_FUNCTION_ARGS) {
  using namespace imagekit::audit;
  const Oid server = PG_GETARG_OID(0);
  const std::string_view path = Utf8(PG_GETARG_TEXT_PP(1));
  const pg_uuid_t *key = PG_GETARG_UUID_P(2);
  // Asked for a million paths in a row.
  struct Kept {
    Oid server;
    char *prefix;
  };
  auto *kept = static_cast<Kept *>(fcinfo->flinfo->fn_extra);
  if (kept == nullptr || kept->server != server) {
    const imagekit::account::Account *account = FindAccount(server);
    if (account == nullptr || account->url_endpoint == nullptr) PG_RETURN_NULL();
    kept = static_cast<Kept *>(MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(Kept)));
    *kept = {server, MemoryContextStrdup(fcinfo->flinfo->fn_mcxt, account->url_endpoint)};
    fcinfo->flinfo->fn_extra = kept;
  }
  const imagekit::EndpointMap *endpoints = imagekit::account::Endpoints();
  auto *url = imagekit::pg::Own<std::string>(CurrentMemoryContext);
  const bool means = imagekit::pg::CallCxx([&] {
    *url = UrlUnder(kept->prefix, path);
    return Means(*endpoints, *url, server, key);
  });
  if (!means) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text_with_len(url->data(), static_cast<int>(url->size())));
}

// folder_of(path text) -> text
Datum imagekit_folder_of(PG_FUNCTION_ARGS) {
  const std::string_view path = imagekit::audit::View(PG_GETARG_TEXT_PP(0));
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) PG_RETURN_TEXT_P(cstring_to_text("/"));
  PG_RETURN_TEXT_P(cstring_to_text_with_len(path.data(), static_cast<int>(slash)));
}
}
