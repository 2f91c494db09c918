// The settings `imagekit_cleanup.*`: read them as plain variables.
//
// All are SIGHUP settings of the whole server (postgresql.conf, ALTER SYSTEM): the worker obeys them, not a session.

#ifndef IMAGEKIT_PG_SETTINGS_H
#define IMAGEKIT_PG_SETTINGS_H

namespace imagekit::settings {

extern bool enabled;             // kill switch: nothing is sent while off; capture goes on
extern bool log_deletions;       // one LOG line a deleted or missing file
extern int connect_timeout;      // ms
extern int request_timeout;      // ms, one request from start to end
extern int max_requests;         // on the wire at once, per process
extern int max_workers;          // databases worked for at once
extern int max_databases;        // that the shared memory has room for; fixed at server start
extern int poll_interval;        // ms, between looks at a database in which something waits
extern int worker_idle_timeout;  // ms, a worker with nothing due leaves after this
extern int retry_delay;          // ms, wait after the first failed attempt
extern int retry_delay_max;      // ms, wait after many
extern int max_attempts;         // a file that failed so often is not tried again by itself
extern int history_retention;    // days; 0: for ever
extern int search_lag;           // ms, a file not found so soon after the removal is looked up again
extern int clock_skew;           // ms, an upload so much before a removal may be after it
extern char *ca_file;            // PEM bundle; empty: the system's
extern char *proxy;              // URL; empty: none

/// Defines and reserves them. Once, from _PG_init.
void Define();

}  // namespace imagekit::settings

#endif  // IMAGEKIT_PG_SETTINGS_H
