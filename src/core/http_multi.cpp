// Drives libcurl without blocking and without surprises.
//
// It must never follow a redirect, speak anything but HTTP(S), skip a certificate check, read a proxy or a password
// from the environment or a file, let an exception pass through libcurl, or let libcurl's resolver thread receive one
// of the server's signals.
//
// One thing libcurl does by itself: a request on a reused connection that turns out to be dead before a byte came back
// is sent once more on a new one. Every kind of request may be repeated: the second delete is answered "gone".

#include "core/http_multi.h"

#include <pthread.h>
#include <strings.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <new>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "core/http_failure.h"
#include "core/secret.h"
#include "core/core_only.h"

namespace imagekit {

namespace {

// libcurl itself bounds one header line, not (before 8.3) their sum.
constexpr size_t kMaxHeaderBytes = 256 * 1024;

constexpr int kMostInFlight = 1000;

// An urgent request without a connection by then is given up: what it was decided on is too old.
constexpr int kMostUrgentConnectMs = 2000;

// libcurl keeps at most this many sockets for one transfer; with room for all, SocketCallback never allocates.
constexpr size_t kSocketsPerTransfer = 5;

/// Blocks all signals of this thread while libcurl works.
///
/// libcurl resolves names in threads of its own, and a new thread inherits the mask of its creator. A thread with open
/// signals could be chosen by the kernel to run the server's handlers, which expect the server's only thread: a latch
/// set there, or a siglongjmp, corrupts the process. What arrives meanwhile is delivered afterwards, to this thread.
class SignalBlock {
 public:
  SignalBlock() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

/// libcurl's process-wide start, once, by whoever makes the first client. It is thread-safe from libcurl 7.84 on; with
/// an older one the first client must be made before the process has other threads that use libcurl or OpenSSL. Never
/// to be called in a process that forks workers off itself (the postmaster): they would share its state. It is never
/// undone, because other libraries of the process may use libcurl as well.
void StartLibcurl() {
  // Requests hold a key. Where another library of the process has started libcurl before, its memory stays as it is.
  static const CURLcode code =
      curl_global_init_mem(CURL_GLOBAL_ALL, WipingMalloc, WipingFree, WipingRealloc, WipingStrdup, WipingCalloc);
  if (code != CURLE_OK) throw std::bad_alloc();  // the documented causes are memory and OpenSSL's own start
}

/// Sets an option that must hold. libcurl refuses one for want of memory, or because it was built without the feature.
template <typename Value>
void Require(CURL* easy, CURLoption option, Value value) {
  if (curl_easy_setopt(easy, option, value) != CURLE_OK) throw std::bad_alloc();
}

std::string_view Trim(std::string_view text) noexcept {
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return "";
  return text.substr(start, text.find_last_not_of(" \t\r\n") + 1 - start);
}

bool SameHeader(std::string_view name, std::string_view other) noexcept {
  return name.size() == other.size() && strncasecmp(name.data(), other.data(), other.size()) == 0;
}

}  // namespace

struct HttpMulti::Transfer {
  Transfer() : easy(curl_easy_init()) {
    if (easy == nullptr) throw std::bad_alloc();
  }
  ~Transfer() { curl_easy_cleanup(easy); }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  void SetSent() noexcept {
    if (unsent) --*unsent_count;
    unsent = false;
  }

  /// When it is over: the handle is kept for the next one, the headers with the key are not.
  void Rest() noexcept {
    SetSent();
    busy = false;
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, nullptr);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, nullptr);
    headers.reset();
  }

  CURL* const easy;
  bool busy = false;
  bool unsent = false;  // urgent, and without a connection
  size_t* unsent_count = nullptr;
  int connect_timeout_ms = 0;
  HttpReply reply;
  HttpHeaders headers;
  std::string body;
  std::string peer;  // "127.0.0.1:8080", for messages
  size_t max_body_bytes = 0;
  size_t header_bytes = 0;
  bool too_large = false;
  bool no_memory = false;
  char error[CURL_ERROR_SIZE] = "";
};

int64_t MonotonicMs() noexcept { return MonotonicUs() / 1000; }

