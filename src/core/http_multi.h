// HTTP transfers on libcurl's multi-socket interface: many at once, none of which blocks the caller.
//
// libcurl says which sockets it wants watched and when it wants to be called next; the owner's event loop does the
// waiting. This file knows nothing of ImageKit beyond the response headers it keeps.

#ifndef IMAGEKIT_CORE_HTTP_MULTI_H
#define IMAGEKIT_CORE_HTTP_MULTI_H

#include <curl/curl.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/api.h"
#include "core/api_request.h"
#include "core/taxonomy.h"

namespace imagekit {

struct FreeHeaders {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using HttpHeaders = std::unique_ptr<curl_slist, FreeHeaders>;

struct HttpRequest {
  enum class Method { kGet, kPost, kDelete };
  uint64_t id = 0;  // chosen by the caller, comes back in the reply
  Method method = Method::kGet;
  std::string url;
  std::string body;         // kPost
  bool plain_http = false;  // the one scheme this request may use: http instead of https
  bool urgent = false;      // what it was decided on may change at any moment
  HttpHeaders headers;
};

struct HttpReply {
  uint64_t id = 0;
  Transport transport = Transport::kConnection;
  std::string error;  // in words, unless kComplete
  int status = 0;     // 0: no answer began
  std::string body;
  // Response headers; empty when absent.
  std::string content_type;
  std::string request_id;  // x-ik-requestid, else x-request-id (section 1.3)
  std::string rate_limit_reset;
  std::string retry_after;
  std::string location;
  std::string date;
  int64_t date_seen_ms = 0;  // UnixMs() when `date` came
};

/// Throws std::bad_alloc where libcurl runs out of memory; after that the object is fit for Abandon and destruction
/// only.
class HttpMulti {
 public:
  /// Room for `more` transfers than options.max_in_flight.
  HttpMulti(const TransportOptions& options, int more);
  ~HttpMulti();
  HttpMulti(const HttpMulti&) = delete;
  HttpMulti& operator=(const HttpMulti&) = delete;

  /// Puts a request on the wire at the next OnTimer, which TimeoutMs asks for at once; an urgent one now, or as soon as it has a
  /// connection.
  void Start(HttpRequest request);
  /// Takes the next finished transfer.
  bool NextReply(HttpReply* reply);
  bool HasReply() const noexcept { return !replies_.empty(); }
  size_t in_flight() const noexcept { return in_flight_; }
  /// Urgent requests that wait for their connection.
  size_t unsent() const noexcept { return unsent_; }
  /// Must not be shown, wherever they turn up.
  const std::vector<SecretText>& proxy_secrets() const noexcept { return proxy_.secrets; }
  /// Breaks off every transfer and forgets replies not taken. Waits for nothing, not even a name server.
  void Abandon() noexcept;

  // As in ApiClient.
  const std::vector<ApiClient::Socket>& Sockets() const noexcept { return sockets_; }
  uint64_t SocketsVersion() const noexcept { return sockets_version_; }
  int TimeoutMs() const noexcept;
  void OnSocket(int fd, bool readable, bool writable);
  void OnTimer();

 private:
  struct Transfer;

  static int SocketCallback(CURL* easy, curl_socket_t fd, int what, void* self, void* socket_data) noexcept;
  static int ConnectedCallback(void* transfer, char*, char*, int, int) noexcept;
  static int TimerCallback(CURLM* multi, long timeout_ms, void* self) noexcept;
  static size_t BodyCallback(char* data, size_t size, size_t count, void* transfer) noexcept;
  static size_t HeaderCallback(char* data, size_t size, size_t count, void* transfer) noexcept;

  Transfer* IdleTransfer();
  void Prepare(Transfer* transfer, HttpRequest request) const;
  void ChooseRoute(Transfer* transfer, bool plain_http) const;
  void Run(curl_socket_t fd, int events);
  void Finish(Transfer* transfer, CURLcode code);

  const TransportOptions options_;
  const Proxy proxy_;
  CURLM* multi_ = nullptr;
  std::vector<std::unique_ptr<Transfer>> transfers_;  // idle ones keep their handle for the next request
  size_t in_flight_ = 0;
  size_t unsent_ = 0;
  std::deque<HttpReply> replies_;
  std::vector<ApiClient::Socket> sockets_;
  uint64_t sockets_version_ = 0;
  int64_t deadline_ms_ = -1;  // of libcurl's own timer, on MonotonicMs; -1: none
};

/// The clock of all pacing and waiting: CLOCK_MONOTONIC, never turned back, the same for all processes of a machine.
int64_t MonotonicMs() noexcept;
int64_t MonotonicUs() noexcept;

/// The time of day: Unix time in ms.
int64_t UnixMs() noexcept;

}  // namespace imagekit

#endif  // IMAGEKIT_CORE_HTTP_MULTI_H
