// SQL from C++: one way to open it, so that every statement runs with the extension owner's rights, a pinned
// search_path and qualified names, whoever called.
//
// Nothing here has a destructor: after an error the transaction's abort restores user and settings and closes SPI.

#ifndef IMAGEKIT_PG_SQL_H
#define IMAGEKIT_PG_SQL_H

#include "pg/server.h"

namespace imagekit::pg {

struct SqlSession {
  Oid saved_role;
  int saved_context;
  int settings_level;
};

/// Connects SPI, becomes the extension's owner, pins search_path to pg_catalog. Needs a transaction.
void OpenSql(SqlSession *session);
/// Until CloseSql(), values are written as text the same way whoever calls, and any session reads them back as they were.
void WriteAlike();
/// Until CloseSql(), statements start no parallel workers and compile nothing: for short ones, to which either costs more than it saves.
void PlanForLittle();
/// The same for all that this process will ever run. Outside of a transaction.
void AlwaysPlanForLittle();
/// Undoes all of it.
void CloseSql(SqlSession *session);

/// One parameter of a statement.
struct Param {
  Oid type;
  Datum value;
  bool null = false;
};

/// Runs a statement, fails unless it ends with `expected` (SPI_OK_...). Returns the row count; rows are in SPI_tuptable.
uint64 RunSql(const char *sql, int expected, const Param *params = nullptr, int count = 0, long limit = 0);

template <int kCount>
uint64 RunSql(const char *sql, int expected, const Param (&params)[kCount], long limit = 0) {
  return RunSql(sql, expected, params, kCount, limit);
}

/// Column `column` (1 and up) of row `row` of SPI_tuptable.
Datum Field(uint64 row, int column, bool *null);
/// The same as text in `context`, NULL for NULL.
char *FieldText(uint64 row, int column, MemoryContext context);

/// Role that owns the extension.
Oid ExtensionOwner();
/// True when CREATE EXTENSION has been run in this database (and is not just running or being undone); it will not be
/// dropped before the transaction ends. DROP EXTENSION takes this lock first of all: a transaction that begins with it meets
/// no deadlock over the extension's tables.
bool HoldExtension();
/// Table of schema imagekit; InvalidOid when there is none.
Oid ExtensionTable(const char *name);

/// text[] of C strings; NULL pointers become NULL elements.
Datum TextArray(const char *const *texts, int count);

/// smallint[].
Datum Int2Array(Datum *numbers, int count);

/// A growing array of one type, for unnest(). Start with {type, nullptr}.
struct Column {
  Oid type;
  ArrayBuildState *values;
};
void Add(Column *column, Datum value, bool null = false);
/// NULL for NULL.
void AddText(Column *column, const char *text);
/// As a statement's parameter.
Param AsParam(const Column &column, Oid array_type);

}  // namespace imagekit::pg

#endif  // IMAGEKIT_PG_SQL_H
