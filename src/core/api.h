// The conversation with ImageKit's media API: find files by library path, delete them by fileId, purge their URLs.
//
// Callers ask file by file and are answered file by file; how many of them share a request is decided here. Look-ups are
// gathered into searches for many names when they are sent; deletes are sent as the caller groups them, because each must
// be proven right before it goes.
//
// ApiClient is event-driven and single-threaded: the owner waits (in one place, on its latch and these sockets
// together), tells the client which socket is ready or that time has passed, and takes answers. It never blocks, starts
// no thread that its owner can see, and sends the key to the account's own `api_url` and nowhere else: no redirect is
// followed, no part of a URL from a row ever becomes a host.

#ifndef IMAGEKIT_CORE_API_H
#define IMAGEKIT_CORE_API_H

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/pace.h"
#include "core/secret.h"
#include "core/url.h"

namespace imagekit {

/// The names by which an account is known: its key, and its library. Whoever shares one of them shares the limit.
constexpr int kPaceNames = 2;

/// What is needed to talk to one account. Rates are requests per second, bursts are requests.
struct AccountAccess {
  std::string name;  // the foreign server's name, for messages
  std::string api_url = "https://api.imagekit.io";
  SecretText private_key;
  double read_rate = 20;
  double read_burst = 40;
  double write_rate = 4;
  double write_burst = 8;
  int search_size = 25;      // most names in one search
  int bulk_size = 50;        // most fileIds in one delete, 1 to 100
  double list_share = 0.25;  // of read_rate, for reading the whole library; above 0, at most 1
  /// Where the pace is kept, for each of the account's names; may lie in memory shared with other processes, and must
  /// outlive the client. nullptr: the client keeps its own.
  PaceState* read_pace[kPaceNames] = {};
  PaceState* write_pace[kPaceNames] = {};
  PaceState* purge_pace[kPaceNames] = {};  // only for how long ImageKit wants none
};

struct TransportOptions {
  int connect_timeout_ms = 5000;
  int request_timeout_ms = 30000;  // from the start of one request to the end of its answer
  /// Requests on the wire at once; reads leave a quarter of them to deletes. Purges have a quarter as many places beside these, and
  /// one at least.
  int max_in_flight = 8;
  size_t max_body_bytes = 8u << 20;
  std::string ca_file;  // PEM bundle; empty: libcurl's default. TLS verification cannot be switched off.
  std::string proxy;    // URL of a proxy, as CURLOPT_PROXY takes it; empty: none, whatever the environment says
  std::string user_agent = "imagekit_cleanup";
};

/// What one answer means for its file and its account; the one table of it is in taxonomy.cpp.
enum class Verdict {
  kFound,        // look-up: exactly one file at exactly this path; probe: any file; `file` is filled
  kNotFound,     // look-up: no such file; probe: the library is empty
  kElsewhere,    // look-up: the name exists, but at no path equal to this one
  kAmbiguous,    // look-up: more than one file claims the path, or the answer contradicts itself
  kDeleted,      // delete: done
  kGone,         // delete: ImageKit says, in its own JSON, that the file does not exist
  kThrottled,    // 429: wait `retry_after_ms`; counts no attempt
  kCredentials,  // 401, 403: the account must pause; counts no attempt
  kTransient,    // time-out, reset, 408, 423, 5xx: try again with backoff
  kRejected,     // 400 and the like: never for this file unchanged
  kBroken,       // not ImageKit's answer (HTML 404, redirect, 200 that is no JSON array): the account must pause
  kUndecided,    // delete of many: the answer says nothing about this one. Ask again, alone if `alone` says so
  kPurged,       // purge: accepted
  kQuota,        // purge: the account's purges are used up
};

const char* VerdictName(Verdict verdict) noexcept;

struct FoundFile {
  std::string file_id;  // only [0-9A-Za-z_-]; never empty
  std::string name;
  std::string file_path;
  std::string url;          // on the account's default endpoint; empty when absent or no clean text
  int64_t created_ms = -1;  // Unix time in ms; -1 when absent or unreadable
  int64_t updated_ms = -1;
  int64_t size = -1;  // bytes; -1 when absent or unreadable
  std::string type;   // "image" or "non-image", as ImageKit says it; empty when absent
};

/// What the account uses, by its own count (section 7), in a time of at most 90 days. -1: not said.
struct AccountUsage {
  int64_t bandwidth_bytes = -1;
  int64_t library_bytes = -1;  // of the media library
  int64_t cache_bytes = -1;    // of the cache of originals
  int64_t video_units = -1;
  int64_t extension_units = -1;
};

struct ReplyBody;
struct RequestStatistics;

enum class Operation { kFind, kDelete, kProbe, kPurge, kList, kUsage };

struct Answer {
  uint64_t ticket = 0;  // as given to Find, Delete, Probe, Purge, List or Usage
  Operation operation = Operation::kFind;
  Verdict verdict = Verdict::kTransient;
  FoundFile file;              // kFound; after a probe without file_id: it is nobody's to delete
  std::string detail;          // in words: status, ImageKit's message, its request id; never a key, at most 500 bytes
  int http_status = 0;         // 0: no answer came
  int64_t retry_after_ms = 0;  // kThrottled
  int shared_by = 1;           // how many files the request was for
  bool alone = false;          // kUndecided: only a request of its own can decide it
  std::shared_ptr<const ReplyBody> page;  // kList, kFound: for Listing::Take()
  AccountUsage usage;                     // kUsage, kFound
};

/// One file of a delete.
struct FileToDelete {
  uint64_t ticket;
  std::string file_id;
};

class ApiClient {
 public:
  /// Throws std::invalid_argument when a time-out or max_in_flight (at most 1000) is not above zero. The first client
  /// of a process starts libcurl: never make one in a process that will fork workers, nor while another thread uses
  /// libcurl. SIGPIPE must be ignored, as it is in every server process. After std::bad_alloc from any method the
  /// client is fit for destruction only.
  explicit ApiClient(const TransportOptions& options);
  ~ApiClient();
  ApiClient(const ApiClient&) = delete;
  ApiClient& operator=(const ApiClient&) = delete;

