// What the drain, and deletes by hand, say in the server log. Without the statement: that of delete_files() may hold a thousand
// URLs, and would follow each of a thousand lines.

#include "pg/settings.h"
#include "worker/complaints.h"
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

}  // namespace

// What is said for each file must leave nothing behind: a round may have millions.

void LogDeleted(const QueuedFile &file) {
  if (!settings::log_deletions) return;
  char *name = Printable(file.name);
  ereport(LOG, (errhidestmt(true), errmsg("Successfully deleted ImageKit file: %s fileId: %s", name, file.file_id)));
  pfree(name);
}

void LogAlreadyGone(const QueuedFile &file) {
  if (!settings::log_deletions) return;
  char *url = Printable(file.url);
  ereport(LOG, (errhidestmt(true), errmsg("File already deleted or not found on ImageKit: %s", url)));
  pfree(url);
}

void LogElsewhere(const QueuedFile &file) {
  char *url = Printable(file.url);
  ereport(WARNING, (errhidestmt(true), errmsg("Could not find file to delete on ImageKit: %s", url)));
  pfree(url);
}

void LogUsedMeanwhile(const QueuedFile &file) {
  ereport(WARNING,
          (errhidestmt(true), errmsg("ImageKit file was deleted while a row came to use it: %s", Printable(file.url)),
           errdetail("%s.", file.detail), errhint("Upload the image again to \"%s\", or change the row.", file.path)));
}

void LogError(const QueuedFile &file, const char *detail) {
  int unsaid;
  if (!file.by_hand && !MayComplain(&unsaid)) return;
  ereport(WARNING,
          (errhidestmt(true), errmsg("Error deleting ImageKit file: %s %s", Printable(file.url), detail),
           !file.by_hand && unsaid > 0
               ? errdetail("%d more such errors were not logged since the last; see last_error in imagekit.pending.",
                           unsaid)
               : 0));
}

}  // namespace imagekit::worker
