// A key in this process's memory: looked for byte by byte, as somebody would in a core dump.

#include "core/secret.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include "api_test_support.h"
#include "core/api_request.h"

namespace imagekit {
namespace {

using test::FastAccount;
using test::RunUntil;

// Nothing in this file may hold the key in the clear, or it would find itself.
constexpr char kMask = 0x55;

std::string Masked(std::string_view text) {
  std::string masked;
  masked.reserve(64);
  for (const char c : text) masked += static_cast<char>(c ^ kMask);
  return masked;
}

/// A key that stands nowhere in the program.
SecretText MakeKey() {
  SecretText key;
  key.reserve(64);
  for (int i = 0; i < 36; ++i) key += static_cast<char>("acegikmo"[i % 8] + i % 3);
  return key;
}

/// How often what `masked` masks stands in the writable memory of this process.
int CountInMemory(const std::string& masked) {
  constexpr size_t kChunk = 1 << 20;
  // Outside of what is searched: its pages are unmapped before the next range is read.
  std::ifstream maps("/proc/self/maps");
  const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(memory, 0);
  auto* buffer = static_cast<char*>(mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  int found = 0;
  std::string line;
  while (std::getline(maps, line)) {
    unsigned long from, to;
    char mode[5];
    if (sscanf(line.c_str(), "%lx-%lx %4s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w') continue;
    // AddressSanitizer's books of all addresses: terabytes, of which nothing is ours.
    if (to - from > (1ul << 30)) continue;
    const auto own = reinterpret_cast<unsigned long>(buffer);
    for (unsigned long at = from; at < to; at += kChunk - masked.size()) {
      if (at + kChunk > own && at < own + kChunk) continue;
      const size_t size = std::min<size_t>(kChunk, to - at);
      const ssize_t got = pread(memory, buffer, size, static_cast<off_t>(at));
      const char* at_most = buffer + got - static_cast<ssize_t>(masked.size());
      for (const char* place = buffer; place <= at_most; ++place) {
        // memchr() first: byte by byte, a sanitized build takes a minute.
        place = static_cast<const char*>(memchr(place, masked[0] ^ kMask, static_cast<size_t>(at_most - place) + 1));
        if (place == nullptr) break;
        size_t same = 0;
        while (same < masked.size() && static_cast<char>(place[same] ^ kMask) == masked[same]) ++same;
        if (same == masked.size()) ++found;
      }
      WipeMemory(buffer, kChunk);
    }
  }
  munmap(buffer, kChunk);
  close(memory);
  return found;
}

/// An HTTP server in a process of its own, for this one's memory is searched. It answers each request with an empty
/// list, once a byte has come through the pipe for it.
class ForkedServer {
 public:
  ForkedServer() {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 8) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0 || pipe(gate_) != 0) {
      throw std::runtime_error("the test server cannot listen");
    }
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    child_ = fork();
    if (child_ == 0) {
      close(gate_[1]);
      Serve(listener);
      _exit(0);
    }
    close(gate_[0]);
    close(listener);
  }
  ~ForkedServer() {
    close(gate_[1]);
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  void Answer() { EXPECT_EQ(write(gate_[1], "x", 1), 1); }
  const std::string& url() const { return url_; }

 private:
  void Serve(int listener) {
    static constexpr char kReply[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]";
    char byte, buffer[8192];
    const int connection = accept(listener, nullptr, nullptr);
    while (recv(connection, buffer, sizeof buffer, 0) > 0 && read(gate_[0], &byte, 1) == 1) {
      if (send(connection, kReply, sizeof kReply - 1, MSG_NOSIGNAL) < 0) return;
    }
  }

  std::string url_;
  int gate_[2];
  pid_t child_;
};

TEST(Secret, MaskedSecretReveals) {
  const MaskedSecret secret("private_x");
  EXPECT_EQ(View(secret.Reveal()), "private_x");
  EXPECT_EQ(View(MaskedSecret("").Reveal()), "");
}

TEST(Secret, WipingMemoryKeepsWhatItHoldsWhenItGrows) {
  auto* text = static_cast<char*>(WipingStrdup("grows"));
  text = static_cast<char*>(WipingRealloc(text, 1 << 16));
  EXPECT_STREQ(text, "grows");
  text = static_cast<char*>(WipingRealloc(text, 6));
  EXPECT_STREQ(text, "grows");
  WipingFree(text);
  WipingFree(nullptr);
  WipingFree(WipingRealloc(nullptr, 10));
  auto* zeros = static_cast<char*>(WipingCalloc(4, 4));
  EXPECT_EQ(zeros[15], 0);
  WipingFree(zeros);
}

TEST(Secret, KeyStandsInMemoryOnlyWhileARequestIsOut) {
  ForkedServer server;
  std::string key, credentials;
  {
    const SecretText clear = MakeKey();
    key = Masked(View(clear));
    credentials = Masked(View(BasicCredentials(View(clear))).substr(6));
  }
  ASSERT_EQ(CountInMemory(key), 0) << "the test keeps a copy of its own";

  auto client = std::make_unique<ApiClient>(TransportOptions());
  int account;
  {
    AccountAccess access = FastAccount(server.url());
    access.private_key = MakeKey();
    account = client->AddAccount(access);
  }
  EXPECT_EQ(CountInMemory(key) + CountInMemory(credentials), 0) << "an account at rest";
  for (int round = 0; round < 3; ++round) {
    client->Find(1, account, {"/pets", "cat.jpg"});
    for (int turn = 0; turn < 50; ++turn) test::Turn(client.get());
    EXPECT_GT(CountInMemory(credentials), 0) << "on its way, or this test could not find it at all";
    server.Answer();
    EXPECT_EQ(test::TakeAnswer(client.get()).verdict, Verdict::kNotFound);
    EXPECT_EQ(CountInMemory(key), 0) << "after request " << round;
    EXPECT_EQ(CountInMemory(credentials), 0) << "after request " << round;
  }
  client->Find(2, account, {"/pets", "dog.jpg"});
  for (int turn = 0; turn < 50; ++turn) test::Turn(client.get());
  client->Abandon();
  EXPECT_EQ(CountInMemory(key) + CountInMemory(credentials), 0) << "after a request that was broken off";
  client.reset();
  EXPECT_EQ(CountInMemory(key) + CountInMemory(credentials), 0) << "after the client";
}

}  // namespace
}  // namespace imagekit
