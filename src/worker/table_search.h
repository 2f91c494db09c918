// All rows of a watched table that may hold certain URLs: by its index, or else by reading the table.
//
// In C++ and straight from the heap: SQL over a user's table would evaluate what its owner put into indexes and statistics
// with the extension owner's rights.
//
// A row version counts when it was there at any time since the search began, committed or not: what is not committed yet may
// be, a moment after the file has gone, and a row that is updated meanwhile must not be missed in both its places, the new
// one passed already and the old one dead when its turn comes. A snapshot taken before the first row says what "since" is,
// and keeps such versions from being vacuumed away.

#ifndef IMAGEKIT_WORKER_TABLE_SEARCH_H
#define IMAGEKIT_WORKER_TABLE_SEARCH_H

#include "capture/extract.h"
#include "pg/server.h"

namespace imagekit::worker {

/// What of the tables is looked at. To read a table as a whole takes long, and rows that are inserted meanwhile, there or elsewhere, must
/// not go unseen: so what has no index is read first, of this then only the pages that have changed since, and what an index
/// answers in no time comes last. Without that, kAll is one look at each table.
enum class Pass { kAll, kWhole, kChanged, kIndexed };

/// Takes the URLs of the rows it is shown. Where an index is used these are rows that hold any URL with one of `keys`, and
/// others beside them.
struct TableSearch : capture::UrlSink {
  Snapshot snapshot;  // taken before the first row of the first table is read
  Datum keys;         // int4[] of an index's keys; 0: every row is looked at
  Pass pass;
  bool by_index_only;  // kIndexed: leave out heaps that would have to be read as a whole
  List *read_whole;    // by kWhole

  // While a URL is taken: where it stands.
  Oid watched;    // the table that watch() was called for
  Relation heap;  // it, or one below it
  TupleTableSlot *row;
  bool uncommitted;  // the row may never have been there: another transaction has inserted it, and is not over
  const char *source;
};

/// Was a row version there at any time since the snapshot, or will it be if its transaction commits? `row` is one of a scan that
/// shows all. uncommitted: another transaction has inserted it, and is not over.
bool AliveSince(Snapshot snapshot, TupleTableSlot *row, bool *uncommitted);

/// The URLs' keys for TableSearch; 0 when one of the URLs has no key, so that an index would be of no use.
Datum KeysOfUrls(const char *const *urls, int count);

/// The error that kIndexed raises when it must be asked again a little later: a row is in the table and not in the index, as long as its
/// inserter waits for another transaction that has the same unique key.
constexpr int kAskAgain = ERRCODE_ACTIVE_SQL_TRANSACTION;

/// Shows the sink the rows of search->watched and of all below it. Raises an error when any of them cannot be read with
/// certainty, or is locked: this never waits for a lock, and keeps none. Tables that are not there or not watched any more
/// have no rows.
void SearchTable(TableSearch *search);

/// The row a URL is taken from, as people find it: its primary key, "42" or "(42,7)", or else where it lies ("ctid (0,1)").
char *RowKey(const TableSearch &where);

}  // namespace imagekit::worker

#endif  // IMAGEKIT_WORKER_TABLE_SEARCH_H
