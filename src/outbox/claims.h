// imagekit.claims: which files a drain has in hand, many to a row.

#ifndef IMAGEKIT_OUTBOX_CLAIMS_H
#define IMAGEKIT_OUTBOX_CLAIMS_H

#include "pg/sql.h"
#include "worker/batch.h"

namespace imagekit::outbox {

/// A claim without files, in the batch.
worker::Claim *MakeClaim(worker::Batch *batch);

/// A free slot for a file of the claim, NULL when there is none; a new file there, zeroed.
worker::QueuedFile *AddFile(worker::Batch *batch, worker::Claim *claim);
int FreeSlots(const worker::Batch &batch);

/// What is queued of files, a column each, as parameters for unnest() and for imagekit.claims: backlog.id (NULL: none), url,
/// file_id, server (NULL: none), transaction, relation, role, origin, captured_at, due_at, attempts, in_doubt, approved,
/// last_error.
struct FileColumns {
  pg::Column ids = {INT8OID, nullptr}, urls = {TEXTOID, nullptr}, file_ids = {TEXTOID, nullptr};
  pg::Column servers = {OIDOID, nullptr}, transactions = {XID8OID, nullptr}, relations = {OIDOID, nullptr};
  pg::Column roles = {OIDOID, nullptr}, origins = {CHAROID, nullptr}, captured = {TIMESTAMPTZOID, nullptr};
  pg::Column due = {TIMESTAMPTZOID, nullptr}, attempts = {INT4OID, nullptr}, doubts = {BOOLOID, nullptr};
  pg::Column approved = {BOOLOID, nullptr}, errors = {TEXTOID, nullptr};
};
constexpr int kFileColumns = 14;
void AddTo(FileColumns *columns, const worker::QueuedFile &file);
/// In that order. Not for no files at all.
void AsParams(const FileColumns &columns, pg::Param params[kFileColumns]);

/// Writes the claim's row, for its files that are not settling. Needs an open SqlSession.
void WriteClaim(const worker::Batch &batch, worker::Claim *claim);

/// Takes the rows of claims of which all files are settling, and writes those of which some are not anew.
void FinishClaims(const worker::Batch &batch, List *claims);

}  // namespace imagekit::outbox

#endif  // IMAGEKIT_OUTBOX_CLAIMS_H