int64_t MonotonicUs() noexcept {
  using std::chrono::microseconds;
  return std::chrono::duration_cast<microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t UnixMs() noexcept {
  using std::chrono::milliseconds;
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

HttpMulti::HttpMulti(const TransportOptions& options, int more) : options_(options), proxy_(ReadProxy(options.proxy)) {
  if (options_.request_timeout_ms < 1 || options_.connect_timeout_ms < 1) {
    throw std::invalid_argument("time-outs must be above zero");
  }
  if (options_.max_in_flight < 1 || options_.max_in_flight > kMostInFlight) {
    throw std::invalid_argument("the number of requests in flight must be between 1 and 1000");
  }
  if (options_.user_agent.find_first_of("\r\n") != std::string::npos) {
    throw std::invalid_argument("the user agent must be one line");
  }
  StartLibcurl();
  const auto most = static_cast<size_t>(options_.max_in_flight) + static_cast<size_t>(more);
  sockets_.reserve(most * kSocketsPerTransfer);
  transfers_.reserve(most);
  multi_ = curl_multi_init();
  if (multi_ == nullptr) throw std::bad_alloc();
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &SocketCallback);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &TimerCallback);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  // Idle connections kept for reuse; also bounds what several accounts leave open.
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(most));
}

HttpMulti::~HttpMulti() {
  Abandon();
  const SignalBlock block;  // closing a TLS connection writes to it
  transfers_.clear();
  curl_multi_cleanup(multi_);
}

void HttpMulti::Start(HttpRequest request) {
  Transfer* transfer = IdleTransfer();
  const bool urgent = request.urgent;
  Prepare(transfer, std::move(request));
  const SignalBlock block;
  if (curl_multi_add_handle(multi_, transfer->easy) != CURLM_OK) throw std::bad_alloc();
  transfer->busy = true;
  ++in_flight_;
  if (!urgent) return;
#if LIBCURL_VERSION_NUM >= 0x075000
  transfer->unsent = true;
  ++unsent_;
#endif
  OnTimer();
}

/// A connection is there, and the request goes out with the next step.
int HttpMulti::ConnectedCallback(void* transfer, char*, char*, int, int) noexcept {
  static_cast<Transfer*>(transfer)->SetSent();
  return 0;  // CURL_PREREQFUNC_OK, which older headers lack
}

HttpMulti::Transfer* HttpMulti::IdleTransfer() {
  for (const std::unique_ptr<Transfer>& transfer : transfers_) {
    if (!transfer->busy) return transfer.get();
  }
  transfers_.push_back(std::make_unique<Transfer>());
  transfers_.back()->unsent_count = &unsent_;
  return transfers_.back().get();
}

