// A scripted HTTP server and a small event loop, for tests that drive an ApiClient from outside.
//
// The server speaks raw sockets, because the interesting answers are those no HTTP library would send. Nothing here
// sleeps and hopes: everything waits for a condition and gives up at a deadline.

#ifndef IMAGEKIT_TEST_UNIT_API_TEST_SUPPORT_H
#define IMAGEKIT_TEST_UNIT_API_TEST_SUPPORT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/api.h"

namespace imagekit::test {

constexpr int kDeadlineMs = 20000;
constexpr char kKey[] = "private_TestKey123=";
// base64 of "private_TestKey123=:", worked out by another program.
constexpr char kAuthorization[] = "Basic cHJpdmF0ZV9UZXN0S2V5MTIzPTo=";

/// An HTTP answer in bytes; `headers` are whole lines, each ended by CRLF.
inline std::string Reply(int status, const std::string& body, const std::string& headers = "",
                         const std::string& type = "application/json; charset=utf-8") {
  return "HTTP/1.1 " + std::to_string(status) + " Whatever\r\nContent-Type: " + type + "\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

inline std::string NoContent() { return "HTTP/1.1 204 No Content\r\n\r\n"; }

/// One entry of a list as section 10 of the API contract shows it.
inline std::string FileJson(const std::string& id, const std::string& folder, const std::string& name) {
  const std::string path = (folder == "/" ? "" : folder) + "/" + name;
  return R"({"type":"file","name":")" + name +
         R"(","createdAt":"2025-03-04T10:11:12.345Z","updatedAt":"2025-03-05T10:11:12.345Z","fileId":")" + id +
         R"(","tags":null,"versionInfo":{"id":"67c6d1a4432c47641600aa01","name":"Version 1"},"embeddedMetadata":{},)"
         R"("url":"https://ik.imagekit.io/acme)" +
         path + R"(?updatedAt=1741083072345","filePath":")" + path + R"(","height":800,"size":183442})";
}

/// A switch one thread waits for and another throws.
class Gate {
 public:
  void Open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(kDeadlineMs), [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

struct SeenRequest {
  std::string method;
  std::string target;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string Header(const char* name) const {
    std::string all;
    for (const auto& header : headers) {
      if (strcasecmp(header.first.c_str(), name) == 0) all += (all.empty() ? "" : " | ") + header.second;
    }
    return all;
  }
};

/// The server's side of one connection.
class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {}
  /// False when the other end has gone.
  bool Send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }
  /// Ends the connection after the handler has returned; with `reset` by RST instead of FIN.
  void Close(bool reset = false) {
    over_ = true;
    if (!reset) return;
    const linger at_once = {1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  }
  /// Returns when the client has closed its end, or at the deadline.
  bool WaitForClose() {
    pollfd wait = {fd_, POLLIN, 0};
    char byte;
    return poll(&wait, 1, kDeadlineMs) == 1 && recv(fd_, &byte, 1, MSG_PEEK) <= 0;
  }
  bool over() const { return over_; }

 private:
  int fd_;
  bool over_ = false;
};

/// Listens on 127.0.0.1; each connection has a thread, which calls `handler` for each request.
class ScriptedServer {
 public:
  using Handler = std::function<void(const SeenRequest&, Connection&)>;

  explicit ScriptedServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 64) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("the test server cannot listen");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }
  /// Every request gets the same bytes.
  explicit ScriptedServer(std::string bytes)
      : ScriptedServer([bytes](const SeenRequest&, Connection& connection) { connection.Send(bytes); }) {}

  ~ScriptedServer() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    close(listener_);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
  }

  std::string authority() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url() const { return "http://" + authority(); }
  std::vector<SeenRequest> requests() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return requests_;
  }
  size_t request_count() const { return requests().size(); }
  int connections() const { return connections_; }

 private:
  void Accept() {
    while (true) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) {
        if (stopping_) return;
        continue;
      }
      ++connections_;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        open_.push_back(fd);
      }
      threads_.emplace_back([this, fd] {
        Serve(fd);
        const std::lock_guard<std::mutex> lock(mutex_);
        open_.erase(std::find(open_.begin(), open_.end(), fd));
        close(fd);
      });
    }
  }

  void Serve(int fd) {
    std::string input;
    Connection connection(fd);
    while (!connection.over() && !stopping_) {
      const size_t end = input.find("\r\n\r\n");
      if (end == std::string::npos) {
        char buffer[4096];
        const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
        if (n <= 0) return;
        input.append(buffer, static_cast<size_t>(n));
        continue;
      }
      SeenRequest request = Parse(input.substr(0, end + 2));
      const std::string announced = request.Header("Content-Length");
      const size_t length = announced.empty() ? 0 : std::stoul(announced);
      while (input.size() < end + 4 + length) {
        char buffer[4096];
        const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
        if (n <= 0) return;
        input.append(buffer, static_cast<size_t>(n));
      }
      request.body = input.substr(end + 4, length);
      input.erase(0, end + 4 + length);
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        requests_.push_back(request);
      }
      handler_(request, connection);
    }
  }

  static SeenRequest Parse(const std::string& head) {
    SeenRequest request;
    const size_t method_end = head.find(' ');
    const size_t target_end = head.find(' ', method_end + 1);
    request.method = head.substr(0, method_end);
    request.target = head.substr(method_end + 1, target_end - method_end - 1);
    size_t line = head.find("\r\n") + 2;
    while (line < head.size()) {
      const size_t end = head.find("\r\n", line);
      const size_t colon = head.find(": ", line);
      request.headers.emplace_back(head.substr(line, colon - line), head.substr(colon + 2, end - colon - 2));
      line = end + 2;
    }
    return request;
  }

  Handler handler_;
  int listener_;
  int port_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  std::thread acceptor_;
  std::vector<std::thread> threads_;  // of the acceptor thread until it is joined
  mutable std::mutex mutex_;
  std::vector<int> open_;
  std::vector<SeenRequest> requests_;
};

