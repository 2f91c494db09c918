// The note of a streaming standby, a small file in its data directory:
//
//   imagekit_cleanup: this instance has been a streaming standby
//   system identifier 7412..., instance inode ..., born ..., in /...
//   timelines 1 2
//
// Arming is a row, and so the same on primary and standby; whether a promoted server is the failover or a clone that was
// restored somewhere shows only in what it did before. A failover had streamed, and the note says so. Copied with the
// files the note is worthless, as it names another instance. It lists timelines because a clone may have standbys of
// its own: those have streamed only the clone's timeline, never the armed one.

#include "worker/standby.h"

#include <unistd.h>

#include "worker/instance.h"

namespace imagekit::worker {

namespace {

constexpr char kNote[] = "imagekit_cleanup.standby";
constexpr char kNewNote[] = "imagekit_cleanup.standby.tmp";
constexpr int kAgainAfter = 60 * 1000;  // ms, when it could not be written

char *InDataDirectory(const char *name) { return psprintf("%s/%s", DataDir, name); }

bool Exists(const char *name) { return access(InDataDirectory(name), F_OK) == 0; }

char *Heading(const char *mark) {
  return psprintf("imagekit_cleanup: this instance has been a streaming standby\nsystem identifier " UINT64_FORMAT
                  ", instance %s\ntimelines ",
                  GetSystemIdentifier(), mark);
}

// The noted timelines as "1 2 ", when the note is this instance's; else "".
const char *ReadTimelines(const char *heading) {
  FILE *file = AllocateFile(InDataDirectory(kNote), "r");
  if (file == nullptr) return "";
  char *text = static_cast<char *>(palloc(BLCKSZ));
  size_t length = fread(text, 1, BLCKSZ - 1, file);
  FreeFile(file);
  text[length] = '\0';
  return strncmp(text, heading, strlen(heading)) == 0 ? text + strlen(heading) : "";
}

bool Lists(const char *timelines, TimeLineID timeline) {
  for (const char *rest = timelines; *rest != '\0' && *rest != '\n';) {
    char *end;
    if (strtoul(rest, &end, 10) == timeline) return true;
    if (end == rest) break;
    rest = end + strspn(end, " ");
  }
  return false;
}

// Whole or not at all, also when the machine loses power.
bool WriteNote(const char *text) {
  const char *path = InDataDirectory(kNewNote);
  int file = OpenTransientFile(path, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
  bool written =
      file >= 0 && write(file, text, strlen(text)) == static_cast<ssize_t>(strlen(text)) && pg_fsync(file) == 0;
  int reason = errno;
  if (file >= 0) CloseTransientFile(file);
  errno = reason;
  if (!written)
    ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", path),
                  errdetail("Without it this standby, once promoted, deletes no images before imagekit.enable().")));
  return written && durable_rename(path, InDataDirectory(kNote), LOG) == 0;
}

// True when the note lists the timeline now.
bool Note(TimeLineID timeline) {
  const char *problem;
  const char *mark = InstanceMark(&problem);
  if (mark == nullptr) return false;
  const char *heading = Heading(mark);
  const char *timelines = ReadTimelines(heading);
  if (Lists(timelines, timeline)) return true;
  return WriteNote(psprintf("%s%.*s%u \n", heading, static_cast<int>(strcspn(timelines, "\n")), timelines, timeline));
}

}  // namespace

void ForgetStandbyWhenRestoring() {
  if (!Exists(RECOVERY_SIGNAL_FILE) || Exists(STANDBY_SIGNAL_FILE)) return;
  const char *path = InDataDirectory(kNote);
  if (unlink(path) != 0 && errno != ENOENT)
    ereport(FATAL, (errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path),
                    errhint("Remove it, so that the restored server is not taken for the failover of another.")));
}

void NoteStreaming() {
  static TimeLineID noted = 0;
  static TimestampTz again_at = 0;
  TimeLineID timeline = pg::StreamedTimeline();
  if (timeline == 0 || timeline == noted || GetCurrentTimestamp() < again_at) return;
  MemoryContext context = AllocSetContextCreate(TopMemoryContext, "imagekit standby", ALLOCSET_DEFAULT_SIZES);
  MemoryContext before = MemoryContextSwitchTo(context);
  if (Note(timeline))
    noted = timeline;
  else
    again_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kAgainAfter);
  MemoryContextSwitchTo(before);
  MemoryContextDelete(context);
}

bool Succeeds(const char *mark, TimeLineID armed, TimeLineID current) {
  const char *timelines = ReadTimelines(Heading(mark));
  if (*timelines == '\0') return false;
  ListCell *cell;
  foreach (cell, readTimeLineHistory(current)) {  // the newest first
    TimeLineID timeline = static_cast<TimeLineHistoryEntry *>(lfirst(cell))->tli;
    if (timeline == current) continue;
    if (!Lists(timelines, timeline)) return false;
    if (timeline == armed) return true;
  }
  return false;
}

}  // namespace imagekit::worker
