// Step 6: the proof, just before the call, that no watched row uses the file any more.
//
// Every watched table is asked; how its rows are read, and which count, is in table_search.h.
//
// A URL counts as a use when it means the file, or could: in another reading, or when it cannot be read with certainty
// and shares a key with the file. In doubt the file stays.

#include <string>
#include <unordered_map>
#include <vector>

#include "account/account.h"
#include "capture/watch_config.h"
#include "core/url.h"
#include "pg/attempt.h"
#include "pg/bridge.h"
#include "pg/settings.h"
#include "pg/sql.h"
#include "worker/complaints.h"
#include "worker/references.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// The files asked about, by the key that every use of them shares.
using FilesByKey = std::unordered_map<std::string, std::vector<int>>;

struct Search : TableSearch {
  Batch *batch;
  FilesByKey *files;
  const EndpointMap *endpoints;
  std::vector<std::string> *keys_of_url;  // of one reference
  OnUse on_use;
  void *argument;
};

bool IsProving(const QueuedFile &file) { return IsAt(file, Stage::kProving); }

enum class Use { kNone, kSure, kDoubtful };

Use UseOf(const UrlReading &reference, const UrlReading &file) {
  if (reference.account != file.account) return Use::kNone;
  if (reference.kind == UrlClass::kRefused || reference.kind == UrlClass::kSkipped) return Use::kDoubtful;
  if (reference.path == file.path) return Use::kSure;
  for (const LibraryPath &other : reference.other_readings)
    if (other == file.path) return Use::kDoubtful;
  return Use::kNone;
}

// The keys under which files are that a URL may use: first its own, which is the only one of a file that it means with certainty.
using Keys = std::vector<std::string>;

void FillKeys(std::string_view url, Keys *keys) {
  *keys = OtherUrlKeys(url);
  keys->insert(keys->begin(), UrlKey(url));
}

// Where it was among the files asked about.
struct Position {
  size_t key;
  size_t file;  // of those with the key
};

// The next file asked about, from a position on, that the reference uses; -1: none. C++ throughout.
int NextUsed(const Search &search, std::string_view url, Position *next, Use *use) {
  for (; next->key < search.keys_of_url->size(); *next = {next->key + 1, 0}) {
    auto found = search.files->find((*search.keys_of_url)[next->key]);
    if (found == search.files->end()) continue;
    UrlReading reference = search.endpoints->Read(url);
    for (; next->file < found->second.size(); ++next->file) {
      int index = found->second[next->file];
      if (!Asked(search.batch->files[index])) continue;
      const UrlReading &file = (*search.batch->readings)[static_cast<size_t>(index)];
      *use = UseOf(reference, file);
      if (*use == Use::kNone && next->key > 0 && reference.account == file.account) *use = Use::kDoubtful;
      if (*use != Use::kNone) return index;
    }
  }
  return -1;
}

void TakeUrl(Search *search, std::string_view url) {
  if (!search->endpoints->Owns(url)) return;
  pg::CallCxx([&] { FillKeys(url, search->keys_of_url); });
  for (Position next = {0, 0};; next.file++) {
    Use use = Use::kNone;
    int index = pg::CallCxx([&] { return NextUsed(*search, url, &next, &use); });
    if (index < 0) return;
    search->on_use(search->argument, *search, index, use == Use::kSure);
  }
}

void TakeReference(capture::UrlSink *self, std::string_view url, std::string_view) {
  auto *search = static_cast<Search *>(self);
  TakeUrl(search, url);
  InnerUrls inner(url);
  for (std::string_view another; inner.Next(&another);) TakeUrl(search, another);
}

void FillFiles(const Batch &batch, FilesByKey *files) {
  for (int i = 0; i < batch.count; i++)
    if (Asked(batch.files[i])) (*files)[UrlKey(batch.files[i].url)].push_back(i);
}