  /// Returns the account's number, 0 and up. Throws std::invalid_argument when api_url is neither https nor plain http
  /// to a loopback address, the key is empty or holds a colon or anything but printable ASCII, or a rate is not above
  /// zero. Find, Delete and the others throw it for an account that does not exist.
  int AddAccount(const AccountAccess& access);

  /// Queues a look-up by exact library path. Look-ups of one account that wait at the same time share a search: up to
  /// search_size names over all folders, in one request target under 4 KB, page by page while pages are full. Names that
  /// the library has in too many folders are then searched for folder by folder; a name that cannot be quoted (section
  /// 2.2) is found by paging through its folder. What an answer does not list byte for byte at this path is not found.
  ///
  /// `known_id`: the fileId that the row named, or empty. Such files are looked up by id first, a hundred in a search;
  /// where the id is unknown or lies at another path, by path as above. So the answer is always about the path.
  ///
  /// `most_together`: with how many files, itself included, it may share a search, so that one for which searches fail does not
  /// take others along for ever.
  ///
  /// A path that cannot be asked for (no UTF-8, too long for a request) is answered kRejected without a request.
  void Find(uint64_t ticket, int account, const LibraryPath& path, const std::string& known_id = "",
            int most_together = kAnyNumber);
  static constexpr int kAnyNumber = 1 << 20;

  /// While more look-ups of the account are to be expected soon: searches by name and by fileId that are not full wait for
  /// them.
  void ExpectMore(int account, bool more);

  /// Hands back what waits to be looked up, and probes: each is answered kThrottled, as it was not asked. Only when the
  /// account's pace lets no read through for longer than `longest_ms`; below zero: in any case.
  void GiveBackLookUps(int account, int64_t longest_ms);

  /// Takes up to `most` delete requests from the account's pace and from the wire, to be sent at once: returns how many.
  /// So that a proof is made only for what can be sent, and sent when it is made. They are to be used by Delete() or given
  /// back before OnSocket() or OnTimer() is called again.
  int ReserveDeletes(int account, int most);
  void ReturnDeletes(int account, int count);

  /// Sends one reserved delete of one or more files, at most BulkSize() of them: it is on the wire when this returns, or
  /// Sending(). Several go in one call of
  /// `batch/deleteByFileIds`, and each is answered by itself: ids that are not [0-9A-Za-z_-]+ with kRejected and without
  /// being sent, ids given twice once for all.
  void Delete(int account, const std::vector<FileToDelete>& files);

  /// Whether a delete waits for a connection (2 seconds at most): whatever was proven of its files grows old meanwhile, so the owner
  /// does nothing but wait for it.
  bool Sending() const noexcept;

  /// How many files one delete may have: bulk_size, or less when ImageKit has said so.
  int BulkSize(int account) const;

  /// Queues the purge of one URL from the CDN (section 6.1). After deletes and look-ups, at the pace of writes.
  void Purge(uint64_t ticket, int account, const std::string& url);

  /// Hands back the purges that wait: each is answered kThrottled, as it was not sent.
  void GiveBackPurges(int account);

  /// Queues the question for any one file of the library: its URL tells whose library the key opens (section 4.1).
  void Probe(uint64_t ticket, int account);

  /// Queues a page of the library (listing.h). After everything else: at most `list_share` of the reads, and never the last token of
  /// the account's pace, which is a look-up's, whichever process has one.
  void List(uint64_t ticket, int account, const std::string& target);

  /// Queues the question for the account's own count, from one day to the day before another ("2026-11-01"). Like a page.
  void Usage(uint64_t ticket, int account, const std::string& from_day, const std::string& to_day);

  /// How far ImageKit's clock is ahead of this machine's, by the answers so far; see clock_offset.h.
  int64_t ClockOffsetMs(int account) const;

  /// What was counted of the account's requests since this was last asked: each once, when its answer came, or when it was
  /// abandoned. What libcurl repeats by itself, as a connection used before was found broken, is one.
  RequestStatistics TakeStatistics(int account);

  /// Milliseconds until the account's pace lets a delete through; 0: it does.
  int DeleteWaitMs(int account) const;

  /// Anything queued, on the wire, or answered and not yet taken.
  bool Busy() const noexcept;

  /// Takes the next answer. Each Find, Probe and Purge, and each file of a Delete, is answered once.
  bool NextAnswer(Answer* answer);

  /// Drops everything queued and on the wire, unanswered, and waits for nothing. A delete on the wire may or may not
  /// have been done. Answers that have come can still be taken.
  void Abandon() noexcept;

  // The event loop: wait for these sockets, at most TimeoutMs(), then call OnSocket for each ready one, or OnTimer.

  struct Socket {
    int fd;
    bool read;
    bool write;
  };
  const std::vector<Socket>& Sockets() const noexcept;
  /// Changes whenever Sockets() has changed, so that the owner rebuilds its wait set only then.
  uint64_t SocketsVersion() const noexcept;
  /// Milliseconds until OnTimer has something to do (libcurl's timers, the account's pacing); 0 also while
  /// an answer waits to be taken; -1: nothing to wait for.
  int TimeoutMs() const;
  void OnSocket(int fd, bool readable, bool writable);
  void OnTimer();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_API_H
