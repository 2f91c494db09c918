// The row trigger: what fires when a watched row is deleted or updated.
//
//   DELETE   every URL of the old row, in each watched source
//   UPDATE   the URLs of the old row in columns that changed, minus all URLs of the new row
//
// Only URLs under a configured endpoint are queued; nothing that a row holds may make the statement fail.

#include "capture/difference.h"
#include "capture/queue_sink.h"

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

void ExtractSource(const ResolvedSource &source, HeapTuple row, TupleDesc columns, UrlSink *sink) {
  bool null;
  Datum value = heap_getattr(row, source.column, columns, &null);
  if (null) return;
  std::string_view file_id;
  if (source.file_id_column != 0) {
    Datum id = heap_getattr(row, source.file_id_column, columns, &null);
    if (!null) {
      text *id_text = DatumGetTextPP(id);
      file_id = {VARDATA_ANY(id_text), static_cast<size_t>(VARSIZE_ANY_EXHDR(id_text))};
    }
  }
  ExtractUrls(value, source.kind, source.path, file_id, sink);
}

// By the stored bytes, before anything is detoasted: an UPDATE that leaves a TOASTed value alone keeps its pointer.
bool SameBytes(const ResolvedSource &source, HeapTuple before, HeapTuple after, TupleDesc columns) {
  bool null_before, null_after;
  Datum old_value = heap_getattr(before, source.column, columns, &null_before);
  Datum new_value = heap_getattr(after, source.column, columns, &null_after);
  if (null_before || null_after) return null_before == null_after;
  auto *old_bytes = reinterpret_cast<struct varlena *>(DatumGetPointer(old_value));
  auto *new_bytes = reinterpret_cast<struct varlena *>(DatumGetPointer(new_value));
  return VARSIZE_ANY(old_bytes) == VARSIZE_ANY(new_bytes) && memcmp(old_bytes, new_bytes, VARSIZE_ANY(old_bytes)) == 0;
}

// The statement has read the row long ago, and a bulk DELETE has read much since: its bytes are on their way while the
// settings are looked at.
void Prefetch(HeapTuple row) {
  constexpr uint32 kLine = 64, kMost = 1024;
  const char *bytes = reinterpret_cast<const char *>(row->t_data);
  for (uint32 at = 0; at < Min(row->t_len, kMost); at += kLine) __builtin_prefetch(bytes + at);
}

void CaptureDelete(const WatchedRelation &watched, HeapTuple row, TupleDesc columns, const EndpointMap *endpoints) {
  // Moving a row to another partition deletes it here and inserts it there; the marked tuple is the only sign. Whether the
  // same UPDATE dropped an image cannot be seen here: the drain looks.
  bool moved = HeapTupleHeaderIndicatesMovedPartitions(row->t_data);
  QueueSink sink(watched, moved ? outbox::kMove : outbox::kDelete, *endpoints);
  for (int i = 0; i < watched.count; i++) ExtractSource(watched.sources[i], row, columns, &sink);
  sink.Finish();
}

void CaptureUpdate(const WatchedRelation &watched, HeapTuple before, HeapTuple after, TupleDesc columns,
                   const EndpointMap *endpoints) {
  ListSink old_urls = NewListSink(endpoints);
  for (int i = 0; i < watched.count; i++)
    if (!SameBytes(watched.sources[i], before, after, columns))
      ExtractSource(watched.sources[i], before, columns, &old_urls);
  if (old_urls.list.count == 0) return;

  // All of the new row, changed or not: an image may have moved from one column to another.
  ListSink new_urls = NewListSink(endpoints);
  for (int i = 0; i < watched.count; i++) ExtractSource(watched.sources[i], after, columns, &new_urls);
  Subtract(&old_urls.list, new_urls.list, *endpoints);
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
  TupleDesc columns = RelationGetDescr(trigger->tg_relation);
  if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
    CaptureDelete(*watched, trigger->tg_trigtuple, columns, endpoints);
  else
    CaptureUpdate(*watched, trigger->tg_trigtuple, trigger->tg_newtuple, columns, endpoints);
  return Datum{0};
}
}
