// accounts_in(): how many URLs of a journal tuple belong to which account. For counting what waits, so that it reads as much of
// a URL as tells that, and passes by what is damaged.

#include "account/account.h"
#include "outbox/pack.h"
#include "pg/bridge.h"

namespace imagekit::outbox {

namespace {

struct Share {
  Oid server;
  int32 files;
};

// Those there is no room for count with the last: a tuple is one table's.
int CountShares(std::string_view pack, const EndpointMap &endpoints, Share *shares, int most) {
  PackReader reader(pack);
  std::string_view prefix, suffix, file_id;
  std::string url;
  int count = 0;
  while (reader.Next(&prefix, &suffix, &file_id)) {
    url.assign(prefix).append(suffix);
    const Oid server = account::ServerOf(endpoints, url);
    int i = 0;
    while (i < count && shares[i].server != server) i++;
    if (i == count && count < most) shares[count++] = {server, 0};
    shares[i < count ? i : count - 1].files++;
  }
  return count;
}

}  // namespace

}  // namespace imagekit::outbox

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_accounts_in);

// accounts_in(pack bytea) -> TABLE (server oid, files integer)
Datum imagekit_accounts_in(PG_FUNCTION_ARGS) {
  using namespace imagekit::outbox;
  constexpr int kMost = 64;
  bytea *pack = PG_GETARG_BYTEA_PP(0);
  const imagekit::EndpointMap *endpoints = imagekit::account::Endpoints();
  Share shares[kMost];
  const int count = imagekit::pg::CallCxx([&] {
    return CountShares({VARDATA_ANY(pack), static_cast<size_t>(VARSIZE_ANY_EXHDR(pack))}, *endpoints, shares, kMost);
  });
  InitMaterializedSRF(fcinfo, 0);
  auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  for (int i = 0; i < count; i++) {
    Datum values[2] = {ObjectIdGetDatum(shares[i].server), Int32GetDatum(shares[i].files)};
    bool nulls[2] = {!OidIsValid(shares[i].server), false};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  return Datum{0};
}
}
