// What is dropped: which watched tables are gone, and triggers without which a table is not watched any more. They are
// said, and forgotten; so is what is known of the URLs in other tables.

#include "capture/ddl.h"
#include "capture/triggers.h"
#include "capture/watch_config.h"
#include "pg/attempt.h"
#include "pg/sql.h"

namespace imagekit::capture {

namespace {

constexpr char kDroppedTables[] =
    "WITH dropped AS (SELECT d.* FROM pg_catalog.pg_event_trigger_dropped_objects() d), "
    "tables AS (SELECT d.objid, d.object_identity, d.address_names FROM dropped d "
    "           WHERE d.object_type OPERATOR(pg_catalog.=) 'table'), "
    "numbers AS (DELETE FROM imagekit.watch_columns c USING tables t WHERE c.relation OPERATOR(pg_catalog.=) t.objid), "
    "forgotten AS (DELETE FROM imagekit.watch_config w USING tables t WHERE w.relation OPERATOR(pg_catalog.=) t.objid "
    "              RETURNING t.object_identity) "
    "SELECT f.object_identity FROM forgotten f "
    "UNION "  // partitions and children
    "SELECT t.object_identity FROM tables t "
    "JOIN dropped d ON d.object_type OPERATOR(pg_catalog.=) 'trigger' "
    "AND d.address_names[1:2] OPERATOR(pg_catalog.=) t.address_names "
    "AND d.address_names[3] OPERATOR(pg_catalog.=) 'imagekit_capture' "
    "WHERE NOT EXISTS (SELECT FROM forgotten) "
    "ORDER BY 1";

constexpr char kDroppedTriggers[] =
    "SELECT d.object_identity FROM pg_catalog.pg_event_trigger_dropped_objects() d "
    "WHERE d.object_type OPERATOR(pg_catalog.=) 'trigger' AND d.original "
    "AND d.address_names[3] OPERATOR(pg_catalog.=) ANY ('{imagekit_capture,imagekit_capture_truncate}')";

// Tables that are still there: DROP TYPE ... CASCADE drops a column, and with it the trigger that names the column.
constexpr char kBereftTables[] =
    "SELECT DISTINCT r.oid FROM pg_catalog.pg_event_trigger_dropped_objects() d "
    "JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) d.address_names[1] "
    "JOIN pg_catalog.pg_class r ON r.relnamespace OPERATOR(pg_catalog.=) n.oid "
    "AND r.relname OPERATOR(pg_catalog.=) d.address_names[2] "
    "WHERE d.object_type OPERATOR(pg_catalog.=) 'trigger' "
    "AND d.address_names[3] OPERATOR(pg_catalog.=) 'imagekit_capture'";

// Another table may come to have the number of one that is gone, and must be neither waived nor taken for searched.
constexpr char kForgetUrls[] =
    "WITH dropped AS (SELECT d.objid FROM pg_catalog.pg_event_trigger_dropped_objects() d "
    "                 WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "
    "                 AND d.objsubid OPERATOR(pg_catalog.=) 0), "
    "waivers AS (DELETE FROM imagekit.waivers w USING dropped d WHERE w.relation OPERATOR(pg_catalog.=) d.objid), "
    "searched AS (DELETE FROM imagekit.searched_tables s USING dropped d WHERE s.relation OPERATOR(pg_catalog.=) "
    "d.objid) "
    "DELETE FROM imagekit.url_columns u USING dropped d WHERE u.relation OPERATOR(pg_catalog.=) d.objid";

bool HasRows(const char *table) {
  Oid oid = pg::ExtensionTable(table);
  if (!OidIsValid(oid)) return false;
  Relation open = table_open(oid, AccessShareLock);
  SysScanDesc scan = systable_beginscan(open, InvalidOid, false, nullptr, 0, nullptr);
  bool any = HeapTupleIsValid(systable_getnext(scan));
  systable_endscan(scan);
  table_close(open, AccessShareLock);
  return any;
}

bool AnyUrlsKnown() { return HasRows("waivers") || HasRows("searched_tables"); }

void TellDroppedTriggers() {
  uint64 count = pg::RunSql(kDroppedTriggers, SPI_OK_SELECT);
  for (uint64 i = 0; i < count; i++)
    ereport(WARNING, (errmsg("trigger %s is gone", pg::FieldText(i, 1, CurrentMemoryContext)),
                      errdetail("Images that rows of this table stop using are not all queued any more."),
                      errhint("Call imagekit.watch() to make it anew, or imagekit.unwatch() to stop watching.")));
}

void TellDroppedTables() {
  uint64 count = pg::RunSql(kDroppedTables, SPI_OK_SELECT);
  for (uint64 i = 0; i < count; i++)
    ereport(NOTICE, (errmsg("watched table %s is dropped", pg::FieldText(i, 1, CurrentMemoryContext)),
                     errdetail("Images that its rows used at the end are not queued and stay at ImageKit."),
                     errhint("To have a table's images deleted, TRUNCATE it before DROP TABLE.")));
  // Which table a partition belonged to cannot be told any more.
  ListCell *cell;
  if (count > 0)
    foreach (cell, WatchedTables())
      if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_PARTITIONED_TABLE) ConcludeNothing(lfirst_oid(cell));
}

void MendBereftTables() {
  uint64 count = pg::RunSql(kBereftTables, SPI_OK_SELECT);
  Alteration alteration = {};
  for (uint64 i = 0; i < count; i++) {
    bool null;
    alteration.newcomers = lappend_oid(alteration.newcomers, DatumGetObjectId(pg::Field(i, 1, &null)));
  }
  ListCell *cell;
  foreach (cell, ConcernedTables(alteration)) FollowTable(lfirst_oid(cell), alteration);
}

void FollowDrop(void *argument) {
  bool of_a_trigger = *static_cast<bool *>(argument);
  pg::SqlSession session;
  pg::OpenSql(&session);
  if (of_a_trigger) {
    TellDroppedTriggers();
  } else {
    TellDroppedTables();
    MendBereftTables();
    if (AnyUrlsKnown()) (void)pg::RunSql(kForgetUrls, SPI_OK_DELETE);
  }
  pg::CloseSql(&session);
}

}  // namespace

}  // namespace imagekit::capture

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_after_drop);

// after_drop(): event trigger on sql_drop
Datum imagekit_after_drop(PG_FUNCTION_ARGS) {
  using namespace imagekit::capture;
  EventTriggerData *event = EventOf(fcinfo, "after_drop");
  if (ChangingTriggers() || !(AnySettings() || AnyUrlsKnown())) return Datum{0};
  bool of_a_trigger = strcmp(TagOf(event), "DROP TRIGGER") == 0;
  WarnNotFollowed(imagekit::pg::Attempt(FollowDrop, &of_a_trigger), event, InvalidOid);
  return Datum{0};
}
}