/// Sets every option anew: a handle used before must bring nothing along but its place in the pool.
void HttpMulti::Prepare(Transfer* transfer, HttpRequest request) const {
  CURL* easy = transfer->easy;
  curl_easy_reset(easy);
  transfer->reply = HttpReply();
  transfer->reply.id = request.id;
  const size_t host = request.url.find("://") + 3;
  transfer->peer = request.url.substr(host, request.url.find('/', host) - host);
  transfer->max_body_bytes = options_.max_body_bytes;
  transfer->header_bytes = 0;
  transfer->too_large = transfer->no_memory = false;
  transfer->error[0] = '\0';

  Require(easy, CURLOPT_PRIVATE, transfer);
  Require(easy, CURLOPT_ERRORBUFFER, transfer->error);
  Require(easy, CURLOPT_WRITEFUNCTION, &BodyCallback);
  Require(easy, CURLOPT_WRITEDATA, transfer);
  Require(easy, CURLOPT_HEADERFUNCTION, &HeaderCallback);
  Require(easy, CURLOPT_HEADERDATA, transfer);

  Require(easy, CURLOPT_URL, request.url.c_str());
  transfer->headers = std::move(request.headers);
  Require(easy, CURLOPT_HTTPHEADER, transfer->headers.get());
  Require(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
  transfer->body = std::move(request.body);
  switch (request.method) {
    case HttpRequest::Method::kGet:
      break;
    case HttpRequest::Method::kPost:
      Require(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(transfer->body.size()));
      Require(easy, CURLOPT_POSTFIELDS, transfer->body.c_str());
      break;
    case HttpRequest::Method::kDelete:
      Require(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
      break;
  }

    // Where the key may go.
#if LIBCURL_VERSION_NUM >= 0x075500
  Require(easy, CURLOPT_PROTOCOLS_STR, request.plain_http ? "http" : "https");
#else
  Require(easy, CURLOPT_PROTOCOLS, static_cast<long>(request.plain_http ? CURLPROTO_HTTP : CURLPROTO_HTTPS));
#endif
  Require(easy, CURLOPT_FOLLOWLOCATION, 0L);
  Require(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  Require(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options_.ca_file.empty()) Require(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
  ChooseRoute(transfer, request.plain_http);
  Require(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));

  // How long it may take.
  Require(easy, CURLOPT_NOSIGNAL, 1L);  // time-outs by clock, not by SIGALRM, which is the server's
  transfer->connect_timeout_ms =
      request.urgent ? std::min(options_.connect_timeout_ms, kMostUrgentConnectMs) : options_.connect_timeout_ms;
  Require(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(transfer->connect_timeout_ms));
#if LIBCURL_VERSION_NUM >= 0x075000
  if (request.urgent) {
    Require(easy, CURLOPT_PREREQFUNCTION, &ConnectedCallback);
    Require(easy, CURLOPT_PREREQDATA, transfer);
  }
#endif
  Require(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.request_timeout_ms));
  Require(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  Require(easy, CURLOPT_LOW_SPEED_TIME, SilenceSeconds(options_));
#if LIBCURL_VERSION_NUM >= 0x075700
  // A resolver thread that hangs is left behind (it frees itself) instead of joined, which could take minutes.
  Require(easy, CURLOPT_QUICK_EXIT, 1L);
#endif

  // Niceties: a libcurl built without them works as well. No PIPEWAIT: requests would wait for each other's connection.
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
}

void HttpMulti::ChooseRoute(Transfer* transfer, bool plain_http) const {
  CURL* easy = transfer->easy;
  // What is not encrypted is meant for this machine and carries the key: no proxy elsewhere may see it.
  const bool direct = proxy_.url.empty() || (plain_http && !proxy_.loopback);
  // An empty proxy switches off http_proxy and its kin: what the server's starter had in his environment is no
  // decision about where database traffic goes. Nor does no_proxy decide.
  Require(easy, CURLOPT_PROXY, direct ? "" : proxy_.url.c_str());
  Require(easy, CURLOPT_NOPROXY, "");
  if (direct) return;
  transfer->peer += " through the proxy " + proxy_.authority;
  // Our headers are for ImageKit, and its for us: nothing of either to or from the proxy.
  Require(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  Require(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  // A libcurl that knows no https proxy knows no checks for one either, and refuses it when it comes to connecting.
  curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
  if (!options_.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, options_.ca_file.c_str());
}

bool HttpMulti::NextReply(HttpReply* reply) {
  if (replies_.empty()) return false;
  *reply = std::move(replies_.front());
  replies_.pop_front();
  return true;
}

void HttpMulti::Abandon() noexcept {
  const SignalBlock block;
  for (const std::unique_ptr<Transfer>& transfer : transfers_) {
    if (!transfer->busy) continue;
    curl_multi_remove_handle(multi_, transfer->easy);
    transfer->Rest();
  }
  in_flight_ = 0;
  replies_.clear();
}

int HttpMulti::TimeoutMs() const noexcept {
  if (deadline_ms_ < 0) return -1;
  return static_cast<int>(std::clamp<int64_t>(deadline_ms_ - MonotonicMs(), 0, 60 * 60 * 1000));
}

void HttpMulti::OnSocket(int fd, bool readable, bool writable) {
  // An event may be older than the last change of the set: its socket is closed by now.
  if (std::none_of(sockets_.begin(), sockets_.end(), [fd](const auto& socket) { return socket.fd == fd; })) return;
  // Neither flag means an error on the socket; with 0 libcurl looks for itself.
  Run(fd, (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0));
}

void HttpMulti::OnTimer() {
  if (deadline_ms_ < 0 || deadline_ms_ > MonotonicMs()) return;
  deadline_ms_ = -1;  // libcurl's timer fires once; TimerCallback sets the next
  Run(CURL_SOCKET_TIMEOUT, 0);
}

void HttpMulti::Run(curl_socket_t fd, int events) {
  const SignalBlock block;
  int running;
  if (curl_multi_socket_action(multi_, fd, events, &running) != CURLM_OK) throw std::bad_alloc();
  int left;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;  // the message dies with remove_handle
    Transfer* transfer = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    Finish(transfer, code);
  }
}

void HttpMulti::Finish(Transfer* transfer, CURLcode code) {
  long status = 0;
  curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
  transfer->reply.status = static_cast<int>(status);
  if (code == CURLE_OK) {
    transfer->reply.transport = Transport::kComplete;
  } else {
    const std::string words = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code);
    TransportOptions options = options_;
    options.connect_timeout_ms = transfer->connect_timeout_ms;
    ExplainFailure(transfer->easy, code, transfer->too_large, words, transfer->peer, options, &transfer->reply);
  }
  curl_multi_remove_handle(multi_, transfer->easy);
  transfer->Rest();
  --in_flight_;
  if (transfer->no_memory) throw std::bad_alloc();
  replies_.push_back(std::move(transfer->reply));
}

int HttpMulti::SocketCallback(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept {
  auto* multi = static_cast<HttpMulti*>(self);
  auto& sockets = multi->sockets_;
  const auto known = std::find_if(sockets.begin(), sockets.end(), [fd](const auto& s) { return s.fd == fd; });
  ++multi->sockets_version_;
  if (what == CURL_POLL_REMOVE) {
    if (known != sockets.end()) sockets.erase(known);
    return 0;
  }
  const ApiClient::Socket wanted = {fd, (what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0};
  if (known != sockets.end()) {
    *known = wanted;
    return 0;
  }
  try {
    sockets.push_back(wanted);
    return 0;
  } catch (const std::bad_alloc&) {
    return -1;  // curl_multi_socket_action then fails, and Run throws
  }
}

int HttpMulti::TimerCallback(CURLM*, long timeout_ms, void* self) noexcept {
  static_cast<HttpMulti*>(self)->deadline_ms_ = timeout_ms < 0 ? -1 : MonotonicMs() + timeout_ms;
  return 0;
}

size_t HttpMulti::BodyCallback(char* data, size_t size, size_t count, void* user) noexcept {
  auto* transfer = static_cast<Transfer*>(user);
  std::string& body = transfer->reply.body;
  const size_t bytes = size * count;
  if (bytes > transfer->max_body_bytes - body.size()) {
    transfer->too_large = true;
    return 0;  // anything but `bytes` ends the transfer
  }
  try {
    body.append(data, bytes);
    return bytes;
  } catch (const std::exception&) {
    transfer->no_memory = true;
    return 0;
  }
}

size_t HttpMulti::HeaderCallback(char* data, size_t size, size_t count, void* user) noexcept {
  auto* transfer = static_cast<Transfer*>(user);
  HttpReply& reply = transfer->reply;
  const size_t bytes = size * count;
  transfer->header_bytes += bytes;
  if (transfer->header_bytes > kMaxHeaderBytes) {
    transfer->too_large = true;
    return 0;
  }
  const std::string_view line(data, bytes);
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bytes;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = Trim(line.substr(colon + 1));
  try {
    if (SameHeader(name, "content-type")) reply.content_type = value;
    if (SameHeader(name, "x-ratelimit-reset")) reply.rate_limit_reset = value;
    if (SameHeader(name, "retry-after")) reply.retry_after = value;
    if (SameHeader(name, "location")) reply.location = value;
    if (SameHeader(name, "date")) {
      reply.date = value;
      reply.date_seen_ms = UnixMs();
    }
    if (SameHeader(name, "x-ik-requestid")) reply.request_id = value;
    if (SameHeader(name, "x-request-id") && reply.request_id.empty()) reply.request_id = value;
    return bytes;
  } catch (const std::exception&) {
    transfer->no_memory = true;
    return 0;
  }
}

}  // namespace imagekit
