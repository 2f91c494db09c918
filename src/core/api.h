// The conversation with ImageKit's media API: find a file by library path, delete it by fileId.
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

#include "core/secret.h"
#include "core/url.h"

namespace imagekit {

/// What is needed to talk to one account. Rates are requests per second, bursts are requests.
struct AccountAccess {
  std::string name;  // the foreign server's name, for messages
  std::string api_url = "https://api.imagekit.io";
  SecretText private_key;
  double read_rate = 20;
  double read_burst = 40;
  double write_rate = 4;
  double write_burst = 8;
};

struct TransportOptions {
  int connect_timeout_ms = 5000;
  int request_timeout_ms = 30000;  // from the start of one request to the end of its answer
  int max_in_flight = 8;           // requests on the wire at once
  size_t max_body_bytes = 8u << 20;
  std::string ca_file;  // PEM bundle; empty: libcurl's default. TLS verification cannot be switched off.
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
};

const char* VerdictName(Verdict verdict) noexcept;

struct FoundFile {
  std::string file_id;  // only [0-9A-Za-z_-]; never empty
  std::string name;
  std::string file_path;
  std::string url;          // on the account's default endpoint; empty when absent or no clean text
  int64_t created_ms = -1;  // Unix time in ms; -1 when absent or unreadable
  int64_t updated_ms = -1;
};

enum class Operation { kFind, kDelete, kProbe };

struct Answer {
  uint64_t ticket = 0;  // as given to Find, Delete or Probe
  Operation operation = Operation::kFind;
  Verdict verdict = Verdict::kTransient;
  FoundFile file;              // kFound; after a probe without file_id: it is nobody's to delete
  std::string detail;          // in words: status, ImageKit's message, its request id; never a key, at most 500 bytes
  int http_status = 0;         // 0: no answer came
  int64_t retry_after_ms = 0;  // kThrottled
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

  /// Queues a look-up by exact library path (section 2.6): `path` parameter and name in the query; a name that cannot
  /// be quoted (section 2.2) is found by paging through its folder. The query is never widened.
  /// A path that cannot be asked for (no UTF-8, too long for a request) is answered kRejected without a request.
  void Find(uint64_t ticket, int account, const LibraryPath& path);

  /// Queues a delete. `file_id` outside [0-9A-Za-z_-]+ is answered kRejected without a request.
  void Delete(uint64_t ticket, int account, const std::string& file_id);

  /// Queues the question for any one file of the library: its URL tells whose library the key opens (section 4.1).
  void Probe(uint64_t ticket, int account);

  /// How far ImageKit's clock is ahead of this machine's, by the answers so far; see clock_offset.h.
  int64_t ClockOffsetMs(int account) const;

  /// How many deletes of this account would be sent at once, if they were queued now: what its pacing lets through and
  /// the wire has room for.
  int DeletesReady(int account) const;
  /// Milliseconds until DeletesReady() is above 0; 0: it is.
  int DeleteWaitMs(int account) const;

  /// Anything queued, on the wire, or answered and not yet taken.
  bool Busy() const noexcept;

  /// Takes the next answer. Each Find, Delete and Probe is answered once.
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
