// The orphans as values may name them. Only theirs matter: a file that is not an orphan is not deleted as one.

#include "account/account.h"
#include "audit/unwatched.h"
#include "pg/bridge.h"
#include "pg/sql.h"

namespace imagekit::audit {

namespace {

// In pieces: a million rows at once would take hundreds of megabytes.
constexpr char kRead[] =
    "SELECT o.server, o.file_id, o.path, o.doubt IS NULL AND imagekit.protected_by(o.server, o.path) IS NULL "
    "FROM imagekit.audit_orphans o "
    "WHERE (o.server, o.file_id) OPERATOR(pg_catalog.>) ($1, $2) ORDER BY o.server, o.file_id LIMIT 10000";

struct Orphans {
  const FileNames *names;  // NULL: none
};

const Orphans *kept = nullptr;

const FileNames *Read(MemoryContext context) {
  auto *names = pg::Own<FileNames>(context);
  MemoryContext piece = AllocSetContextCreate(CurrentMemoryContext, "imagekit orphans", ALLOCSET_DEFAULT_SIZES);
  Oid server = InvalidOid;
  const char *file_id = "";
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    const uint64 count =
        pg::RunSql(kRead, SPI_OK_SELECT, {{OIDOID, ObjectIdGetDatum(server)}, {TEXTOID, CStringGetTextDatum(file_id)}});
    if (count == 0) break;
    MemoryContextReset(piece);
    for (uint64 i = 0; i < count; i++) {
      bool null;
      server = DatumGetObjectId(pg::Field(i, 1, &null));
      file_id = pg::FieldText(i, 2, piece);
      const char *path = pg::FieldText(i, 3, piece);
      if (!DatumGetBool(pg::Field(i, 4, &null))) continue;
      pg::CallCxx([&] { names->Add(account::AccountNumber(server), path, file_id); });
    }
    SPI_freetuptable(SPI_tuptable);
  }
  MemoryContextDelete(piece);
  pg::CallCxx([&] { names->Sort(); });
  return names->empty() ? nullptr : names;
}

}  // namespace

const FileNames *OrphansFor(FmgrInfo *function) {
  if (kept != nullptr) return kept->names;
  auto *of = static_cast<Orphans *>(function->fn_extra);
  if (of == nullptr) {
    of = static_cast<Orphans *>(MemoryContextAllocZero(function->fn_mcxt, sizeof(Orphans)));
    pg::SqlSession session;
    pg::OpenSql(&session);
    of->names = Read(function->fn_mcxt);
    pg::CloseSql(&session);
    function->fn_extra = of;
  }
  return of->names;
}

void KeepOrphans(MemoryContext context) {
  auto *of = static_cast<Orphans *>(MemoryContextAllocZero(context, sizeof(Orphans)));
  of->names = Read(context);
  auto *forget = static_cast<MemoryContextCallback *>(MemoryContextAllocZero(context, sizeof(MemoryContextCallback)));
  forget->func = [](void *) { kept = nullptr; };
  MemoryContextRegisterResetCallback(context, forget);
  kept = of;
}

}  // namespace imagekit::audit
