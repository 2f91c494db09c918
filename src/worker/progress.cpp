#include "worker/progress.h"

namespace imagekit::worker {

namespace {

constexpr Ticks kSayEvery = 10000;  // ms

int64 Files(const Tally &tally, Fate fate) { return tally.files[static_cast<int>(fate)]; }

// As people write it: 12,000.
char *Grouped(int64 number) {
  char *digits = psprintf(INT64_FORMAT, number);
  const auto count = static_cast<int>(strlen(digits));
  StringInfoData text;
  initStringInfo(&text);
  for (int i = 0; i < count; i++) {
    if (i > 0 && (count - i) % 3 == 0) appendStringInfoChar(&text, ',');
    appendStringInfoChar(&text, digits[i]);
  }
  return text.data;
}

void AppendPart(StringInfo text, int64 files, const char *what) {
  if (files > 0) appendStringInfo(text, "%s%s %s", text->len > 0 ? ", " : "", Grouped(files), what);
}

}  // namespace

void Count(Tally *tally, Fate fate) { tally->files[static_cast<int>(fate)]++; }

int64 Done(const Tally &tally) {
  return Files(tally, Fate::kDeleted) + Files(tally, Fate::kNotFound) + Files(tally, Fate::kKept) +
         Files(tally, Fate::kSkipped);
}

int64 Failed(const Tally &tally) { return Files(tally, Fate::kParked) + Files(tally, Fate::kRetry); }

void StartProgress(Progress *progress) { progress->say_at = NowTicks() + kSayEvery; }

bool IsTimeToSay(Progress *progress) {
  if (NowTicks() < progress->say_at) return false;
  StartProgress(progress);
  return true;
}

void SayProgress(int64 done, int64 failed, int64 total, bool more) {
  ereport(NOTICE, (errmsg("imagekit_cleanup: %s of %s%s files done, %s failed", Grouped(done), more ? "more than " : "",
                          Grouped(total), Grouped(failed))));
}

void SaySummary(const Tally &tally, const char *stopped) {
  StringInfoData text;
  initStringInfo(&text);
  AppendPart(&text, Files(tally, Fate::kDeleted), "deleted");
  AppendPart(&text, Files(tally, Fate::kNotFound), "not found");
  AppendPart(&text, Files(tally, Fate::kKept), "kept");
  AppendPart(&text, Files(tally, Fate::kSkipped), "skipped");
  AppendPart(&text, Files(tally, Fate::kRetry), "to be tried again");
  AppendPart(&text, Files(tally, Fate::kParked), "failed");
  if (text.len == 0) appendStringInfoString(&text, "nothing was due");
  ereport(NOTICE, (errmsg("imagekit_cleanup: %s", text.data), stopped != nullptr ? errdetail("%s", stopped) : 0,
                   Files(tally, Fate::kParked) > 0
                       ? errhint("SELECT url, last_error FROM imagekit.pending WHERE state = 'failed' says why.")
                       : 0));
}

}  // namespace imagekit::worker
