// imagekit.waive() and unwaive(): whoever owns a table says that what a column holds is no use of a file.
//
// The caller must own the table and all below it, as for imagekit.watch(); the waiver is then written with the extension owner's
// rights.

#include "pg/sql.h"

namespace imagekit::audit {

namespace {

// $1 relation, $2 column or NULL, $3 reason, $4 role, $5 the column's number
constexpr char kWaive[] =
    "INSERT INTO imagekit.waivers (relation, \"column\", reason, waived_by, number, numbered_for) "
    "VALUES ($1::pg_catalog.regclass, $2::pg_catalog.name, $3, pg_catalog.pg_get_userbyid($4), $5, $1) "
    "ON CONFLICT (relation, \"column\") DO UPDATE SET reason = excluded.reason, waived_by = excluded.waived_by, "
    "waived_at = excluded.waived_at, number = excluded.number, numbered_for = excluded.numbered_for";

constexpr char kUnwaive[] =
    "DELETE FROM imagekit.waivers WHERE relation OPERATOR(pg_catalog.=) $1::pg_catalog.regclass "
    "AND \"column\" IS NOT DISTINCT FROM $2::pg_catalog.name";

bool CanBeSearched(Relation relation) {
  return relation->rd_rel->relkind != RELKIND_FOREIGN_TABLE &&
         (relation->rd_tableam == nullptr || relation->rd_tableam == GetHeapamTableAmRoutine());
}

void RequireOwner(Oid relation) {
  ListCell *cell;
  foreach (cell, find_all_inheritors(relation, AccessShareLock, nullptr))
    if (!pg::OwnsRelation(lfirst_oid(cell), GetUserId()))
      aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(lfirst_oid(cell))),
                     get_rel_name(lfirst_oid(cell)));
}

Relation OpenOwn(Oid oid) {
  Relation relation = try_relation_open(oid, AccessShareLock);
  if (relation == nullptr)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table with oid %u does not exist", oid)));
  char kind = relation->rd_rel->relkind;
  if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_MATVIEW &&
      kind != RELKIND_FOREIGN_TABLE)
    ereport(ERROR,
            (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a table", RelationGetRelationName(relation)),
             errhint("Name the table that holds the rows.")));
  RequireOwner(oid);
  // A dump could not carry it.
  if (relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("temporary table \"%s\" cannot be waived", RelationGetRelationName(relation)),
                    errdetail("It is gone with its session, and keeps nobody from anything.")));
  return relation;
}

AttrNumber NumberOf(Relation relation, const char *column) {
  AttrNumber number = get_attnum(RelationGetRelid(relation), column);
  if (number <= 0)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("column \"%s\" of table \"%s\" does not exist", column, RelationGetRelationName(relation)),
                    errhint("Write the name as in the catalog, case and all.")));
  return number;
}

}  // namespace

}  // namespace imagekit::audit

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_waive);
IMAGEKIT_SQL_FUNCTION(imagekit_unwaive);

// waive(relation regclass, "column" name, reason text) -> void
Datum imagekit_waive(PG_FUNCTION_ARGS) {
  using namespace imagekit::audit;
  namespace pg = imagekit::pg;
  if (PG_ARGISNULL(0))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("relation must not be NULL"),
                    errhint("Name the table that holds the rows.")));
  char *reason = PG_ARGISNULL(2) ? pstrdup("") : text_to_cstring(PG_GETARG_TEXT_PP(2));
  if (reason[strspn(reason, " \t\r\n.?!-")] == '\0')
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no reason is given"),
                    errdetail("Files that only this column uses will look like orphans, and be deleted as such."),
                    errhint("Say why they are not needed, for whoever asks later.")));
  Oid oid = PG_GETARG_OID(0);
  Relation relation = OpenOwn(oid);
  AttrNumber number = PG_ARGISNULL(1) ? InvalidAttrNumber : NumberOf(relation, NameStr(*PG_GETARG_NAME(1)));
  if (PG_ARGISNULL(1) && CanBeSearched(relation))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("table \"%s\" cannot be waived as a whole", RelationGetRelationName(relation)),
                    errdetail("It can be searched, and columns that come later would be waived unseen."),
                    errhint("Name the column.")));
  relation_close(relation, NoLock);
  pg::SqlSession session;
  pg::OpenSql(&session);
  (void)pg::RunSql(kWaive, SPI_OK_INSERT,
                   {{OIDOID, ObjectIdGetDatum(oid)},
                    {NAMEOID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)},
                    {TEXTOID, CStringGetTextDatum(reason)},
                    {OIDOID, ObjectIdGetDatum(session.saved_role)},
                    {INT2OID, Int16GetDatum(number), PG_ARGISNULL(1)}});
  pg::CloseSql(&session);
  PG_RETURN_VOID();
}

// unwaive(relation regclass, "column" name) -> boolean
Datum imagekit_unwaive(PG_FUNCTION_ARGS) {
  using namespace imagekit::audit;
  namespace pg = imagekit::pg;
  if (PG_ARGISNULL(0)) PG_RETURN_NULL();
  Oid oid = PG_GETARG_OID(0);
  relation_close(OpenOwn(oid), NoLock);
  pg::SqlSession session;
  pg::OpenSql(&session);
  bool waived = pg::RunSql(kUnwaive, SPI_OK_DELETE,
                           {{OIDOID, ObjectIdGetDatum(oid)}, {NAMEOID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)}}) > 0;
  pg::CloseSql(&session);
  PG_RETURN_BOOL(waived);
}
}
