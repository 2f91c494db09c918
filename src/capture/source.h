// Sources: which part of a row is watched.
//
//   source := path [ ":" column ]         url_column:file_id_column
//   path   := name ( "." name | "[*]" )*   column, column.key.key, column.list[*].key
//   name   := as in the catalog; in double quotes (doubled inside) when it holds . [ : or "

#ifndef IMAGEKIT_CAPTURE_SOURCE_H
#define IMAGEKIT_CAPTURE_SOURCE_H

#include "pg/server.h"

namespace imagekit::capture {

/// One step into a JSON document: a key, or (key NULL) every element of an array.
struct PathStep {
  char *key;
  int length;
};

struct SourcePath {
  int steps;
  PathStep *step;
};

/// A source as written. Plain memory in the context current when parsed.
struct Source {
  const char *text;
  char *column;
  SourcePath path;       // below the column
  char *file_id_column;  // NULL when none
};

/// How the URLs are found in a column's values. kUnsupported: capture finds none there.
enum class ColumnKind { kText, kTextArray, kJson, kJsonb, kUnsupported };
ColumnKind KindOfType(Oid type);

/// A source found in a table.
struct ResolvedSource {
  AttrNumber column;
  Oid type;
  ColumnKind kind;
  SourcePath path;
  AttrNumber file_id_column;  // 0 when none
};

/// Raises 42601 with the place that cannot be read.
Source ParseSource(const char *text);
/// "key.list[*].key": a path without a column, as imagekit.urls_in() takes it; "" is the whole value.
SourcePath ParsePath(const char *text);
/// The reverse of ParsePath and ParseSource.
char *FormatPath(const SourcePath &path);
char *FormatSource(const Source &source);

/// Looks the source up in a table's columns, to capture from it. What is wrong is raised at `level`: ERROR when watch() is
/// called, WARNING when the table has changed since; then false.
bool ResolveSource(const Source &source, Relation relation, int level, ResolvedSource *resolved);

/// The same to look for uses in it. In doubt more is searched: all of a text that once was a JSON document with a path, and
/// (kUnsupported) values of other types as they are printed. False when there is no such column.
bool ResolveForSearch(const Source &source, Relation relation, ResolvedSource *resolved);

}  // namespace imagekit::capture

#endif  // IMAGEKIT_CAPTURE_SOURCE_H
