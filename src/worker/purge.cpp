#include "worker/purge.h"

#include "outbox/purges.h"
#include "pg/bridge.h"
#include "pg/settings.h"
#include "worker/complaints.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

using outbox::PurgeResult;
using outbox::PurgeToSend;

constexpr int kAtOnce = 8;

const SenderAccount *AccountNumbered(const Sender &sender, int number) {
  ListCell *cell;
  foreach (cell, sender.accounts) {
    auto *entry = static_cast<SenderAccount *>(lfirst(cell));
    if (entry->number == number) return entry;
  }
  return nullptr;
}

void Complain(const char *url, const char *detail) {
  int unsaid;
  if (MayComplain(&unsaid))
    ereport(WARNING, (errmsg("imagekit_cleanup could not purge the CDN of: %s", url), errdetail("%s.", detail),
                      errhint("The file is deleted all the same; copies of it are served until they age out.")));
}

}  // namespace

TimestampTz NextPurgeAt(const Purging &purging, const Sender &sender) {
  if (purging.sent != NIL) return DT_NOEND;
  if (purging.results != NIL) return DT_NOBEGIN;
  ListCell *cell;
  foreach (cell, sender.accounts)
    if (static_cast<SenderAccount *>(lfirst(cell))->account->purge_cache) return purging.due_at;
  return DT_NOEND;
}

void ForgetPurges(Purging *purging) {
  if (purging->context != nullptr) MemoryContextDelete(purging->context);
  *purging = {};
}

void PurgeSome(Purging *purging, const Sender &sender, MemoryContext parent) {
  outbox::SettlePurges(purging->results);
  ForgetPurges(purging);
  purging->context = AllocSetContextCreate(parent, "imagekit purges", ALLOCSET_SMALL_SIZES);
  List *claimed = outbox::ClaimPurges(sender, kAtOnce, purging->context);
  purging->due_at = claimed != NIL ? 0 : outbox::NextPurge(sender);
  ListCell *cell;
  foreach (cell, claimed) {
    auto *purge = static_cast<PurgeToSend *>(lfirst(cell));
    pg::CallCxx([&] { sender.client->Purge(static_cast<uint64_t>(purge->id), purge->account, purge->url); });
  }
  purging->sent = claimed;
}

void TakePurge(Purging *purging, const Sender &sender, const Answer &answer) {
  PurgeToSend *purge = nullptr;
  ListCell *cell;
  foreach (cell, purging->sent) {
    purge = static_cast<PurgeToSend *>(lfirst(cell));
    if (static_cast<uint64_t>(purge->id) == answer.ticket) break;
    purge = nullptr;
  }
  if (purge == nullptr) return;  // of before the last start
  MemoryContext before = MemoryContextSwitchTo(purging->context);
  purging->sent = list_delete_ptr(purging->sent, purge);
  auto *result = static_cast<PurgeResult *>(palloc0(sizeof(PurgeResult)));
  const bool unsent = answer.verdict == Verdict::kThrottled && answer.http_status == 0;
  *result = {purge->id, answer.verdict == Verdict::kPurged, unsent, pstrdup(answer.detail.c_str()), InvalidOid};
  if (answer.verdict == Verdict::kQuota) {
    const SenderAccount *entry = AccountNumbered(sender, purge->account);
    result->spent = entry != nullptr ? entry->account->server : InvalidOid;
    Complain(purge->url, psprintf("the account's purges of this month are spent: %s", result->error));
  } else if (answer.verdict == Verdict::kRejected ||
             (!result->done && !unsent && purge->attempts >= settings::max_attempts)) {
    result->done = true;  // never, for this URL
    Complain(purge->url, result->error);
  }
  purging->results = lappend(purging->results, result);
  MemoryContextSwitchTo(before);
}

}  // namespace imagekit::worker
