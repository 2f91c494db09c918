// The mark of an instance, made of what a copy of the data directory does not take along:
//
//   inode, birth   of the data directory's PG_VERSION. initdb or pg_basebackup creates it; no server, ALTER SYSTEM,
//                  minor upgrade or pg_rewind writes or renames it. cp -a and rsync can set neither. The birth is not
//                  known on every file system; without it two new volumes may well number their files alike.
//   path           of the data directory, links resolved. A file-system snapshot shares the two above, but beside the
//                  original it must be mounted somewhere else.
//
// Left out is what changes without a copy (host name, device number, boot id), and what a copy takes along (contents,
// times of modification, the file system's UUID).

#include "worker/instance.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <climits>
#include <cstdlib>

#include "pg/server.h"

namespace imagekit::worker {

namespace {

struct FileMark {
  uint64 inode;
  bool born_known;
  int64 born_s;
  uint32 born_ns;
};

bool ReadFileMark(const char *path, FileMark *mark) {
#ifdef STATX_BTIME
  struct statx status;
  if (statx(AT_FDCWD, path, AT_STATX_SYNC_AS_STAT, STATX_INO | STATX_BTIME, &status) != 0) return false;
  mark->inode = status.stx_ino;
  mark->born_known = (status.stx_mask & STATX_BTIME) != 0;
  mark->born_s = status.stx_btime.tv_sec;
  mark->born_ns = status.stx_btime.tv_nsec;
#else
  struct stat status;
  if (stat(path, &status) != 0) return false;
  *mark = FileMark{};
  mark->inode = status.st_ino;
#endif
  return true;
}

// A path may hold bytes that are no text in the database's encoding.
void AppendPath(StringInfo text, const char *path) {
  for (; *path != '\0'; path++) {
    if (*path > ' ' && *path < 0x7f && *path != '\\')
      appendStringInfoChar(text, *path);
    else
      appendStringInfo(text, "\\x%02x", static_cast<unsigned char>(*path));
  }
}

}  // namespace

char *InstanceMark(const char **problem) {
  // Not by the working directory: a procedural language may have changed it.
  char path[MAXPGPATH];
  snprintf(path, sizeof path, "%s/PG_VERSION", DataDir);
  FileMark mark;
  char directory[PATH_MAX];
  if (!ReadFileMark(path, &mark) || realpath(DataDir, directory) == nullptr) {
    *problem = psprintf("the data directory cannot be examined: %m");
    return nullptr;
  }
  StringInfoData text;
  initStringInfo(&text);
  appendStringInfo(&text, "inode " UINT64_FORMAT, mark.inode);
  if (mark.born_known) appendStringInfo(&text, ", born " INT64_FORMAT ".%09u", mark.born_s, mark.born_ns);
  appendStringInfoString(&text, ", in ");
  AppendPath(&text, directory);
  return text.data;
}

}  // namespace imagekit::worker