Datum AskedKeys(const Batch &batch) {
  auto *urls = static_cast<const char **>(palloc(sizeof(char *) * (batch.count + 1)));
  int count = 0;
  for (int i = 0; i < batch.count; i++)
    if (Asked(batch.files[i])) urls[count++] = batch.files[i].url;
  return KeysOfUrls(urls, count);
}

void Prepare(Search *search, Batch *batch, OnUse on_use, void *argument) {
  search->take = TakeReference;
  search->if_unreadable = capture::Unreadable::kRaise;
  search->batch = batch;
  search->files = pg::Own<FilesByKey>(CurrentMemoryContext);
  search->keys_of_url = pg::Own<Keys>(CurrentMemoryContext);
  pg::CallCxx([&] { FillFiles(*batch, search->files); });
  search->keys = AskedKeys(*batch);
  search->on_use = on_use;
  search->argument = argument;
  search->snapshot = RegisterSnapshot(GetLatestSnapshot());
}

void Ask(Search *search, Oid table) {
  search->watched = table;
  // Each time anew: reading catalogs may renew the map.
  search->endpoints = account::Endpoints();
  SearchTable(search);
}

char *NameOf(Oid table) {
  const char *name = get_rel_name(table);
  return name == nullptr ? nullptr : quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), name);
}

// Until a use that is not committed, or a table that cannot be searched, is asked about again: soon at first, and the more
// rarely the longer the file has waited.
int64 WaitForOthers(const QueuedFile &file) {
  constexpr int64 kMost = 10 * 60 * 1000;
  int64 age = TimestampDifferenceMilliseconds(file.captured_at, GetCurrentTimestamp());
  return Max(int64{settings::retry_delay}, Min(age / 4, Min(kMost, int64{settings::retry_delay_max})));
}

void Keep(void *argument, const TableSearch &where, int file, bool certain) {
  auto *batch = static_cast<Batch *>(argument);
  QueuedFile *asked = &batch->files[file];
  if (Open(*asked) && where.uncommitted) {
    // If that is rolled back, nobody says so: it is asked again until it is known.
    Decide(batch, asked, Fate::kReleased,
           psprintf("%s%s that is not committed yet uses it, source %s", asked->by_hand ? "a row of " : kWaits,
                    NameOf(where.watched), where.source));
    asked->release_wait_ms = WaitForOthers(*asked);
  } else if (Open(*asked)) {
    Decide(batch, asked, Fate::kKept,
           psprintf(certain ? "still used by %s, source %s"
                            : "perhaps still used by %s, source %s: a URL there cannot be read with certainty",
                    NameOf(where.watched), where.source));
  } else if (certain) {
    asked->unwitnessed = false;
    asked->detail = MemoryContextStrdup(
        MemoryOf(batch, asked),
        psprintf(where.uncommitted
                     ? "while it was deleted, table %s came to use it, source %s, in a row that is not committed yet"
                     : "while it was deleted, table %s came to use it, source %s",
                 NameOf(where.watched), where.source));
    LogUsedMeanwhile(*asked);
  }
}

// Nothing of it has to do with ImageKit: no attempt is counted.
void LetWait(Batch *batch, const char *why) {
  for (int i = 0; i < batch->count; i++) {
    QueuedFile *file = &batch->files[i];
    if (!IsProving(*file)) continue;
    Decide(batch, file, Fate::kReleased, why);
    file->release_wait_ms = WaitForOthers(*file);
  }
}

