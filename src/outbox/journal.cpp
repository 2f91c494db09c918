// Straight into the heap: no executor, no index, no sequence, no privilege of the user's needed. That skips CHECK and
// NOT NULL, so the columns written here must be exactly those of sql/extension/20_queue.sql.

#include "outbox/journal.h"

#include "pg/sql.h"

namespace imagekit::outbox {

namespace {

enum Column {
  kCapturedAt,
  kWrittenAt,
  kGrace,
  kTransaction,
  kRelation,
  kRole,
  kFiles,
  kTotal,
  kOrigin,
  kPack,
  kColumns
};

constexpr Oid kTypes[kColumns] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INTERVALOID, XID8OID, OIDOID,
                                  OIDOID,         INT4OID,        INT4OID,     CHAROID, BYTEAOID};

// The library may be newer or older than the SQL objects; a tuple of the wrong shape would be worse than an error.
void CheckShape(Relation outbox) {
  TupleDesc columns = RelationGetDescr(outbox);
  bool good = columns->natts == kColumns;
  for (int i = 0; good && i < kColumns; i++)
    good = TupleDescAttr(columns, i)->atttypid == kTypes[i] && !TupleDescAttr(columns, i)->attisdropped;
  if (!good)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("table imagekit.outbox is not the one this library writes"),
                    errdetail("The library and the SQL objects of imagekit_cleanup are of different versions."),
                    errhint("Run ALTER EXTENSION imagekit_cleanup UPDATE.")));
}

}  // namespace

void HoldJournal() {
  Oid table = pg::ExtensionTable("outbox");
  if (OidIsValid(table)) LockRelationOid(table, RowExclusiveLock);
}

bool JournalWriter::Open() {
  Oid table = pg::ExtensionTable("outbox");
  if (!OidIsValid(table)) return false;
  outbox_ = table_open(table, RowExclusiveLock);
  CheckShape(outbox_);
  // At the commit no statement runs any more, and whatever may touch a TOAST table has to have a snapshot.
  own_snapshot_ = !ActiveSnapshotSet();
  if (own_snapshot_) PushActiveSnapshot(GetTransactionSnapshot());
  return true;
}

void JournalWriter::Write(const JournalEntry &entry) {
  Datum values[kColumns];
  bool nulls[kColumns] = {};
  auto *pack = static_cast<bytea *>(palloc(VARHDRSZ + entry.size));
  SET_VARSIZE(pack, VARHDRSZ + entry.size);
  memcpy(VARDATA(pack), entry.pack, entry.size);
  values[kCapturedAt] = TimestampTzGetDatum(entry.captured_at);
  values[kWrittenAt] = TimestampTzGetDatum(entry.written_at);
  values[kGrace] = PointerGetDatum(entry.grace);
  nulls[kGrace] = entry.grace == nullptr;
  values[kTransaction] = FullTransactionIdGetDatum(GetTopFullTransactionId());
  values[kRelation] = ObjectIdGetDatum(entry.relation);
  values[kRole] = ObjectIdGetDatum(entry.role);
  values[kFiles] = Int32GetDatum(entry.files);
  values[kTotal] = Int32GetDatum(entry.total);
  nulls[kTotal] = entry.total < 0;
  values[kOrigin] = CharGetDatum(entry.origin);
  values[kPack] = PointerGetDatum(pack);
  HeapTuple tuple = heap_form_tuple(RelationGetDescr(outbox_), values, nulls);
  simple_heap_insert(outbox_, tuple);
  heap_freetuple(tuple);
  pfree(pack);
}

void JournalWriter::Close() {
  if (own_snapshot_) PopActiveSnapshot();
  table_close(outbox_, NoLock);
}

}  // namespace imagekit::outbox
