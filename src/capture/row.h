// A row and its sources: what it holds, and what of it an UPDATE has left alone.

#ifndef IMAGEKIT_CAPTURE_ROW_H
#define IMAGEKIT_CAPTURE_ROW_H

#include "capture/extract.h"
#include "capture/watched_relation.h"

namespace imagekit::capture {

/// All URLs in one source, or in all, of a row. Values are detoasted in the current memory context, and the views that the
/// sink gets point there or into the row.
void ExtractSource(const ResolvedSource &source, TupleTableSlot *row, UrlSink *sink);
void ExtractRow(const WatchedRelation &watched, TupleTableSlot *row, UrlSink *sink);

/// Is a column stored as it was? By the bytes, before anything is detoasted: an UPDATE that leaves a TOASTed value alone
/// keeps its pointer. Values that are equal but stored in another way are not the same.
bool SameBytes(AttrNumber column, TupleTableSlot *before, TupleTableSlot *after);

/// Is the whole row stored as it was? Soon said for the UPDATE of an application that writes back what it has read.
bool SameRow(HeapTuple before, HeapTuple after);

/// A bulk statement has read the row long ago, and much since: its bytes are on their way while other things are seen to.
void Prefetch(HeapTuple row);

/// Calls `take(row)` for each row of a heap that is there now, whatever the transaction's own snapshot shows, until it
/// returns false. The current memory context is emptied after each row.
template <typename Take>
void ForEachRow(Relation heap, Take take) {
  MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "imagekit row", ALLOCSET_DEFAULT_SIZES);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  TupleTableSlot *row = table_slot_create(heap, nullptr);
  TableScanDesc scan = pg::BeginScan(heap, snapshot);
  for (bool more = true; more && table_scan_getnextslot(scan, ForwardScanDirection, row);) {
    CHECK_FOR_INTERRUPTS();
    MemoryContext before = MemoryContextSwitchTo(row_context);
    more = take(row);
    MemoryContextSwitchTo(before);
    MemoryContextReset(row_context);
  }
  table_endscan(scan);
  ExecDropSingleTupleTableSlot(row);
  UnregisterSnapshot(snapshot);
  MemoryContextDelete(row_context);
}

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_ROW_H
