// May this database send? What enable() has stored is compared with what is here.
//
//   the row is not there              a restored dump, or never armed
//   another system identifier         pg_upgrade, pg_createsubscriber
//   another database                  CREATE DATABASE ... TEMPLATE
//   another instance                  a base backup or copied files, started on the same timeline
//   another timeline                  a restore to a point in time; or a promoted standby, which goes on when it is known
//                                     to have streamed from the timeline that is armed (standby.h)
//
// A copy writes into its row that it is one. Otherwise a standby of the copy could not be told from one of the original,
// as both have streamed the same timeline.

#include "worker/arming.h"

#include "pg/sql.h"
#include "worker/instance.h"
#include "worker/standby.h"

namespace imagekit::worker {

namespace {

constexpr char kRead[] = "SELECT system_identifier, database, instance, timeline, revoked FROM imagekit.arming";

// Only the row that was judged: enable() may have come in between.
constexpr char kTakeOver[] =
    "UPDATE imagekit.arming SET instance = $5, timeline = $6 WHERE system_identifier OPERATOR(pg_catalog.=) $1 "
    "AND database OPERATOR(pg_catalog.=) $2 AND instance OPERATOR(pg_catalog.=) $3 "
    "AND timeline OPERATOR(pg_catalog.=) $4 AND revoked IS NULL";

constexpr char kRevoke[] =
    "UPDATE imagekit.arming SET revoked = $5 WHERE system_identifier OPERATOR(pg_catalog.=) $1 "
    "AND database OPERATOR(pg_catalog.=) $2 AND instance OPERATOR(pg_catalog.=) $3 "
    "AND timeline OPERATOR(pg_catalog.=) $4 AND revoked IS NULL";

enum class Standing {
  kUnarmed,
  kRevoked,        // found to be a copy before
  kOtherCluster,   // copies, found now
  kOtherDatabase,  //
  kOtherInstance,  //
  kOtherTimeline,  //
  kStandby,
  kUnknown,    // this instance cannot be told
  kSuccessor,  // armed, and this server has taken over
  kArmed,
};

// The row, as stored.
struct Row {
  int64 system;
  Oid database;
  char *instance;
  int64 timeline;
  char *revoked;
};

struct Judgement {
  Standing standing;
  Row row;
  const char *mark;     // of this instance
  TimeLineID timeline;  // of this server; 0 in recovery
  const char *problem;  // kUnknown
};

bool ReadRow(Row *row) {
  if (pg::RunSql(kRead, SPI_OK_SELECT) == 0) return false;
  bool null;
  row->system = DatumGetInt64(pg::Field(0, 1, &null));
  row->database = DatumGetObjectId(pg::Field(0, 2, &null));
  row->instance = pg::FieldText(0, 3, CurrentMemoryContext);
  row->timeline = DatumGetInt64(pg::Field(0, 4, &null));
  row->revoked = pg::FieldText(0, 5, CurrentMemoryContext);
  return true;
}

Standing StandingOf(Judgement *judgement) {
  const Row &row = judgement->row;
  if (row.revoked != nullptr) return Standing::kRevoked;
  if (static_cast<uint64>(row.system) != GetSystemIdentifier()) return Standing::kOtherCluster;
  if (row.database != MyDatabaseId) return Standing::kOtherDatabase;
  if (RecoveryInProgress()) return Standing::kStandby;
  judgement->timeline = GetWALInsertionTimeLine();
  judgement->mark = InstanceMark(&judgement->problem);
  if (judgement->mark == nullptr) return Standing::kUnknown;
  if (row.timeline == judgement->timeline)
    return strcmp(row.instance, judgement->mark) == 0 ? Standing::kArmed : Standing::kOtherInstance;
  bool successor = Succeeds(judgement->mark, static_cast<TimeLineID>(row.timeline), judgement->timeline);
  return successor ? Standing::kSuccessor : Standing::kOtherTimeline;
}

// Within an open SqlSession, whose memory goes when it is closed.
Judgement Judge() {
  Judgement judgement = {};
  judgement.standing = ReadRow(&judgement.row) ? StandingOf(&judgement) : Standing::kUnarmed;
  return judgement;
}

#define ONLY_IF "; call imagekit.enable() here only if this one is to delete images"

const char *Words(const Judgement &judgement) {
  switch (judgement.standing) {
    case Standing::kUnarmed:
      return "imagekit.enable() has not been called in this database";
    case Standing::kRevoked:
      return judgement.row.revoked;
    case Standing::kOtherCluster:
      return "this database is a copy: it was armed in another cluster, before pg_upgrade or the like" ONLY_IF;
    case Standing::kOtherDatabase:
      return "this database is a copy: it was made by CREATE DATABASE ... TEMPLATE from one that was armed" ONLY_IF;
    case Standing::kOtherInstance:
      return "this server is a copy: its data directory is not the one that was armed, but was copied, moved, or made "
             "by a "
             "base backup" ONLY_IF;
    case Standing::kOtherTimeline:
      return psprintf(
          "this server is a copy: it was restored from a backup, or promoted without having been seen to stream from "
          "the "
          "armed primary (timeline %u, armed on timeline " INT64_FORMAT ")" ONLY_IF,
          judgement.timeline, judgement.row.timeline);
    case Standing::kStandby:
      return "this server is a standby: nothing is sent before it is promoted";
    case Standing::kUnknown:
      return judgement.problem;
    case Standing::kSuccessor:
    case Standing::kArmed:
      return nullptr;
  }
  return "the arming cannot be judged";
}

#undef ONLY_IF

void TakeOver(const Judgement &judgement) {
  const Row &row = judgement.row;
  uint64 updated = pg::RunSql(kTakeOver, SPI_OK_UPDATE,
                              {{INT8OID, Int64GetDatum(row.system)},
                               {OIDOID, ObjectIdGetDatum(row.database)},
                               {TEXTOID, CStringGetTextDatum(row.instance)},
                               {INT8OID, Int64GetDatum(row.timeline)},
                               {TEXTOID, CStringGetTextDatum(judgement.mark)},
                               {INT8OID, Int64GetDatum(judgement.timeline)}});
  if (updated == 0) return;
  ereport(LOG, (errmsg("imagekit_cleanup has taken over database \"%s\" from the former primary",
                       get_database_name(MyDatabaseId)),
                errdetail("This server was its streaming standby and was promoted from timeline " INT64_FORMAT
                          " to %u. It deletes images from now on.",
                          row.timeline, judgement.timeline),
                errhint("If the former primary still runs, stop it: it does not know of the promotion.")));
}

void Revoke(const Judgement &judgement, const char *why) {
  const Row &row = judgement.row;
  uint64 updated = pg::RunSql(kRevoke, SPI_OK_UPDATE,
                              {{INT8OID, Int64GetDatum(row.system)},
                               {OIDOID, ObjectIdGetDatum(row.database)},
                               {TEXTOID, CStringGetTextDatum(row.instance)},
                               {INT8OID, Int64GetDatum(row.timeline)},
                               {TEXTOID, CStringGetTextDatum(why)}});
  if (updated == 0) return;
  ereport(LOG, (errmsg("imagekit_cleanup sends nothing from database \"%s\"", get_database_name(MyDatabaseId)),
                errdetail("%s.", why)));
}

const char *WhyDisarmed(bool settle) {
  MemoryContext caller = CurrentMemoryContext;
  pg::SqlSession session;
  pg::OpenSql(&session);
  Judgement judgement = Judge();
  const char *why = Words(judgement);
  if (settle) {
    switch (judgement.standing) {
      case Standing::kSuccessor:
        TakeOver(judgement);
        break;
      case Standing::kOtherCluster:
      case Standing::kOtherDatabase:
      case Standing::kOtherInstance:
      case Standing::kOtherTimeline:
        Revoke(judgement, why);
        break;
      default:
        break;
    }
  }
  if (why != nullptr) why = MemoryContextStrdup(caller, why);
  pg::CloseSql(&session);
  return why;
}

}  // namespace

const char *WhyDisarmed() { return WhyDisarmed(false); }

const char *SettleArming() { return WhyDisarmed(true); }

}  // namespace imagekit::worker
