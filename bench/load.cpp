// How much the emulator can take: a client that does nothing with the answers. What a drain is measured against the
// emulator cannot exceed what this finds, so it stands beside the drain's figures.
//
//   load PORT KEY CONNECTIONS FILES
//
// First every connection lists one file, again and again, for two seconds: requests a second. Then the library's FILES
// files, named f0000000.jpg and on, are deleted by as few requests as the API allows at an engine's default sizes: 25
// names a search, 50 ids a delete: files a second. Prints {"requests_per_s", "files_per_s"}. Blocking sockets, a thread a
// connection, no retries: an unexpected answer ends it.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kNamesPerSearch = 25;
constexpr int kSearchesPerDelete = 2;

[[noreturn]] void Fail(const std::string &why) {
  std::fprintf(stderr, "load: %s\n", why.c_str());
  std::_Exit(1);
}

std::string Base64(const std::string &bytes) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? letters[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

class Connection {
 public:
  Connection(int port, const std::string &key) : credentials_(Base64(key + ":")) {
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int yes = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) Fail("cannot connect");
  }
  ~Connection() { close(fd_); }
  Connection(const Connection &) = delete;
  Connection &operator=(const Connection &) = delete;

  /// The body of the answer, which must be a 200.
  std::string Ask(const std::string &method, const std::string &target, const std::string &body = "") {
    std::string request = method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic " + credentials_ + "\r\n";
    if (!body.empty())
      request += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    request += "\r\n" + body;
    for (std::size_t sent = 0; sent < request.size();) {
      const ssize_t wrote = send(fd_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (wrote <= 0) Fail("cannot send");
      sent += static_cast<std::size_t>(wrote);
    }
    std::string answer;
    std::size_t head = std::string::npos, whole = 0;
    while (head == std::string::npos || answer.size() < whole) {
      char piece[65536];
      const ssize_t got = recv(fd_, piece, sizeof piece, 0);
      if (got <= 0) Fail("the emulator hung up");
      answer.append(piece, static_cast<std::size_t>(got));
      if (head == std::string::npos && (head = answer.find("\r\n\r\n")) != std::string::npos) {
        const std::size_t at = answer.find("Content-Length: ");
        if (answer.compare(0, 12, "HTTP/1.1 200") != 0 || at > head) Fail("unexpected answer: " + answer.substr(0, 500));
        whole = head + 4 + std::strtoul(answer.c_str() + at + 16, nullptr, 10);
      }
    }
    return answer.substr(head + 4);
  }

 private:
  int fd_ = -1;
  const std::string credentials_;
};

// The ids in an answer, as the elements of a JSON list.
std::string IdsIn(const std::string &answer, int *count) {
  static const std::string mark = "\"fileId\":\"";
  std::string out;
  for (std::size_t at = answer.find(mark); at != std::string::npos; at = answer.find(mark, at + 1)) {
    const std::size_t start = at + mark.size();
    out += (out.empty() ? "\"" : ",\"") + answer.substr(start, answer.find('"', start) - start) + "\"";
    ++*count;
  }
  return out;
}

std::string Search(int first, int last) {
  std::string target = "/v1/files?limit=1000&searchQuery=type%20%3D%20%22file%22%20AND%20name%20IN%20%5B";
  for (int file = first; file < last; ++file) {
    char name[40];
    std::snprintf(name, sizeof name, "%s%%22f%07d.jpg%%22", file > first ? "%2C" : "", file);
    target += name;
  }
  return target + "%5D";
}

template <typename Work>
double Seconds(int connections, int port, const std::string &key, Work work) {
  std::vector<std::thread> threads;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < connections; ++i)
    threads.emplace_back([&] {
      Connection connection(port, key);
      work(&connection);
    });
  for (std::thread &thread : threads) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5) Fail("load PORT KEY CONNECTIONS FILES");
  const int port = std::atoi(argv[1]), connections = std::atoi(argv[3]), files = std::atoi(argv[4]);
  const std::string key = argv[2];

  std::atomic<long> requests{0}, deleted{0};
  std::atomic<int> next{0};
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  const double trivial = Seconds(connections, port, key, [&](Connection *connection) {
    for (; std::chrono::steady_clock::now() < end; ++requests) connection->Ask("GET", "/v1/files?limit=1");
  });
  const double drain = Seconds(connections, port, key, [&](Connection *connection) {
    constexpr int portion = kNamesPerSearch * kSearchesPerDelete;
    for (int first = next.fetch_add(portion); first < files; first = next.fetch_add(portion)) {
      std::string ids;
      int count = 0;
      for (int from = first; from < std::min(first + portion, files); from += kNamesPerSearch) {
        const std::string found =
            IdsIn(connection->Ask("GET", Search(from, std::min(from + kNamesPerSearch, files))), &count);
        ids += (ids.empty() || found.empty() ? "" : ",") + found;
      }
      connection->Ask("POST", "/v1/files/batch/deleteByFileIds", "{\"fileIds\":[" + ids + "]}");
      deleted += count;
    }
  });
  if (deleted != files) Fail("deleted " + std::to_string(deleted) + " files, not " + std::to_string(files));
  std::printf("{\"requests_per_s\":%.0f,\"files_per_s\":%.0f}\n", static_cast<double>(requests) / trivial,
              static_cast<double>(deleted) / drain);
}
