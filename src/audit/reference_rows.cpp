// All that the rows of a watched table use: for the comparison of a whole library with whole tables.
//
// The tables are read as for the check before a delete (worker/table_search.h): straight from the heap, what is not committed
// included. Here every row is read, and nothing is kept but 16 bytes a use, in a tuplestore that goes to disk.

#include <algorithm>
#include <vector>

#include "account/account.h"
#include "capture/extract.h"
#include "capture/triggers.h"
#include "capture/watch_config.h"
#include "core/uses.h"
#include "pg/bridge.h"
#include "pg/encoding.h"
#include "pg/sql.h"
#include "worker/table_search.h"

namespace imagekit::audit {

namespace {

using Keys = std::vector<PathKey>;

struct Reading : worker::TableSearch {
  ReturnSetInfo *result;
  const EndpointMap *endpoints;
  UseReader *reader;
  std::vector<Use> *uses;  // of one URL

  // Whose row it is.
  const char *owner_column;  // NULL: nobody's
  Oid owner_heap;            // the heap for which the next two hold
  AttrNumber owner;
  FmgrInfo owner_output;

  // rows_that_use()
  Oid server;
  const Keys *keys;  // sorted
};

void PutUse(const Reading &reading, const Use &use, Datum owner, bool has_owner) {
  pg_uuid_t key;
  static_assert(sizeof key.data == sizeof use.key, "16 bytes");
  memcpy(key.data, use.key.data(), sizeof key.data);
  Datum values[4] = {ObjectIdGetDatum(account::AccountServer(use.account)), CharGetDatum(static_cast<char>(use.kind)),
                     UUIDPGetDatum(&key), owner};
  bool nulls[4] = {false, false, false, !has_owner};
  tuplestore_putvalues(reading.result->setResult, reading.result->setDesc, values, nulls);
}

// A partition may number its columns otherwise.
void FindOwner(Reading *reading) {
  reading->owner_heap = RelationGetRelid(reading->heap);
  reading->owner = get_attnum(reading->owner_heap, reading->owner_column);
  if (reading->owner == InvalidAttrNumber) return;
  Oid function;
  bool varlena;
  getTypeOutputInfo(TupleDescAttr(RelationGetDescr(reading->heap), reading->owner - 1)->atttypid, &function, &varlena);
  fmgr_info_cxt(function, &reading->owner_output, reading->result->econtext->ecxt_per_query_memory);
}

bool ReadOwner(Reading *reading, Datum *owner) {
  if (reading->owner_column == nullptr) return false;
  if (reading->owner_heap != RelationGetRelid(reading->heap)) FindOwner(reading);
  if (reading->owner == InvalidAttrNumber) return false;
  bool null;
  Datum value = slot_getattr(reading->row, reading->owner, &null);
  if (!null) *owner = CStringGetTextDatum(OutputFunctionCall(&reading->owner_output, value));
  return !null;
}

void TakeUse(capture::UrlSink *self, std::string_view url, std::string_view) {
  auto *reading = static_cast<Reading *>(self);
  const std::string_view utf8 = pg::ToUtf8(url);  // as the library's paths are
  pg::CallCxx([&] {
    reading->uses->clear();
    reading->reader->Read(*reading->endpoints, utf8, reading->uses);
  });
  if (reading->uses->empty()) return;
  Datum owner = 0;
  bool has_owner = ReadOwner(reading, &owner);
  for (size_t i = 0; i < reading->uses->size(); i++) PutUse(*reading, (*reading->uses)[i], owner, has_owner);
}

// The path the URL means, when it means nothing else and is asked for; empty otherwise. In the row's memory.
char *WantedPath(const Reading &reading, std::string_view url) {
  // Long enough for a name and folders as the library has them; what is longer is left out.
  char path[2048];
  const std::string_view utf8 = pg::ToUtf8(url);
  bool wanted = pg::CallCxx([&] {
    if (!reading.endpoints->Owns(utf8)) return false;
    const UrlReading read = reading.endpoints->Read(utf8);
    if (read.kind != UrlClass::kLibraryFile || account::AccountServer(read.account) != reading.server ||
        !read.other_readings.empty())
      return false;
    const std::string text = read.path.FilePath();
    if (text.size() >= sizeof path || !std::binary_search(reading.keys->begin(), reading.keys->end(), KeyOfPath(text)))
      return false;
    memcpy(path, text.c_str(), text.size() + 1);
    return true;
  });
  return wanted ? pg::ToServerText(path) : nullptr;
}

void TakeRow(capture::UrlSink *self, std::string_view url, std::string_view) {
  auto *reading = static_cast<Reading *>(self);
  if (reading->uncommitted) return;  // it may never be there
  char *path = WantedPath(*reading, url);
  if (path == nullptr) return;
  Datum values[4] = {CStringGetTextDatum(worker::RowKey(*reading)), CStringGetTextDatum(reading->source),
                     PointerGetDatum(cstring_to_text_with_len(url.data(), static_cast<int>(url.size()))),
                     CStringGetTextDatum(path)};
  bool nulls[4] = {};
  tuplestore_putvalues(reading->result->setResult, reading->result->setDesc, values, nulls);
}

// Its errors about locks speak of "it".
void SearchNamedTable(Reading *reading) {
  MemoryContext before = CurrentMemoryContext;
  PG_TRY();
  { worker::SearchTable(reading); }
  PG_CATCH();
  {
    if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE && geterrcode() != ERRCODE_OBJECT_IN_USE) PG_RE_THROW();
    MemoryContextSwitchTo(before);
    const ErrorData *error = CopyErrorData();
    FlushErrorState();
    ereport(ERROR, (errcode(error->sqlerrcode),
                    errmsg("table %s: %s", capture::QualifiedName(reading->watched), error->message)));
  }
  PG_END_TRY();
}

// Reads all rows of a watched table and those below it. One that is not watched any more has none that count.
void ReadRows(FunctionCallInfo fcinfo, Reading *reading, Oid relation) {
  InitMaterializedSRF(fcinfo, 0);
  reading->result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  reading->if_unreadable = capture::Unreadable::kRaise;
  reading->pass = worker::Pass::kAll;
  capture::Watch watch;
  if (!capture::ReadWatch(relation, &watch)) return;
  if (watch.owner != nullptr && !watch.owner_dropped) reading->owner_column = pstrdup(watch.owner);
  // That of the statement: whoever reads all tables in one statement misses no row that moves from one to another.
  reading->snapshot = RegisterSnapshot(GetActiveSnapshot());
  reading->watched = relation;
  reading->endpoints = account::Endpoints();
  SearchNamedTable(reading);
  UnregisterSnapshot(reading->snapshot);
}

Keys *ReadKeys(ArrayType *array) {
  Datum *elements;
  bool *nulls;
  int count;
  deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, &nulls, &count);
  auto *keys = pg::Own<Keys>(CurrentMemoryContext);
  pg::CallCxx([&] {
    for (int i = 0; i < count; i++) {
      if (nulls[i]) continue;
      PathKey key;
      memcpy(key.data(), DatumGetUUIDP(elements[i])->data, key.size());
      keys->push_back(key);
    }
    std::sort(keys->begin(), keys->end());
  });
  return keys;
}

}  // namespace

}  // namespace imagekit::audit

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_collect_references);
IMAGEKIT_SQL_FUNCTION(imagekit_rows_that_use);

