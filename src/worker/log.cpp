// What the drain says in the server log.

#include "pg/settings.h"
#include "worker/steps.h"

namespace imagekit::worker {

namespace {

// One line of the log, whatever bytes the row held.
char *Printable(const char *url) {
  char *copy = pstrdup(url);
  int most = pg_mbcliplen(copy, static_cast<int>(strlen(copy)), 1000);
  copy[most] = '\0';
  for (char *c = copy; *c != '\0'; c++)
    if (static_cast<unsigned char>(*c) < ' ' || *c == 0x7F) *c = '?';
  return copy;
}

// Complaints: a handful at once, and then one every ten minutes, so that what fails for good says less than a dozen lines
// an hour.
constexpr int kComplaints = 5;
constexpr int64 kComplaintEvery = 10 * USECS_PER_MINUTE;

}  // namespace

bool MayComplain(int *unsaid) {
  static int left = kComplaints;
  static int withheld = 0;
  static TimestampTz filled_at = 0;
  const TimestampTz now = GetCurrentTimestamp();
  const int64 refilled = filled_at == 0 ? 0 : (now - filled_at) / kComplaintEvery;
  if (refilled != 0 || filled_at == 0) {
    left = static_cast<int>(Min(int64{left} + Max(refilled, int64{0}), int64{kComplaints}));
    filled_at = now;
  }
  *unsaid = withheld;
  if (left == 0) {
    withheld++;
    return false;
  }
  left--;
  withheld = 0;
  return true;
}

void LogDeleted(const QueuedFile &file) {
  if (settings::log_deletions)
    ereport(LOG, (errmsg("Successfully deleted ImageKit file: %s fileId: %s", Printable(file.name), file.file_id)));
}

void LogAlreadyGone(const QueuedFile &file) {
  if (settings::log_deletions)
    ereport(LOG, (errmsg("File already deleted or not found on ImageKit: %s", Printable(file.url))));
}

void LogElsewhere(const QueuedFile &file) {
  ereport(WARNING, (errmsg("Could not find file to delete on ImageKit: %s", Printable(file.url))));
}

void LogUsedMeanwhile(const QueuedFile &file) {
  ereport(WARNING,
          (errmsg("ImageKit file was deleted while a row came to use it: %s", Printable(file.url)),
           errdetail("%s.", file.detail), errhint("Upload the image again to \"%s\", or change the row.", file.path)));
}

void LogError(const QueuedFile &file, const char *detail) {
  int unsaid;
  if (!file.by_hand && !MayComplain(&unsaid)) return;
  ereport(WARNING,
          (errmsg("Error deleting ImageKit file: %s %s", Printable(file.url), detail),
           !file.by_hand && unsaid > 0
               ? errdetail("%d more such errors were not logged since the last; see last_error in imagekit.pending.",
                           unsaid)
               : 0));
}

}  // namespace imagekit::worker
