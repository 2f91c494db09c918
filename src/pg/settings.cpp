// Definitions of the settings: default, bounds, unit and words.

#include "pg/settings.h"

#include <climits>

#include "pg/server.h"

namespace imagekit::settings {

bool enabled = true;
bool log_deletions = true;
int connect_timeout = 5000;
int request_timeout = 30000;
int max_requests = 8;
int max_workers = 3;
int max_databases = 1024;
int poll_interval = 30000;
int worker_idle_timeout = 4000;
int retry_delay = 2000;
int retry_delay_max = 3600 * 1000;
int clock_skew = 2000;
int search_lag = 60 * 1000;
int max_attempts = 20;
int history_retention = 365;
char *ca_file = nullptr;
char *proxy = nullptr;

namespace {

void DefineBool(const char *name, const char *what, const char *more, bool *variable) {
  DefineCustomBoolVariable(name, what, more, variable, *variable, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
}

void DefineInt(const char *name, const char *what, const char *more, int *variable, int low, int high, int unit) {
  DefineCustomIntVariable(name, what, more, variable, *variable, low, high, PGC_SIGHUP, unit, nullptr, nullptr,
                          nullptr);
}

}  // namespace

void Define() {
  DefineBool(
      "imagekit_cleanup.enabled", "Sends deletions to ImageKit.",
      "The kill switch: while off, watched tables go on queueing and nothing is sent from any database of the server. "
      "Set it before starting a copy of a production server.",
      &enabled);
  DefineBool("imagekit_cleanup.log_deletions", "Logs each file that was deleted or was already gone.",
             "Failures are logged in any case.", &log_deletions);
  DefineInt("imagekit_cleanup.connect_timeout", "How long to wait for a connection to ImageKit.", nullptr,
            &connect_timeout, 10, 600000, GUC_UNIT_MS);
  DefineInt("imagekit_cleanup.request_timeout", "How long one request to ImageKit may take.",
            "After this it counts as failed and is tried again later.", &request_timeout, 10, 3600000, GUC_UNIT_MS);
  DefineInt("imagekit_cleanup.max_requests", "Requests to ImageKit a process has under way at once.",
            "An account's read_rate and write_rate hold in any case.", &max_requests, 1, 64, 0);
  DefineInt("imagekit_cleanup.max_workers", "Databases that have a worker at once.",
            "Each takes one of max_worker_processes, and the launcher one more. Workers leave when there is nothing to "
            "do, so few "
            "serve many databases.",
            &max_workers, 1, 64, 0);
  // Sizes the shared memory, and means nothing where there is none.
  if (process_shared_preload_libraries_in_progress)
    DefineCustomIntVariable("imagekit_cleanup.max_databases", "Databases that the launcher keeps in mind at once.",
                            "Any more are served too, but in turn.", &max_databases, max_databases, 1, 65536,
                            PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
  DefineInt("imagekit_cleanup.poll_interval",
            "How often a database is looked at in which something waits and nothing has woken its worker.",
            "Commits wake the worker at once; this covers key files, prepared transactions and the like.",
            &poll_interval, 1000, 3600000, GUC_UNIT_MS);
  DefineInt("imagekit_cleanup.worker_idle_timeout", "How long a worker with nothing to do stays connected.",
            "DROP DATABASE and the like need not wait for it: they stop the worker.", &worker_idle_timeout, 0, 3600000,
            GUC_UNIT_MS);
  DefineInt("imagekit_cleanup.retry_delay", "Wait after the first failed attempt at a file.",
            "Doubles with each further one, with jitter, up to imagekit_cleanup.retry_delay_max.", &retry_delay, 10,
            3600000, GUC_UNIT_MS);
  DefineInt("imagekit_cleanup.retry_delay_max", "Longest wait between two attempts at a file.", nullptr,
            &retry_delay_max, 10, INT_MAX, GUC_UNIT_MS);
  DefineInt(
      "imagekit_cleanup.clock_skew", "How far the clocks of the database and of ImageKit may disagree.",
      "A file that was uploaded after its row was deleted, or less than this before, is kept. What the clocks differ "
      "by according to ImageKit's answers is taken off first.",
      &clock_skew, 0, 24 * 3600000, GUC_UNIT_MS);
  DefineInt(
      "imagekit_cleanup.search_lag", "How long ImageKit's search may not know a file that was uploaded.",
      "A file that is not found so soon after its row was deleted is looked up once more at the end of this time.",
      &search_lag, 0, 24 * 3600000, GUC_UNIT_MS);
  DefineInt("imagekit_cleanup.max_attempts", "Attempts at a file before it is left to a person.",
            "It is then failed in imagekit.pending; imagekit.retry() begins anew. What stops a whole account counts no "
            "attempt.",
            &max_attempts, 1, 1000000, 0);
  DefineInt("imagekit_cleanup.history_retention", "Days after which outcomes are forgotten.",
            "0 keeps imagekit.history for ever. max_deletes_per_hour and imagekit.explain() read it.",
            &history_retention, 0, 36500, 0);
  DefineCustomStringVariable("imagekit_cleanup.proxy", "URL of the proxy to ImageKit.",
                             "Like http://proxy.example:3128. Empty: none, whatever the server's environment says.",
                             &proxy, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("imagekit_cleanup.ca_file", "PEM file of the certificate authorities to trust.",
                             "Empty: the system's. Certificates are always verified.", &ca_file, "", PGC_SIGHUP,
                             GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  MarkGUCPrefixReserved("imagekit_cleanup");
}

}  // namespace imagekit::settings
