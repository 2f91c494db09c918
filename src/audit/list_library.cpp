// Reading the library: a page asked for, waited for, and written down with the place where the next begins.

#include "audit/audit.h"
#include "core/api_reply.h"
#include "core/backoff.h"
#include "core/path_key.h"
#include "outbox/counters.h"
#include "pg/bridge.h"
#include "pg/encoding.h"

namespace imagekit::audit {

namespace {

using worker::NowTicks;
using worker::Ticks;

// Requests for one page in a row that failed before the audit is broken off; the waits between them come to some minutes.
constexpr int kMostFailures = 10;
constexpr int64 kFirstWait = 1000, kLongestWait = 60000;  // ms
// From here on fewer entries are asked for: an answer may be too large, or too long in the making. What is no answer of ImageKit's is
// that for good, most likely, but one that is too large looks the same.
constexpr int kLessFrom = 2, kMostBroken = 3;

constexpr uint64_t kTicket = 1;

// Static: locals that change between setjmp and longjmp would be lost. A session is in one audit at a time.
worker::Waiter waiter;

void WaitMs(Audit *audit, int64 ms) {
  const Ticks until = NowTicks() + ms;
  bool woken;
  while (NowTicks() < until) {
    CHECK_FOR_INTERRUPTS();
    worker::WaitForImageKit(&waiter, audit->hand.sender.client, static_cast<long>(until - NowTicks()), &woken);
  }
}

const char *Words(const Audit &audit) {
  return psprintf("%s " INT64_FORMAT " files",
                  audit.listed ? "listing what is new, so far" : "listing the library, so far", audit.files);
}

// What people see of it: in pg_stat_activity, and, where somebody waits, in a NOTICE now and then.
void Tell(Audit *audit) {
  const char *words = Words(*audit);
  pgstat_report_activity(STATE_RUNNING, psprintf("imagekit_cleanup: audit of server \"%s\": %s", audit->name, words));
  if (!audit->scheduled && worker::IsTimeToSay(&audit->progress))
    ereport(NOTICE, (errmsg("imagekit_cleanup: audit of server \"%s\": %s", audit->name, words)));
}

void Await(Audit *audit) {
  ApiClient *client = audit->hand.sender.client;
  bool woken;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    if (pg::CallCxx([&] { return client->NextAnswer(audit->answer); })) return;
    worker::WaitForImageKit(&waiter, client, 1000, &woken);
  }
}

// May the next request go out? Asked before each: an operator may have paused the account, or given it another key.
worker::SenderAccount *AccountNow(Audit *audit) {
  worker::Step step;
  Begin(&step, audit);
  (void)worker::Refresh(&audit->hand.sender, audit->hand.parent);
  worker::SenderAccount *entry = UsableAccount(audit);
  worker::End(&step);
  if (entry != nullptr && audit->identity != 0 && entry->identity != audit->identity) {
    audit->problem = psprintf("its key, api_url or prefixes have changed meanwhile");
    audit->abandoned = true;
    return nullptr;
  }
  return entry;
}

// A page that can be taken: true. Otherwise audit->problem, or it is to be asked for again.
bool AskForPage(Audit *audit, int *failures) {
  worker::SenderAccount *entry = AccountNow(audit);
  if (entry == nullptr || OutOfTime(audit)) return false;
  pg::CallCxx([&] { audit->hand.sender.client->List(kTicket, entry->number, audit->listing->Target()); });
  Await(audit);
  switch (audit->answer->verdict) {
    case Verdict::kFound:
      *failures = 0;
      return true;
    case Verdict::kThrottled:
      return false;  // the client waits as long as it was told to
    case Verdict::kTransient:
      break;
    case Verdict::kBroken:
      if (*failures + 1 < kMostBroken) break;
      [[fallthrough]];
    default:
      audit->problem = pstrdup(audit->answer->detail.c_str());
      return false;
  }
  if (++*failures >= kMostFailures) {
    audit->problem = psprintf("%s (%d times in a row)", audit->answer->detail.c_str(), *failures);
    return false;
  }
  if (*failures >= kLessFrom) pg::CallCxx([&] { (void)audit->listing->AskForLess(); });
  WaitMs(audit, RestMs(*failures, kFirstWait, kLongestWait, pg_prng_uint64(&pg_global_prng_state)));
  return false;
}

Datum TimeOf(int64_t unix_ms) {
  return TimestampTzGetDatum((unix_ms - (int64_t{POSTGRES_EPOCH_JDATE} - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000) *
                             1000);
}

Datum KeyDatum(const std::string &path) {
  auto *uuid = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
  const PathKey key = KeyOfPath(path);
  memcpy(uuid->data, key.data(), sizeof uuid->data);
  return UUIDPGetDatum(uuid);
}

// A name that cannot be a row's text at all. No URL can name it either.
bool IsText(const FoundFile &file) { return file.file_path.find('\0') == std::string::npos; }

void AddFile(pg::Column (&columns)[7], const FoundFile &file) {
  pg::AddText(&columns[0], file.file_id.c_str());
  pg::AddText(&columns[1], IsText(file) ? pg::ToServerText(file.file_path.c_str()) : "?");
  pg::Add(&columns[2], KeyDatum(file.file_path));
  pg::Add(&columns[3], Int64GetDatum(file.size), file.size < 0);
  pg::Add(&columns[4], TimeOf(file.created_ms), file.created_ms < 0);
  pg::Add(&columns[5], TimeOf(file.updated_ms), file.updated_ms < 0);
  pg::AddText(&columns[6], file.type.empty() ? nullptr : pg::ToServerText(file.type.c_str()));
}

// The page, and where the next one begins, in one transaction.
void WritePage(Audit *audit, Oid server, const worker::SenderAccount *entry) {
  worker::Step step;
  Begin(&step, audit);
  pg::Column columns[7] = {{TEXTOID, nullptr},        {TEXTOID, nullptr},        {UUIDOID, nullptr}, {INT8OID, nullptr},
                           {TIMESTAMPTZOID, nullptr}, {TIMESTAMPTZOID, nullptr}, {TEXTOID, nullptr}};
  const std::vector<FoundFile> &files = audit->answer->page->files;
  for (const FoundFile &file : files) AddFile(columns, file);
  const Listing::Place &place = audit->listing->place();
  pg::Column anchors = {TEXTOID, nullptr};
  for (const std::string &anchor : place.anchors) pg::AddText(&anchors, anchor.c_str());
  const int64 ahead_ms = audit->hand.sender.client->ClockOffsetMs(entry->number);
  pg::RunSql(
      "SELECT t.files, t.bytes, t.pages FROM imagekit.take_page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) t",
      SPI_OK_SELECT,
      {{INT8OID, Int64GetDatum(audit->run)},
       {OIDOID, ObjectIdGetDatum(server)},
       pg::AsParam(columns[0], TEXTARRAYOID),
       pg::AsParam(columns[1], TEXTARRAYOID),
       pg::AsParam(columns[2], UUIDARRAYOID),
       pg::AsParam(columns[3], INT8ARRAYOID),
       pg::AsParam(columns[4], TIMESTAMPTZARRAYOID),
       pg::AsParam(columns[5], TIMESTAMPTZARRAYOID),
       pg::AsParam(columns[6], TEXTARRAYOID),
       {INT8OID, Int64GetDatum(place.from_s)},
       pg::AsParam(anchors, TEXTARRAYOID),
       {INT8OID, Int64GetDatum(ahead_ms)}});
  bool null;
  audit->files = DatumGetInt64(pg::Field(0, 1, &null));
  audit->bytes = DatumGetInt64(pg::Field(0, 2, &null));
  audit->pages = DatumGetInt64(pg::Field(0, 3, &null));
  outbox::CountRequests(audit->hand.sender);
  if (outbox::CountersDueAt() <= NowTicks()) outbox::WriteCounters();
  worker::End(&step);
}

// One page, or one attempt at it. True at the listing's end.
bool TakePage(Audit *audit, int *failures) {
  if (!AskForPage(audit, failures)) return false;
  worker::SenderAccount *entry = worker::FindAccount(&audit->hand.sender, audit->server);
  const std::vector<FoundFile> &files = audit->answer->page->files;
  if (!files.empty() && !worker::VerifyLibrary(&audit->hand.sender, entry, files.front())) {
    audit->problem = pstrdup(entry->pause_cause);
    return false;
  }
  char words[256];
  const Listing::Step step = pg::CallCxx([&] {
    std::string why;
    const Listing::Step next = audit->listing->Take(*audit->answer->page, &why);
    strlcpy(words, why.c_str(), sizeof words);
    return next;
  });
  if (step == Listing::Step::kAgain) return false;
  if (step == Listing::Step::kLost) {
    audit->problem = psprintf("the library cannot be listed: %s", words);
    audit->abandoned = true;
    return false;
  }
  WritePage(audit, audit->server, entry);
  Tell(audit);
  return step == Listing::Step::kEnd;
}

}  // namespace

bool OutOfTime(Audit *audit) {
  const Ticks now = NowTicks();
  if (now >= audit->closes_at)
    audit->problem = pstrdup("audit_hours are over; it goes on in the next ones");
  else if (now >= audit->give_up_at)
    audit->problem = pstrdup("audit_time_limit is reached; it goes on at the next time");
  return audit->problem != nullptr;
}

void FreeRequest(Audit *audit) {
  worker::FreeWaiter(&waiter);
  if (audit->hand.sender.client != nullptr) audit->hand.sender.client->Abandon();
}

void ListLibrary(Audit *audit) {
  MemoryContext scratch = AllocSetContextCreate(audit->hand.parent, "imagekit page", ALLOCSET_DEFAULT_SIZES);
  int failures = 0;
  for (bool end = false; !end && audit->problem == nullptr;) {
    MemoryContext before = MemoryContextSwitchTo(scratch);
    end = TakePage(audit, &failures);
    MemoryContextSwitchTo(before);
    if (audit->problem != nullptr) audit->problem = MemoryContextStrdup(audit->hand.parent, audit->problem);
    MemoryContextReset(scratch);
  }
  MemoryContextDelete(scratch);
}

void AskForUsage(Audit *audit) {
  worker::SenderAccount *entry = AccountNow(audit);
  if (entry == nullptr) return;
  // Of the day before by UTC: the end is not counted in.
  const pg_time_t now = static_cast<pg_time_t>(time(nullptr)), day_before = now - SECS_PER_DAY;
  char from[16], to[16];
  pg_strftime(from, sizeof from, "%Y-%m-%d", pg_gmtime(&day_before));
  pg_strftime(to, sizeof to, "%Y-%m-%d", pg_gmtime(&now));
  pg::CallCxx([&] { audit->hand.sender.client->Usage(kTicket, entry->number, from, to); });
  Await(audit);
  const bool said = audit->answer->verdict == Verdict::kFound;
  const char *problem = said ? nullptr : audit->answer->detail.c_str();
  if (!said)
    ereport(
        audit->scheduled ? LOG : NOTICE,
        (errmsg("imagekit_cleanup: ImageKit's own count for server \"%s\" is not known: %s", audit->name, problem)));
  worker::Step step;
  Begin(&step, audit);
  const AccountUsage &usage = audit->answer->usage;
  const int64_t counts[] = {usage.library_bytes, usage.bandwidth_bytes, usage.cache_bytes, usage.video_units,
                            usage.extension_units};
  pg::Param params[8] = {{OIDOID, ObjectIdGetDatum(audit->server)}, {TEXTOID, CStringGetTextDatum(from)}};
  for (int i = 0; i < 5; i++) params[i + 2] = {INT8OID, Int64GetDatum(counts[i]), !said || counts[i] < 0};
  params[7] = {TEXTOID, said ? Datum{0} : CStringGetTextDatum(problem), said};
  pg::RunSql("SELECT imagekit.note_usage($1, $2::date, $3, $4, $5, $6, $7, $8)", SPI_OK_SELECT, params);
  worker::End(&step);
}

}  // namespace imagekit::audit
