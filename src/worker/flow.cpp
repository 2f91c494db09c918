// Leads the files of a batch on: for the drain and for deletes by hand the same.

#include <string>

#include "pg/bridge.h"
#include "pg/encoding.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// Here ImageKit's words enter the database: in a database of another encoding than UTF-8 they would be no text at all.
void ToServerText(std::string *words) {
  if (pg::IsServerText(words->c_str())) return;
  char *text = pg::ToServerText(words->c_str());
  pg::CallCxx([&] { *words = text; });
  pfree(text);
}

bool TakeAnswers(Flow *flow, Answer *answer) {
  ApiClient *client = flow->sender->client;
  bool any = false;
  while (pg::CallCxx([&] { return client->NextAnswer(answer); })) {
    any = true;
    for (std::string *words : {&answer->detail, &answer->file.name, &answer->file.url}) ToServerText(words);
    switch (answer->operation) {
      case Operation::kFind:
        TakeLookUp(flow->batch, flow->sender, *answer, flow->longest_wait_ms);
        break;
      case Operation::kDelete:
        TakeDelete(flow->batch, flow->sender, *answer, flow->longest_wait_ms);
        break;
      case Operation::kProbe:
        TakeProbe(flow->batch, flow->sender, answer);
        break;
      case Operation::kPurge:
        if (flow->purging != nullptr) TakePurge(flow->purging, *flow->sender, *answer);
        break;
      case Operation::kList:
      case Operation::kUsage:
        break;  // an audit's, and it asks by a client of its own
    }
  }
  return any;
}

void ReleaseAll(Batch *batch) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (Open(*file) && file->answers_due == 0) Decide(batch, file, Fate::kReleased, nullptr);
  }
}

}  // namespace

bool MoveOn(Flow *flow, Answer *answer) {
  Batch *batch = flow->batch;
  bool moved = TakeAnswers(flow, answer);
  if (flow->letting_go) ReleaseAll(batch);
  moved |= CheckLibraries(batch, flow->sender);
  // It may need a transaction; and so does SendDeletes().
  const bool sending = flow->sender->client->Sending();
  if (flow->ask_history != nullptr && !sending) DoubtMissing(batch, flow->sender, flow->ask_history, flow->argument);
  moved |= ConcludeLookUps(batch, flow->sender);
  moved |= AskForFiles(batch, flow->sender);
  GiveBackLookUps(*flow);
  moved |= SendDeletes(flow);
  // In this order: the fate of a double is one that others may wait for, and its slot is soon another file's.
  DecideDoubles(batch);
  FollowOthers(batch);
  return moved;
}

int64 MoveOnAfter(const Flow &flow, int64 longest_ms) {
  // Found, and not sent though the pace would let it: the wire is full, or the delete is not.
  constexpr int64 kLookAgain = 50;
  int64 wait = longest_ms;
  for (int i = 0; i < flow.batch->count; i++) {
    const QueuedFile &file = flow.batch->files[i];
    if (!IsAt(file, Stage::kFound)) continue;
    const SenderAccount *entry = FindAccount(flow.sender, file.account->server);
    const int64 pace = pg::CallCxx([&] { return flow.sender->client->DeleteWaitMs(entry->number); });
    wait = Min(wait, pace > 0 ? pace : kLookAgain);
  }
  return wait;
}

}  // namespace imagekit::worker
