// The index that answers "which rows hold a URL with this key?", for the check that a file is not used any more.
//
// A GIN index over the watched columns themselves, with operator classes of ours (url_*_ops): its keys are the hashed URL
// keys (core/url.h) of all URLs in a value, whatever accounts are configured. Different files may share a key and a JSON
// document is indexed as a whole, so a row that is found is looked at again. A value that cannot be searched has a key of
// its own.
//
// Operator classes and no expression: nobody who writes rows needs a privilege on a function of ours.

#ifndef IMAGEKIT_CAPTURE_REFERENCE_INDEX_H
#define IMAGEKIT_CAPTURE_REFERENCE_INDEX_H

#include <string_view>

#include "capture/watch_config.h"

namespace imagekit::capture {

/// The index's key of a URL; kNoKey when it names no file.
int32 IndexKey(std::string_view url);
constexpr int32 kNoKey = 0;
/// That of a value that cannot be searched.
constexpr int32 kUnreadableKey = 1;

/// An index of a heap's that can be asked for each of `columns`, and by which of its own columns.
struct ReferenceIndex {
  Oid index;            // InvalidOid: there is none that is complete
  AttrNumber *columns;  // of the index; one for each of the heap's columns asked about
};

/// Takes no lock: the caller has one on the heap.
ReferenceIndex FindReferenceIndex(Relation heap, const ResolvedSource *sources, int count);

/// Makes the indexes that are missing below a watched table, where that takes a moment only, and drops those of former
/// sources. The statements for the others, a line each; NULL when none is missing any more.
char *MakeReferenceIndexes(const Watch &watch);

/// Drops our indexes of a table and all below it; true when there were any.
bool DropReferenceIndexes(Oid relation);

/// The statements that would make what is missing, a line each; NULL when nothing is.
char *MissingReferenceIndexes(const Watch &watch);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_REFERENCE_INDEX_H
