// SQL functions on the queue: unpack() shows a journal tuple, enqueue() puts URLs in by hand.

#include "account/account.h"
#include "account/options.h"
#include "outbox/journal.h"
#include "outbox/pack.h"
#include "pg/bridge.h"
#include "pg/sql.h"
#include "worker/wake.h"

namespace {

constexpr char kEnqueue[] =
    "INSERT INTO imagekit.backlog (url, server, transaction, relation, role, origin, captured_at, due_at) "
    "SELECT u.url, imagekit.account_of(u.url), pg_catalog.pg_current_xact_id(), 0, $3, 'E', pg_catalog.now(), "
    "       pg_catalog.now() OPERATOR(pg_catalog.+) $2 "
    "FROM pg_catalog.unnest($1) AS u(url) WHERE imagekit.account_of(u.url) IS NOT NULL";

text *Concatenate(std::string_view prefix, std::string_view suffix) {
  size_t size = VARHDRSZ + prefix.size() + suffix.size();
  auto *joined = static_cast<text *>(palloc(size));
  SET_VARSIZE(joined, size);
  memcpy(VARDATA(joined), prefix.data(), prefix.size());
  memcpy(VARDATA(joined) + prefix.size(), suffix.data(), suffix.size());
  return joined;
}

}  // namespace

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_unpack);
IMAGEKIT_SQL_FUNCTION(imagekit_enqueue);

// unpack(pack bytea) -> TABLE (url text, file_id text). One damaged tuple must not make a view of all fail: it is one row of
// NULLs, whatever could still be read of it.
Datum imagekit_unpack(PG_FUNCTION_ARGS) {
  bytea *pack = PG_GETARG_BYTEA_PP(0);
  InitMaterializedSRF(fcinfo, 0);
  auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  const std::string_view bytes(VARDATA_ANY(pack), static_cast<size_t>(VARSIZE_ANY_EXHDR(pack)));
  std::string_view prefix, suffix, file_id;
  imagekit::outbox::PackReader check(bytes);
  while (check.Next(&prefix, &suffix, &file_id)) continue;
  if (check.damaged()) {
    Datum values[2] = {0, 0};
    bool nulls[2] = {true, true};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    return Datum{0};
  }
  imagekit::outbox::PackReader reader(bytes);
  while (reader.Next(&prefix, &suffix, &file_id)) {
    Datum values[2] = {PointerGetDatum(Concatenate(prefix, suffix)), PointerGetDatum(Concatenate(file_id, {}))};
    bool nulls[2] = {false, file_id.empty()};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  }
  return Datum{0};
}

// enqueue(urls text[], delay interval) -> bigint
Datum imagekit_enqueue(PG_FUNCTION_ARGS) {
  namespace pg = imagekit::pg;
  ArrayType *urls = PG_GETARG_ARRAYTYPE_P(0);
  int given = ArrayGetNItems(ARR_NDIM(urls), ARR_DIMS(urls));
  Interval *delay = PG_GETARG_INTERVAL_P(1);
  if (delay->time < 0 || delay->day < 0 || delay->month < 0)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("delay must not be negative"),
             errdetail("It is how long the images wait before they are deleted."), errhint("Use '0' for no wait.")));
  if (imagekit::account::IsTooLong(*delay))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("delay must not be longer than ten years"),
                    errhint("Use a shorter one.")));
  pg::SqlSession session;
  pg::OpenSql(&session);
  auto queued = static_cast<int64>(pg::RunSql(kEnqueue, SPI_OK_INSERT,
                                              {{TEXTARRAYOID, PointerGetDatum(urls)},
                                               {INTERVALOID, PG_GETARG_DATUM(1)},
                                               {OIDOID, ObjectIdGetDatum(session.saved_role)}}));
  pg::CloseSql(&session);
  if (queued < given)
    ereport(WARNING, (errmsg("%d of %d URLs were not queued", static_cast<int>(given - queued), given),
                      errdetail("They are NULL, or under no account's url_endpoint or url_aliases."),
                      errhint("See the options of the servers: SELECT srvname, srvoptions FROM pg_foreign_server.")));
  if (queued > 0) imagekit::worker::WakeAtCommit();
  PG_RETURN_INT64(queued);
}
}
