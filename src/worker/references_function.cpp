// imagekit.references(): who uses an image, as the drain's check sees it.

#include "pg/sql.h"
#include "worker/references.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

struct Listing {
  Batch batch;
  ReturnSetInfo *result;
};

void ListUse(void *argument, const TableSearch &where, int file, bool certain) {
  auto *listing = static_cast<Listing *>(argument);
  Datum values[6] = {CStringGetTextDatum(listing->batch.files[file].url),
                     ObjectIdGetDatum(RelationGetRelid(where.heap)),
                     CStringGetTextDatum(RowKey(where)),
                     CStringGetTextDatum(where.source),
                     BoolGetDatum(certain),
                     BoolGetDatum(!where.uncommitted)};
  bool nulls[6] = {};
  tuplestore_putvalues(listing->result->setResult, listing->result->setDesc, values, nulls);
}

}  // namespace

}  // namespace imagekit::worker

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_references);

// references(urls text[]) -> TABLE (url text, relation regclass, key text, source text, certain boolean,
// committed boolean)
Datum imagekit_references(PG_FUNCTION_ARGS) {
  using namespace imagekit::worker;
  namespace pg = imagekit::pg;
  InitMaterializedSRF(fcinfo, 0);
  Listing listing = {};
  listing.result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
  Datum *urls;
  bool *nulls;
  int given;
  deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &urls, &nulls, &given);
  Batch *batch = &listing.batch;
  batch->context = CurrentMemoryContext;
  batch->files = static_cast<QueuedFile *>(palloc0(sizeof(QueuedFile) * (given + 1)));
  for (int i = 0; i < given; i++)
    if (!nulls[i]) batch->files[batch->count++].url = TextDatumGetCString(urls[i]);
  pg::SqlSession session;
  pg::OpenSql(&session);
  pg::WriteAlike();
  ReadBatch(batch);
  for (int i = 0; i < batch->count; i++) {
    batch->files[i].same_as = -1;
    batch->files[i].stage = Stage::kProving;
    // What names no file has no uses.
    if ((*batch->readings)[static_cast<size_t>(i)].kind != imagekit::UrlClass::kLibraryFile)
      Decide(batch, &batch->files[i], Fate::kParked, nullptr);
  }
  FindUses(batch, ListUse, &listing);
  pg::CloseSql(&session);
  return Datum{0};
}
}
