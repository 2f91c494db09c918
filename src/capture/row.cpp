// Reads rows through their slots, which find each column once.

#include "capture/row.h"

namespace imagekit::capture {

void ExtractSource(const ResolvedSource &source, TupleTableSlot *row, UrlSink *sink) {
  bool null;
  Datum value = slot_getattr(row, source.column, &null);
  if (null) return;
  std::string_view file_id;
  if (source.file_id_column != 0) {
    Datum id = slot_getattr(row, source.file_id_column, &null);
    if (!null) {
      text *id_text = DatumGetTextPP(id);
      file_id = {VARDATA_ANY(id_text), static_cast<size_t>(VARSIZE_ANY_EXHDR(id_text))};
    }
  }
  ExtractUrls(value, source.kind, source.path, file_id, sink);
}

void ExtractRow(const WatchedRelation &watched, TupleTableSlot *row, UrlSink *sink) {
  for (int i = 0; i < watched.count; i++) ExtractSource(watched.sources[i], row, sink);
}

bool SameBytes(AttrNumber column, TupleTableSlot *before, TupleTableSlot *after) {
  bool null_before, null_after;
  Datum old_value = slot_getattr(before, column, &null_before);
  Datum new_value = slot_getattr(after, column, &null_after);
  if (null_before || null_after) return null_before == null_after;
  // Of any type: one that was given to the column while the event triggers were off is noticed only here.
  Form_pg_attribute attribute = TupleDescAttr(after->tts_tupleDescriptor, column - 1);
  return datumIsEqual(old_value, new_value, attribute->attbyval, attribute->attlen);
}

bool SameRow(HeapTuple before, HeapTuple after) {
  HeapTupleHeader a = before->t_data;
  HeapTupleHeader b = after->t_data;
  // The bytes behind the fixed header: the bitmap of NULLs, padding (zero), and the values.
  return before->t_len == after->t_len && a->t_hoff == b->t_hoff &&
         HeapTupleHeaderGetNatts(a) == HeapTupleHeaderGetNatts(b) &&
         ((a->t_infomask ^ b->t_infomask) & HEAP_HASNULL) == 0 &&
         memcmp(a->t_bits, b->t_bits, before->t_len - SizeofHeapTupleHeader) == 0;
}

void Prefetch(HeapTuple row) {
  constexpr uint32 kLine = 64, kMost = 1024;
  const char *bytes = reinterpret_cast<const char *>(row->t_data);
  for (uint32 at = 0; at < Min(row->t_len, kMost); at += kLine) __builtin_prefetch(bytes + at);
}

}  // namespace imagekit::capture