// collect_references(relation regclass) -> TABLE (server oid, kind "char", key uuid, owner text)
Datum imagekit_collect_references(PG_FUNCTION_ARGS) {
  using namespace imagekit::audit;
  namespace pg = imagekit::pg;
  pg::SqlSession session;
  pg::OpenSql(&session);
  pg::WriteAlike();
  Reading reading = {};
  reading.take = TakeUse;
  reading.reader = pg::Own<imagekit::UseReader>(CurrentMemoryContext);
  reading.uses = pg::Own<std::vector<imagekit::Use>>(CurrentMemoryContext);
  ReadRows(fcinfo, &reading, PG_GETARG_OID(0));
  pg::CloseSql(&session);
  return Datum{0};
}

// rows_that_use(relation regclass, server oid, keys uuid[]) -> TABLE (row_key text, source text, url text, path text)
Datum imagekit_rows_that_use(PG_FUNCTION_ARGS) {
  using namespace imagekit::audit;
  namespace pg = imagekit::pg;
  pg::SqlSession session;
  pg::OpenSql(&session);
  pg::WriteAlike();
  Reading reading = {};
  reading.take = TakeRow;
  reading.server = PG_GETARG_OID(1);
  reading.keys = ReadKeys(PG_GETARG_ARRAYTYPE_P(2));
  ReadRows(fcinfo, &reading, PG_GETARG_OID(0));
  pg::CloseSql(&session);
  return Datum{0};
}
}
