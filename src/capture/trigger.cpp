// The row trigger: what fires when a watched row is deleted or updated.
//
//   DELETE   every URL of the old row, in each watched source
//   UPDATE   the URLs of the old row in columns that changed, minus all URLs of the new row
//
// Only URLs under a configured endpoint are queued; nothing that a row holds may make the statement fail.

#include "capture/difference.h"
#include "capture/queue_sink.h"
#include "capture/row.h"

namespace imagekit::capture {

namespace {

// Collects each URL of ours. The views point into values detoasted in the trigger's memory, which outlives the list.
struct ListSink : UrlSink {
  const EndpointMap *endpoints;
  UrlList list;
};

void TakeIntoList(UrlSink *self, std::string_view url, std::string_view file_id) {
  auto *sink = static_cast<ListSink *>(self);
  if (sink->endpoints->Owns(url)) Append(&sink->list, url, file_id);
}

ListSink NewListSink(const EndpointMap *endpoints) {
  ListSink sink = {};
  sink.take = TakeIntoList;
  sink.endpoints = endpoints;
  return sink;
}

void CaptureDelete(const WatchedRelation &watched, const TriggerData &trigger, const EndpointMap &endpoints) {
  // Moving a row to another partition deletes it here and inserts it there; the marked tuple is the only sign. Whether the
  // same UPDATE dropped an image cannot be seen here: the drain looks.
  // A foreign table's row has no such mark.
  bool moved = trigger.tg_relation->rd_rel->relkind != RELKIND_FOREIGN_TABLE &&
               HeapTupleHeaderIndicatesMovedPartitions(trigger.tg_trigtuple->t_data);
  QueueSink sink(watched, moved ? outbox::kMove : outbox::kDelete, endpoints);
  ExtractRow(watched, trigger.tg_trigslot, &sink);
  sink.Finish();
}

void CaptureUpdate(const WatchedRelation &watched, const TriggerData &trigger, const EndpointMap &endpoints) {
  if (SameRow(trigger.tg_trigtuple, trigger.tg_newtuple)) return;
  TupleTableSlot *before = trigger.tg_trigslot, *after = trigger.tg_newslot;
  ListSink old_urls = NewListSink(&endpoints);
  for (int i = 0; i < watched.count; i++)
    if (!SameBytes(watched.sources[i].column, before, after)) ExtractSource(watched.sources[i], before, &old_urls);
  if (old_urls.list.count == 0) return;

  // All of the new row, changed or not: an image may have moved from one column to another.
  ListSink new_urls = NewListSink(&endpoints);
  ExtractRow(watched, after, &new_urls);
  Subtract(&old_urls.list, new_urls.list, endpoints);
  Queue(watched, outbox::kUpdate, old_urls.list.items, old_urls.list.count);
}

}  // namespace

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_capture);

// capture(): AFTER DELETE OR UPDATE row trigger.
Datum imagekit_capture(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  auto *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
  if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
      !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
      !(TRIGGER_FIRED_BY_DELETE(trigger->tg_event) || TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)))
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("imagekit.capture() must be fired AFTER DELETE OR UPDATE FOR EACH ROW"),
                    errhint("Let imagekit.watch() create the trigger.")));

  Prefetch(trigger->tg_trigtuple);
  if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) Prefetch(trigger->tg_newtuple);
  const imagekit::EndpointMap *endpoints = imagekit::account::Endpoints();
  if (endpoints->empty()) return Datum{0};
  const WatchedRelation *watched = LookUp(trigger->tg_relation);
  if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
    CaptureDelete(*watched, *trigger, *endpoints);
  else
    CaptureUpdate(*watched, *trigger, *endpoints);
  return Datum{0};
}
}