// One that cannot be read must not stop the drain for the others' sake. The files stay undeleted, for without its answer
// there is no proof.
void AskInDrain(Oid table, Search *search) {
  const char *name = NameOf(table);
  if (name == nullptr) return;  // dropped: it holds no reference
  struct Asking {
    Search *search;
    Oid table;
  } asking = {search, table};
  const ErrorData *error = pg::Attempt(
      [](void *argument) {
        auto *asking = static_cast<Asking *>(argument);
        Ask(asking->search, asking->table);
      },
      &asking);
  if (error == nullptr || get_rel_name(table) == nullptr) return;
  Batch *batch = search->batch;
  if (error->sqlerrcode == kAskAgain) {
    LetWait(batch, psprintf("waits: %s", error->message));
    return;
  }
  char *why = psprintf("%s%s still uses it: %s", kCannotTell, name, error->message);
  // Said for a file's first attempt; last_error has it for the others, which come again and again.
  bool first = false;
  for (int i = 0; i < batch->count; i++)
    first |=
        IsProving(batch->files[i]) && batch->files[i].attempts <= 1 && !Begins(batch->files[i].last_error, kCannotTell);
  int unsaid;
  ereport(first && MayComplain(&unsaid) ? WARNING : DEBUG1,
          (errcode(error->sqlerrcode), errmsg("imagekit_cleanup cannot search watched table %s", name),
           errdetail("%s", error->message),
           errhint("Nothing is deleted until it can be searched. Call imagekit.watch() again with its sources "
                   "as they are now, or imagekit.unwatch().")));
  LetWait(batch, why);
}

bool Any(const Batch &batch, bool (*what)(const QueuedFile &)) {
  for (int i = 0; i < batch.count; i++)
    if (what(batch.files[i])) return true;
  return false;
}

void AskAll(List *tables, Search *search, Pass pass) {
  search->pass = pass;
  ListCell *cell;
  foreach (cell, tables) {
    if (!Any(*search->batch, Asked)) break;
    AskInDrain(lfirst_oid(cell), search);
  }
}

// What was inserted while whole tables were read is looked at until that takes no time worth speaking of, or for ever.
void AskAboutChanges(List *tables, Search *search) {
  constexpr int64 kNoTime = 20;
  for (int i = 0; i < 5; i++) {
    TimestampTz before = GetCurrentTimestamp();
    AskAll(tables, search, Pass::kChanged);
    if (TimestampDifferenceMilliseconds(before, GetCurrentTimestamp()) < kNoTime) return;
  }
}

// A commit is seen before it is on disk, with synchronous_commit off. What let a file go must be there before the file goes: a
// crash would bring its row back.
void FlushWhatWasSeen() {
  XLogRecPtr end = GetXLogInsertRecPtr();
  // On the border of two pages that is behind the header of a page that is not begun.
  if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
    end -= SizeOfXLogLongPHD;
  else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
    end -= SizeOfXLogShortPHD;
  XLogFlush(end);
}

}  // namespace

void KeepReferenced(Batch *batch) {
  if (!Any(*batch, Asked)) return;
  MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "imagekit references", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(scratch);
  Search search = {};
  Prepare(&search, batch, Keep, batch);
  elog(DEBUG1, "imagekit_cleanup asks watched tables about files to delete");  // bench/references times the call by it
  // Not worth reading whole tables for: nothing can be saved any more.
  search.by_index_only = !Any(*batch, IsProving);
  List *tables = capture::WatchedTables();
  if (!search.by_index_only) AskAll(tables, &search, Pass::kWhole);
  if (search.read_whole != NIL) AskAboutChanges(tables, &search);
  AskAll(tables, &search, Pass::kIndexed);
  // And those that came to be watched meanwhile.
  AskAll(list_difference_oid(capture::WatchedTables(), tables), &search, Pass::kAll);
  for (int i = 0; i < batch->count; i++) batch->files[i].unwitnessed = false;
  UnregisterSnapshot(search.snapshot);
  if (Any(*batch, IsProving)) FlushWhatWasSeen();
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
}

void FindUses(Batch *batch, OnUse on_use, void *argument) {
  Search search = {};
  Prepare(&search, batch, on_use, argument);
  ListCell *cell;
  foreach (cell, capture::WatchedTables()) Ask(&search, lfirst_oid(cell));
  UnregisterSnapshot(search.snapshot);
}

}  // namespace imagekit::worker
