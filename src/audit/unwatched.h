// URLs in columns that are not watched: a use of a file that no check knows of.

#ifndef IMAGEKIT_AUDIT_UNWATCHED_H
#define IMAGEKIT_AUDIT_UNWATCHED_H

#include "core/column_search.h"
#include "pg/server.h"

namespace imagekit::audit {

/// Can a URL stand in what is printed of a value? Yes for all types but those that are known to print none: numbers, dates and
/// the like, uuid, bytea. What a type consists of decides for arrays, domains, ranges and composites.
bool MayHoldUrls(Oid type);

/// One column of a table that is searched.
struct SearchedColumn {
  AttrNumber number;
  Datum sources;         // text[]: what was watched of it; 0: nothing
  ColumnSearch *search;  // NULL: its values are computed when they are read, so there are none to search
};

/// What came of one table. Plain memory in the context current when it was searched, and objects that belong to it.
struct TableResult {
  int count;
  SearchedColumn *columns;
  int64 rows;     // row versions that are there, or will be if their transaction commits
  bool all;       // every page was read
  char *problem;  // why it was not searched, or not to its end; NULL: it was
};

/// The files that the last audits call orphaned, and no option protects: values are compared with their paths and fileIds as
/// well. Read once for all calls of `function` in a statement. NULL: there are none.
const FileNames *OrphansFor(FmgrInfo *function);

/// Read once for all statements as long as the context lives. Needs an open SqlSession.
void KeepOrphans(MemoryContext context);

/// Reads a table, or about `pages` pages spread over it (negative: all), for all columns that may hold URLs. Never waits long
/// for a lock, and keeps none. Raises only a cancel; whatever else goes wrong is the result's problem.
void SearchRelation(Oid relation, int64 pages, const FileNames *orphans, TableResult *result);

/// Says in a NOTICE how many pages of a relation, or (NULL) how many tables have been read, when the last one was long ago.
void TellProgress(const char *relation, int64 done, int64 all);

}  // namespace imagekit::audit

#endif  // IMAGEKIT_AUDIT_UNWATCHED_H
