// The PostgreSQL server, as the outer rings see it: every server header in one place, and every difference between
// PostgreSQL 15, 16, 17, 18 and 19 as well. No other file asks for a version.
//
// Include C++ and core headers first, this file after them: the server's macros (likely, Max, _, ...) must not reach
// the standard library.

#ifndef IMAGEKIT_PG_SERVER_H
#define IMAGEKIT_PG_SERVER_H

// The library is built with -fvisibility=hidden; what the server looks up by name must stay visible. Before 16 the
// server's own headers leave this macro empty.
#ifndef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

extern "C" {
#include <postgres.h>

#include <access/genam.h>
#include <access/gin.h>
#include <access/heapam.h>
#include <access/htup_details.h>
#include <access/parallel.h>
#include <access/reloptions.h>
#include <access/table.h>
#include <access/tableam.h>
#include <access/timeline.h>
#include <access/xact.h>
#include <access/xlog.h>
#include <access/xlog_internal.h>
#include <catalog/catalog.h>
#include <catalog/dependency.h>
#include <catalog/indexing.h>
#include <catalog/namespace.h>
#include <catalog/objectaccess.h>
#include <catalog/partition.h>
#include <catalog/pg_am.h>
#include <catalog/pg_authid.h>
#include <catalog/pg_class.h>
#include <catalog/pg_collation.h>
#include <catalog/pg_database.h>
#include <catalog/pg_extension.h>
#include <catalog/pg_foreign_data_wrapper.h>
#include <catalog/pg_foreign_server.h>
#include <catalog/pg_index.h>
#include <catalog/pg_inherits.h>
#include <catalog/pg_language.h>
#include <catalog/pg_proc.h>
#include <catalog/pg_trigger.h>
#include <catalog/pg_type.h>
#include <catalog/pg_user_mapping.h>
#include <commands/dbcommands.h>
#include <commands/defrem.h>
#include <commands/event_trigger.h>
#include <commands/extension.h>
#include <commands/trigger.h>
#include <common/hashfn.h>
#include <common/jsonapi.h>
#include <common/pg_prng.h>
#include <executor/executor.h>
#include <executor/spi.h>
#include <executor/tuptable.h>
#include <fmgr.h>
#include <foreign/foreign.h>
#include <funcapi.h>
#include <lib/stringinfo.h>
#include <mb/pg_wchar.h>
#include <miscadmin.h>
#include <nodes/makefuncs.h>
#include <nodes/parsenodes.h>
#include <nodes/tidbitmap.h>
#include <parser/parse_func.h>
#include <pgstat.h>
#include <port/atomics.h>
#include <postmaster/bgworker.h>
#include <postmaster/interrupt.h>
#include <replication/walreceiver.h>
#include <storage/bufmgr.h>
#include <storage/fd.h>
#include <storage/ipc.h>
#include <storage/latch.h>
#include <storage/lmgr.h>
#include <storage/lock.h>
#include <storage/lwlock.h>
#include <storage/proc.h>
#include <storage/procarray.h>
#include <storage/shmem.h>
#include <storage/sinvaladt.h>
#include <storage/spin.h>
#include <tcop/cmdtag.h>
#include <tcop/pquery.h>
#include <tcop/tcopprot.h>
#include <tcop/utility.h>
#include <utils/acl.h>
#include <utils/array.h>
#include <utils/builtins.h>
#include <utils/datum.h>
#include <utils/fmgroids.h>
#include <utils/fmgrprotos.h>
#include <utils/guc.h>
#include <utils/hsearch.h>
#include <utils/inval.h>
#include <utils/jsonb.h>
#include <utils/lsyscache.h>
#include <utils/memutils.h>
#include <utils/ps_status.h>
#include <utils/rel.h>
#include <utils/ruleutils.h>
#include <utils/snapmgr.h>
#include <utils/syscache.h>
#include <utils/timestamp.h>
#include <utils/tuplestore.h>
#include <utils/typcache.h>
#include <utils/uuid.h>
#include <utils/varlena.h>
#include <utils/wait_event.h>
#include <utils/xid8.h>
}

