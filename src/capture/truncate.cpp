// TRUNCATE of a watched table fires no row trigger: its rows are read here, just before they go.

#include "capture/queue_sink.h"
#include "capture/row.h"

namespace imagekit::capture {

namespace {

// TRUNCATE holds the exclusive lock and destroys rows whatever our snapshot says, so the latest one decides: under
// REPEATABLE READ the transaction's own would miss rows committed since.
void CaptureTable(Relation relation, const EndpointMap *endpoints) {
  const WatchedRelation *watched = LookUp(relation);
  if (watched->count == 0) return;
  QueueSink sink(*watched, outbox::kTruncate, *endpoints);
  ForEachRow(relation, [&](TupleTableSlot *row) {
    ExtractRow(*watched, row, &sink);
    sink.Finish();
    return true;
  });
}

}  // namespace

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_capture_truncate);

// capture_truncate(): BEFORE TRUNCATE statement trigger, on the watched table, its partitions and its children. Each takes
// care of its own rows: TRUNCATE fires the triggers of every table that it empties.
Datum imagekit_capture_truncate(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  auto *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
  if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
      !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("imagekit.capture_truncate() must be fired BEFORE TRUNCATE"),
                    errhint("Let imagekit.watch() create the trigger.")));
  Relation relation = trigger->tg_relation;
  OnTruncate on_truncate = LookUp(relation)->on_truncate;
  if (on_truncate == OnTruncate::kDeny)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("cannot truncate table \"%s\"", RelationGetRelationName(relation)),
                    errdetail("It is watched by imagekit_cleanup with on_truncate 'deny'."),
                    errhint("Use DELETE, or call imagekit.watch() with on_truncate => 'capture' or 'ignore'.")));
  if (on_truncate == OnTruncate::kIgnore || relation->rd_rel->relkind != RELKIND_RELATION) return Datum{0};
  const imagekit::EndpointMap *endpoints = imagekit::account::Endpoints();
  if (!endpoints->empty()) CaptureTable(relation, endpoints);
  return Datum{0};
}
}
