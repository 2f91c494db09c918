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

void LogDeleted(const QueuedFile &file) {
  if (settings::log_deletions)
    ereport(LOG, (errhidestmt(true),
                  errmsg("Successfully deleted ImageKit file: %s fileId: %s", Printable(file.name), file.file_id)));
}

void LogAlreadyGone(const QueuedFile &file) {
  if (settings::log_deletions)
    ereport(LOG, (errhidestmt(true), errmsg("File already deleted or not found on ImageKit: %s", Printable(file.url))));
}

void LogElsewhere(const QueuedFile &file) {
  ereport(WARNING, (errhidestmt(true), errmsg("Could not find file to delete on ImageKit: %s", Printable(file.url))));
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