#if PG_VERSION_NUM < 150000
#error "imagekit_cleanup needs PostgreSQL 15 or newer"
#endif

// libintl's macros of these names would rewrite members of C++ classes.
#undef gettext
#undef dgettext
#undef ngettext
#undef dngettext
#undef printf
#undef fprintf
#undef snprintf
#undef sprintf
#undef vsnprintf
#undef vsprintf
#undef vprintf
#undef vfprintf
#undef strerror
#undef strerror_r

namespace imagekit::pg {

// --- JSON ------------------------------------------------------------------------------------------------------------
// Since 16 the callbacks of the JSON parser return a result; since 17 the caller may own the lexer.

#if PG_VERSION_NUM >= 160000
using JsonCallbackResult = JsonParseErrorType;
#define IMAGEKIT_JSON_CALLBACK_RETURN return JSON_SUCCESS
#else
using JsonCallbackResult = void;
#define IMAGEKIT_JSON_CALLBACK_RETURN return
#endif

inline JsonLexContext *MakeJsonLexer(char *json, int length) {
#if PG_VERSION_NUM >= 170000
  return makeJsonLexContextCstringLen(nullptr, json, static_cast<size_t>(length), GetDatabaseEncoding(), true);
#else
  return makeJsonLexContextCstringLen(json, length, GetDatabaseEncoding(), true);
#endif
}

// --- Waiting ---------------------------------------------------------------------------------------------------------
// Since 17 a wait set belongs to a resource owner instead of a memory context, and wait events have names of their own.

inline WaitEventSet *MakeWaitEventSet(int events) {
#if PG_VERSION_NUM >= 170000
  return CreateWaitEventSet(nullptr, events);
#else
  return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

inline uint32 WaitEventFor([[maybe_unused]] const char *name) {
#if PG_VERSION_NUM >= 170000
  return WaitEventExtensionNew(name);
#else
  return PG_WAIT_EXTENSION;
#endif
}

// --- Catalog caches --------------------------------------------------------------------------------------------------

#if PG_VERSION_NUM >= 190000
using SyscacheId = SysCacheIdentifier;
#else
using SyscacheId = int;
#endif

// --- Tables ----------------------------------------------------------------------------------------------------------

inline TableScanDesc BeginScan(Relation relation, Snapshot snapshot) {
#if PG_VERSION_NUM >= 190000
  return table_beginscan(relation, snapshot, 0, nullptr, SO_NONE);
#else
  return table_beginscan(relation, snapshot, 0, nullptr);
#endif
}

inline IndexFetchTableData *BeginIndexFetch(Relation relation) {
#if PG_VERSION_NUM >= 190000
  return table_index_fetch_begin(relation, SO_NONE);
#else
  return table_index_fetch_begin(relation);
#endif
}

// --- Other backends --------------------------------------------------------------------------------------------------

/// NULL for one that has ended, and for a prepared transaction, which keeps the number of the process that has prepared it.
inline PGPROC *ProcOf(const VirtualTransactionId &transaction) {
#if PG_VERSION_NUM >= 170000
  if (transaction.procNumber == INVALID_PROC_NUMBER) return nullptr;
  PGPROC *process = ProcNumberGetProc(transaction.procNumber);
  const bool its = process != nullptr && process->vxid.lxid == transaction.localTransactionId;
#else
  if (transaction.backendId == InvalidBackendId) return nullptr;
  PGPROC *process = BackendIdGetProc(transaction.backendId);
  const bool its = process != nullptr && process->lxid == transaction.localTransactionId;
#endif
  return its ? process : nullptr;
}

// --- Bitmaps of an index ---------------------------------------------------------------------------------------------

inline IndexScanDesc BeginBitmapScan(Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 180000
  return index_beginscan_bitmap(index, snapshot, nullptr, keys);
#else
  return index_beginscan_bitmap(index, snapshot, keys);
#endif
}

/// Calls `take(block, offsets, count)` for each page of a bitmap; count is -1 where any row of the page may be meant.
template <typename Take>
void ForEachPage(TIDBitmap *bitmap, Take take) {
#if PG_VERSION_NUM >= 180000
  TBMPrivateIterator *pages = tbm_begin_private_iterate(bitmap);
  TBMIterateResult page;
  while (tbm_private_iterate(pages, &page)) {
    OffsetNumber offsets[TBM_MAX_TUPLES_PER_PAGE];
    take(page.blockno, offsets, page.lossy ? -1 : tbm_extract_page_tuple(&page, offsets, TBM_MAX_TUPLES_PER_PAGE));
  }
  tbm_end_private_iterate(pages);
#else
  TBMIterator *pages = tbm_begin_iterate(bitmap);
  while (TBMIterateResult *page = tbm_iterate(pages)) take(page->blockno, page->offsets, page->ntuples);
  tbm_end_iterate(pages);
#endif
}

// --- Background workers ----------------------------------------------------------------------------------------------
// Since 19 the server stops such workers itself for DROP DATABASE, RENAME, SET TABLESPACE and CREATE DATABASE ... TEMPLATE.

#if PG_VERSION_NUM >= 190000
constexpr int kWorkerInterruptible = BGWORKER_INTERRUPTIBLE;
#else
constexpr int kWorkerInterruptible = 0;
#endif

// --- Limits ----------------------------------------------------------------------------------------------------------
// Since 17 a transaction's time may be limited.

constexpr bool kHasTransactionTimeout = PG_VERSION_NUM >= 170000;

// --- Signals ---------------------------------------------------------------------------------------------------------
// Since 19 handlers take a second argument, and SIG_IGN is none.

inline void IgnoreSignal(int number) {
#ifdef PG_SIG_IGN
  pqsignal(number, PG_SIG_IGN);
#else
  pqsignal(number, SIG_IGN);
#endif
}

// --- Recovery --------------------------------------------------------------------------------------------------------

/// The timeline this standby is receiving from a primary at this moment; 0 when it is not. WalRcvStreaming() is no answer:
/// it is true while a connection is only being tried, and then nobody has said that there is such a primary.
inline TimeLineID StreamedTimeline() {
  SpinLockAcquire(&WalRcv->mutex);
  bool streaming =
      WalRcv->walRcvState == WALRCV_STREAMING && WalRcv->ready_to_display && WalRcv->latestWalEnd != InvalidXLogRecPtr;
  TimeLineID timeline = streaming ? WalRcv->receivedTLI : 0;
  SpinLockRelease(&WalRcv->mutex);
  return timeline;
}

// --- Privileges ------------------------------------------------------------------------------------------------------

inline bool OwnsRelation(Oid relation, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(RelationRelationId, relation, role);
#else
  return pg_class_ownercheck(relation, role);
#endif
}

inline bool OwnsDatabase(Oid database, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(DatabaseRelationId, database, role);
#else
  return pg_database_ownercheck(database, role);
#endif
}

// --- Attributes ------------------------------------------------------------------------------------------------------

inline bool IsVirtualColumn([[maybe_unused]] Form_pg_attribute attribute) {
#if PG_VERSION_NUM >= 180000
  return attribute->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
#else
  return false;
#endif
}

}  // namespace imagekit::pg

// --- SQL functions ---------------------------------------------------------------------------------------------------
// Since 16 PG_FUNCTION_INFO_V1 makes the function visible; before, only its record.

#define IMAGEKIT_SQL_FUNCTION(name)         \
  PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
  PG_FUNCTION_INFO_V1(name)

// --- The module's magic block ----------------------------------------------------------------------------------------

#if PG_VERSION_NUM >= 180000
#define IMAGEKIT_MODULE_MAGIC(module_version)                                 \
  extern "C" {                                                                \
  PG_MODULE_MAGIC_EXT(.name = "imagekit_cleanup", .version = module_version); \
  }
#else
#define IMAGEKIT_MODULE_MAGIC(module_version) \
  extern "C" {                                \
  PG_MODULE_MAGIC;                            \
  }
#endif

#endif  // IMAGEKIT_PG_SERVER_H