inline int64_t NowMs() {
  using std::chrono::milliseconds;
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Does one round of the owner's work: waits at most `most_ms` for the client's sockets and tells it what happened.
/// The timer is obeyed to the letter, so that a client that forgets to ask for it gets stuck here as it would outside.
inline void Turn(ApiClient* client, int most_ms = 10) {
  std::vector<pollfd> polled;
  for (const ApiClient::Socket& socket : client->Sockets()) {
    polled.push_back({socket.fd, static_cast<short>((socket.read ? POLLIN : 0) | (socket.write ? POLLOUT : 0)), 0});
  }
  const int timeout = client->TimeoutMs();
  poll(polled.data(), polled.size(), timeout < 0 ? most_ms : std::min(timeout, most_ms));
  for (const pollfd& ready : polled) {
    if (ready.revents != 0) {
      client->OnSocket(ready.fd, (ready.revents & POLLIN) != 0, (ready.revents & POLLOUT) != 0);
    }
  }
  if (client->TimeoutMs() == 0) client->OnTimer();
}

/// Turns until `done` holds; false at the deadline.
template <typename Condition>
bool RunUntil(ApiClient* client, Condition done, int deadline_ms = kDeadlineMs) {
  const int64_t end = NowMs() + deadline_ms;
  while (!done()) {
    if (NowMs() > end) return false;
    Turn(client);
  }
  return true;
}

/// The next `count` answers; fewer at the deadline.
inline std::vector<Answer> TakeAnswers(ApiClient* client, size_t count) {
  std::vector<Answer> answers;
  RunUntil(client, [&] {
    Answer answer;
    while (answers.size() < count && client->NextAnswer(&answer)) answers.push_back(answer);
    return answers.size() >= count;
  });
  return answers;
}

inline Answer TakeAnswer(ApiClient* client) {
  std::vector<Answer> answers = TakeAnswers(client, 1);
  if (answers.empty()) throw std::runtime_error("no answer came");
  return answers[0];
}

/// An account whose pacing is out of the way.
inline AccountAccess FastAccount(const std::string& api_url) {
  AccountAccess access;
  access.name = "acme";
  access.api_url = api_url;
  access.private_key = kKey;
  access.read_rate = access.write_rate = 10000;
  access.read_burst = access.write_burst = 10000;
  return access;
}

/// Sends the delete of some files as soon as there is room and a token for it.
inline void SendDelete(ApiClient* client, int account, const std::vector<FileToDelete>& files) {
  if (!RunUntil(client, [&] { return client->ReserveDeletes(account, 1) == 1; })) {
    throw std::runtime_error("no delete could be reserved");
  }
  client->Delete(account, files);
}
inline void SendDelete(ApiClient* client, int account, uint64_t ticket, const std::string& id) {
  SendDelete(client, account, {{ticket, id}});
}

/// One request of a fresh client to a server that answers it with `bytes`.
inline Answer FindOnce(const std::string& url, const LibraryPath& path, const TransportOptions& options = {}) {
  ApiClient client(options);
  client.Find(1, client.AddAccount(FastAccount(url)), path);
  return TakeAnswer(&client);
}
inline Answer DeleteOnce(const std::string& url, const std::string& id, const TransportOptions& options = {}) {
  ApiClient client(options);
  SendDelete(&client, client.AddAccount(FastAccount(url)), 1, id);
  return TakeAnswer(&client);
}

}  // namespace imagekit::test

#endif  // IMAGEKIT_TEST_UNIT_API_TEST_SUPPORT_H
