// Proves how the client behaves when the network does not: refusals, resets, stalls, redirects, wrong certificates,
// signals, and an owner who changes his mind.

#include <curl/curl.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>

#include "api_test_support.h"
#include "core/api.h"

namespace {

// Where the resolver of this program hangs; see getaddrinfo below.
std::mutex hang_mutex;
std::condition_variable hang_changed;
bool hang_on = false;
int hang_count = 0;
pid_t hang_thread = 0;

}  // namespace

// Stands before the C library's resolver in this whole program. The name hang.invalid hangs while a HangingResolver
// lives; other names under .invalid do not exist, without any name server being asked.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
  const std::string name = node == nullptr ? "" : node;
  if (name == "hang.invalid") {
    std::unique_lock<std::mutex> lock(hang_mutex);
    ++hang_count;
    hang_thread = gettid();
    hang_changed.wait(lock, [] { return !hang_on; });
    --hang_count;
    hang_changed.notify_all();
  }
  if (name.size() > 8 && name.compare(name.size() - 8, 8, ".invalid") == 0) return EAI_NONAME;
  const auto next = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  return next(node, service, hints, result);
}

namespace imagekit {
namespace {

using namespace test;

class HangingResolver {
 public:
  HangingResolver() {
    const std::lock_guard<std::mutex> lock(hang_mutex);
    hang_on = true;
  }
  /// Lets the threads go and waits until they have left, so that the next test starts afresh.
  ~HangingResolver() {
    std::unique_lock<std::mutex> lock(hang_mutex);
    hang_on = false;
    hang_changed.notify_all();
    hang_changed.wait_for(lock, std::chrono::milliseconds(kDeadlineMs), [] { return hang_count == 0; });
  }
  int hanging() const {
    const std::lock_guard<std::mutex> lock(hang_mutex);
    return hang_count;
  }
  pid_t thread() const {
    const std::lock_guard<std::mutex> lock(hang_mutex);
    return hang_thread;
  }
};

const LibraryPath kCat = {"/pets", "cat.jpg"};
constexpr char kId[] = "67c6d1a4432c47641600aa01";

/// Patience for tests that wait for it to end.
TransportOptions Impatient(int request_timeout_ms = 300) {
  TransportOptions options;
  options.request_timeout_ms = request_timeout_ms;
  return options;
}

TEST(ApiTransport, RefusedConnectionIsTransientAndSaysWho) {
  std::string authority;
  {
    ScriptedServer gone(NoContent());
    authority = gone.authority();
  }
  const Answer answer = DeleteOnce("http://" + authority, kId);
  EXPECT_EQ(answer.verdict, Verdict::kTransient);
  EXPECT_EQ(answer.http_status, 0);
  EXPECT_EQ(answer.detail, "connection refused by " + authority);
}

TEST(ApiTransport, ResetBeforeTheAnswerIsTransient) {
  ScriptedServer server([](const SeenRequest&, Connection& connection) { connection.Close(true); });
  const Answer answer = DeleteOnce(server.url(), kId);
  EXPECT_EQ(answer.verdict, Verdict::kTransient) << answer.detail;
  EXPECT_EQ(answer.http_status, 0);
  EXPECT_FALSE(answer.detail.empty());
}

TEST(ApiTransport, AnswerCutShortIsTransientAndNeverRead) {
  // What came is a perfect hit; what was announced is longer.
  const std::string list = "[" + FileJson(kId, "/pets", "cat.jpg") + "]";
  ScriptedServer server([&](const SeenRequest&, Connection& connection) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(list.size() + 1) + "\r\n\r\n" + list);
    connection.Close();
  });
  EXPECT_EQ(FindOnce(server.url(), kCat).verdict, Verdict::kTransient);
}

TEST(ApiTransport, SilentServerTimesOutInWords) {
  ScriptedServer server([](const SeenRequest&, Connection& connection) { connection.WaitForClose(); });
  const Answer answer = DeleteOnce(server.url(), kId, Impatient());
  EXPECT_EQ(answer.verdict, Verdict::kTransient);
  EXPECT_EQ(answer.http_status, 0);
  EXPECT_EQ(answer.detail, "no answer within 300 ms");
}

TEST(ApiTransport, BodyThatStallsTimesOut) {
  ScriptedServer stalled([](const SeenRequest&, Connection& connection) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[");
    connection.WaitForClose();
  });
  const Answer answer = FindOnce(stalled.url(), kCat, Impatient());
  EXPECT_EQ(answer.verdict, Verdict::kTransient);
  EXPECT_EQ(answer.detail, "HTTP 200: the answer was not complete within 300 ms");
}

TEST(ApiTransport, SilentConnectionIsGivenUpBeforeTheWholeTimeHasPassed) {
  ScriptedServer server([](const SeenRequest&, Connection& connection) { connection.WaitForClose(); });
  const Answer answer = DeleteOnce(server.url(), kId, Impatient(3900));
  EXPECT_EQ(answer.verdict, Verdict::kTransient);
  EXPECT_EQ(answer.detail, "not a byte came for 1 s");
}

TEST(ApiTransport, BodyAboveTheCapIsBrokenAndNotKept) {
  TransportOptions options;
  options.max_body_bytes = 1000;
  ScriptedServer endless([](const SeenRequest&, Connection& connection) {
    connection.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (connection.Send("10\r\n[[[[[[[[[[[[[[[[\r\n")) {
    }
    connection.Close();
  });
  const Answer answer = FindOnce(endless.url(), kCat, options);
  EXPECT_EQ(answer.verdict, Verdict::kBroken);
  EXPECT_EQ(answer.detail, "HTTP 200: the answer is longer than 1000 bytes");
  ScriptedServer exact(Reply(200, "[" + std::string(998, ' ') + "]"));
  EXPECT_EQ(FindOnce(exact.url(), kCat, options).verdict, Verdict::kNotFound);
}

TEST(ApiTransport, EndlessHeadersAreBroken) {
  ScriptedServer server([](const SeenRequest&, Connection& connection) {
    connection.Send("HTTP/1.1 200 OK\r\n");
    while (connection.Send("X-Filler: " + std::string(1000, 'x') + "\r\n")) {
    }
    connection.Close();
  });
  EXPECT_EQ(FindOnce(server.url(), kCat).verdict, Verdict::kBroken);
}

// A redirect would carry the key to whoever wrote the Location header.
TEST(ApiTransport, RedirectIsNotFollowedAndTheKeyStaysHome) {
  ScriptedServer other(Reply(200, "[]"));
  for (const int status : {301, 302, 303, 307, 308}) {
    ScriptedServer server(Reply(status, "", "Location: " + other.url() + "/v1/files\r\n"));
    const Answer find = FindOnce(server.url(), kCat);
    EXPECT_EQ(find.verdict, Verdict::kBroken);
    EXPECT_NE(find.detail.find("a redirect to " + other.url()), std::string::npos) << find.detail;
    EXPECT_EQ(DeleteOnce(server.url(), kId).verdict, Verdict::kBroken);
  }
  EXPECT_EQ(other.connections(), 0);
}

TEST(ApiTransport, ProxyAndPasswordFilesOfTheEnvironmentAreIgnored) {
  ScriptedServer proxy(Reply(200, "[]"));
  ScriptedServer server(Reply(200, "[]"));
  const std::string netrc = testing::TempDir() + "/.netrc";
  std::ofstream(netrc) << "machine 127.0.0.1 login evil password evil\n";
  setenv("http_proxy", proxy.url().c_str(), 1);
  setenv("all_proxy", proxy.url().c_str(), 1);
  const char* home = getenv("HOME");
  const std::string home_before = home == nullptr ? "" : home;
  setenv("HOME", testing::TempDir().c_str(), 1);
  EXPECT_EQ(FindOnce(server.url(), kCat).verdict, Verdict::kNotFound);
  setenv("HOME", home_before.c_str(), 1);
  unsetenv("http_proxy");
  unsetenv("all_proxy");
  std::remove(netrc.c_str());
  EXPECT_EQ(proxy.connections(), 0);
  ASSERT_EQ(server.request_count(), 1u);
  EXPECT_EQ(server.requests()[0].Header("Authorization"), kAuthorization);
}

TEST(ApiTransport, EncryptedRequestsGoThroughTheProxyAndTheKeyIsNotForIt) {
  ScriptedServer proxy([](const SeenRequest&, Connection& connection) {
    connection.Send(Reply(407, "wrong pass%77ord, passw0rd", "x-request-id: the-proxys\r\n", "text/plain"));
    connection.Close();
  });
  for (const std::string& user_info : {std::string(), std::string("user:pass%770rd@")}) {
    TransportOptions options;
    options.proxy = "http://" + user_info + proxy.authority();
    setenv("no_proxy", "*", 1);
    const Answer answer = FindOnce("https://api.imagekit.io", kCat, options);
    unsetenv("no_proxy");
    EXPECT_EQ(answer.verdict, Verdict::kTransient);
    EXPECT_NE(answer.detail.find("api.imagekit.io through the proxy " + proxy.authority()), std::string::npos)
        << answer.detail;
    EXPECT_EQ(answer.detail.find("passw"), std::string::npos) << answer.detail;
    EXPECT_EQ(answer.detail.find("the-proxys"), std::string::npos) << "its headers are not ImageKit's";
    const SeenRequest request = proxy.requests().back();
    EXPECT_EQ(request.method, "CONNECT");
    EXPECT_EQ(request.target, "api.imagekit.io:443");
    EXPECT_EQ(request.Header("Authorization"), "") << "the key is for ImageKit";
    EXPECT_EQ(request.Header("Proxy-Authorization"), user_info.empty() ? "" : "Basic dXNlcjpwYXNzdzByZA==");
  }
}

TEST(ApiTransport, PlainRequestsGoThroughAProxyOfThisMachineAlone) {
  ScriptedServer proxy(Reply(200, "[]"));
  ScriptedServer server(Reply(200, "[]"));
  TransportOptions options;
  options.proxy = "http://" + proxy.authority();
  EXPECT_EQ(FindOnce(server.url(), kCat, options).verdict, Verdict::kNotFound);
  EXPECT_EQ(proxy.request_count(), 1u);
  EXPECT_EQ(server.request_count(), 0u);
  options.proxy = "http://proxy.invalid:3128";
  EXPECT_EQ(FindOnce(server.url(), kCat, options).verdict, Verdict::kNotFound) << "it would see the key";
  EXPECT_EQ(server.request_count(), 1u);
}

// A proxy that repeats what it was sent, in its answer to a request that it let through.
TEST(ApiTransport, PasswordOfTheProxyIsNeverShown) {
  for (const char* form : {"pass%77ord+1", "password+1", "dXNlcjpwYXNzd29yZCsx"}) {
    ScriptedServer proxy(Reply(500, "refused: " + std::string(form) + ".", "", "text/plain"));
    TransportOptions options;
    options.proxy = "http://user:pass%77ord+1@" + proxy.authority();
    const Answer answer = FindOnce("http://127.0.0.1:1", kCat, options);
    EXPECT_EQ(answer.detail, "HTTP 500: refused: ***.");
  }
  TransportOptions options;
  options.proxy = "http://user:password@unknown.invalid:1";
  const Answer answer = FindOnce("https://api.imagekit.io", kCat, options);
  EXPECT_EQ(answer.verdict, Verdict::kTransient);
  EXPECT_EQ(answer.detail.find("password"), std::string::npos) << answer.detail;
  EXPECT_NE(answer.detail.find("unknown.invalid"), std::string::npos) << answer.detail;
}

TEST(ApiTransport, CookiesAreNotKept) {
  ScriptedServer server(Reply(200, "[]", "Set-Cookie: a=b; Path=/\r\n"));
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  for (int i = 0; i < 2; ++i) {
    client.Find(1, account, kCat);
    TakeAnswer(&client);
  }
  EXPECT_EQ(server.requests().at(1).Header("Cookie"), "");
}

TEST(ApiTransport, ConnectionIsUsedAgain) {
  ScriptedServer server(Reply(200, "[]"));
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  for (int i = 0; i < 5; ++i) {
    client.Find(1, account, kCat);
    EXPECT_EQ(TakeAnswer(&client).verdict, Verdict::kNotFound);
  }
  EXPECT_EQ(server.connections(), 1);
}

// The pool's handles must not carry one request's method or account into the next.
TEST(ApiTransport, AccountsOnOneHostKeepTheirOwnKeys) {
  ScriptedServer server([](const SeenRequest& request, Connection& connection) {
    connection.Send(request.method == "DELETE" ? NoContent() : Reply(200, "[]"));
  });
  ApiClient client({});
  const int one = client.AddAccount(FastAccount(server.url()));
  AccountAccess access = FastAccount(server.url());
  access.private_key = "other";
  const int two = client.AddAccount(access);
  SendDelete(&client, one, 1, kId);
  TakeAnswer(&client);
  client.Find(2, two, kCat);
  TakeAnswer(&client);
  EXPECT_EQ(server.requests().at(0).Header("Authorization"), kAuthorization);
  EXPECT_EQ(server.requests().at(1).Header("Authorization"), "Basic b3RoZXI6");
  EXPECT_EQ(server.requests().at(1).method, "GET");
}

TEST(ApiTransport, NoMoreRequestsOnTheWireThanAllowed) {
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  Gate gate;
  ScriptedServer server([&](const SeenRequest&, Connection& connection) {
    const int here = ++now;
    int before = most;
    while (before < here && !most.compare_exchange_weak(before, here)) {
    }
    gate.Wait();
    --now;
    connection.Send(NoContent());
  });
  TransportOptions options;
  options.max_in_flight = 3;
  ApiClient client(options);
  const int account = client.AddAccount(FastAccount(server.url()));
  for (uint64_t ticket = 0; ticket < 3; ++ticket) SendDelete(&client, account, ticket, kId);
  for (uint64_t ticket = 3; ticket < 20; ++ticket) client.Find(ticket, account, {"/f" + std::to_string(ticket), "a\""});
  ASSERT_TRUE(RunUntil(&client, [&] { return now == 3; }));
  EXPECT_EQ(client.ReserveDeletes(account, 1), 0);
  RunUntil(
      &client, [&] { return false; }, 200);
  EXPECT_NE(client.TimeoutMs(), 0) << "a full wire is nothing to spin for";
  gate.Open();
  EXPECT_EQ(TakeAnswers(&client, 20).size(), 20u);
  EXPECT_EQ(most, 3);
}

TEST(ApiTransport, SlowRequestDoesNotDelayAnother) {
  Gate gate;
  ScriptedServer server([&](const SeenRequest& request, Connection& connection) {
    if (request.method == "DELETE") gate.Wait();
    connection.Send(request.method == "DELETE" ? NoContent() : Reply(200, "[]"));
  });
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  SendDelete(&client, account, 1, kId);
  client.Find(2, account, kCat);
  EXPECT_EQ(TakeAnswer(&client).ticket, 2u);
  gate.Open();
  EXPECT_EQ(TakeAnswer(&client).ticket, 1u);
}

TEST(ApiTransport, AbandonDropsWhatIsQueuedAndOnTheWire) {
  Gate gate;
  ScriptedServer server([&](const SeenRequest& request, Connection& connection) {
    if (request.method == "DELETE") {
      connection.WaitForClose();
      gate.Open();
      return connection.Close();
    }
    connection.Send(Reply(200, "[]"));
  });
  TransportOptions options;
  options.max_in_flight = 1;
  ApiClient client(options);
  const int account = client.AddAccount(FastAccount(server.url()));
  SendDelete(&client, account, 0, kId);
  for (uint64_t ticket = 1; ticket < 5; ++ticket) client.Find(ticket, account, kCat);
  client.Purge(5, account, "https://ik.imagekit.io/acme/cat.jpg");
  ASSERT_TRUE(RunUntil(&client, [&] { return server.request_count() == 1; }));
  client.Abandon();
  EXPECT_FALSE(client.Busy());
  EXPECT_TRUE(client.Sockets().empty());
  gate.Wait();  // the connection was closed at once
  Answer answer;
  EXPECT_FALSE(client.NextAnswer(&answer));
  // And the client goes on working.
  client.Find(9, account, kCat);
  EXPECT_EQ(TakeAnswer(&client).ticket, 9u);
  EXPECT_EQ(server.request_count(), 2u);
}

TEST(ApiTransport, AnswersThatHaveComeSurviveAbandon) {
  ScriptedServer server(NoContent());
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  SendDelete(&client, account, 1, kId);
  // The answer has come when libcurl watches nothing any more.
  ASSERT_TRUE(RunUntil(&client, [&] { return server.request_count() == 1 && client.Sockets().empty(); }));
  client.Abandon();
  EXPECT_EQ(TakeAnswer(&client).verdict, Verdict::kDeleted);
}

TEST(ApiTransport, DestructionWithRequestsOnTheWireClosesTheirConnections) {
  Gate gate;
  ScriptedServer server([&](const SeenRequest&, Connection& connection) {
    connection.WaitForClose();
    gate.Open();
    connection.Close();
  });
  auto client = std::make_unique<ApiClient>(TransportOptions());
  SendDelete(client.get(), client->AddAccount(FastAccount(server.url())), 1, kId);
  ASSERT_TRUE(RunUntil(client.get(), [&] { return server.request_count() == 1; }));
  client.reset();
  gate.Wait();
}

// A name server that answers at its leisure must hold up neither Abandon nor the destructor nor the time-out.
TEST(ApiTransport, NothingWaitsForAHangingResolver) {
  if (curl_version_info(CURLVERSION_NOW)->version_num < 0x075700) GTEST_SKIP() << "libcurl before 7.87 has to wait";
  HangingResolver resolver;
  TransportOptions options = Impatient();
  ApiClient client(options);
  const int account = client.AddAccount(FastAccount("https://hang.invalid"));
  client.Find(1, account, kCat);
  const Answer answer = TakeAnswer(&client);
  EXPECT_EQ(answer.verdict, Verdict::kTransient);
  EXPECT_EQ(answer.detail, "no connection to hang.invalid within 300 ms");

  client.Find(2, account, kCat);
  ASSERT_TRUE(RunUntil(&client, [&] { return resolver.hanging() == 2; }));
  client.Abandon();
  EXPECT_FALSE(client.Busy());

  auto other = std::make_unique<ApiClient>(options);
  other->Find(3, other->AddAccount(FastAccount("https://hang.invalid")), kCat);
  ASSERT_TRUE(RunUntil(other.get(), [&] { return resolver.hanging() == 3; }));
  other.reset();
  EXPECT_EQ(resolver.hanging(), 3) << "all of this while the resolver hung";
}

TEST(ApiTransport, UnknownNameIsTransientAndNamed) {
  ApiClient client({});
  client.Purge(1, client.AddAccount(FastAccount("https://unknown.invalid")), "https://ik.imagekit.io/acme/a.jpg");
  for (const Answer& answer :
       {FindOnce("https://unknown.invalid", kCat), DeleteOnce("https://unknown.invalid", kId), TakeAnswer(&client)}) {
    EXPECT_EQ(answer.verdict, Verdict::kTransient);
    EXPECT_EQ(answer.http_status, 0);
    EXPECT_EQ(answer.detail, "the name in unknown.invalid could not be resolved");
  }
}

TEST(ApiTransport, VersionChangesWheneverTheSocketsDo) {
  ScriptedServer server(Reply(200, "[]"));
  ApiClient client({});
  const int account = client.AddAccount(FastAccount(server.url()));
  for (uint64_t ticket = 0; ticket < 20; ++ticket)
    client.Find(ticket, account, {"/f" + std::to_string(ticket), "a\"b"});
  const auto snapshot = [&] {
    std::ostringstream text;
    for (const ApiClient::Socket& socket : client.Sockets()) text << socket.fd << socket.read << socket.write << ' ';
    return text.str();
  };
  std::string before = snapshot();
  uint64_t version = client.SocketsVersion();
  int changes = 0;
  Answer answer;
  int answers = 0;
  EXPECT_TRUE(RunUntil(&client, [&] {
    const std::string now = snapshot();
    if (now != before) {
      EXPECT_NE(client.SocketsVersion(), version);
      ++changes;
    }
    before = now;
    version = client.SocketsVersion();
    while (client.NextAnswer(&answer)) ++answers;
    return answers == 20;
  }));
  EXPECT_GT(changes, 0);
}

TEST(ApiTransport, EventsOfForeignOrClosedSocketsAreHarmless) {
  ScriptedServer server(NoContent());
  ApiClient client({});
  SendDelete(&client, client.AddAccount(FastAccount(server.url())), 1, kId);
  for (int fd = -1; fd < 100; ++fd) client.OnSocket(fd, true, true);
  EXPECT_EQ(TakeAnswer(&client).verdict, Verdict::kDeleted);
  for (int fd = -1; fd < 100; ++fd) client.OnSocket(fd, false, false);
}

/// The signals a thread of this process blocks, as bits.
uint64_t BlockedBy(pid_t thread) {
  std::ifstream status("/proc/self/task/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("SigBlk:", 0) == 0) return std::stoull(line.substr(7), nullptr, 16);
  }
  return 0;
}

// The server's handlers expect the server's one thread.
TEST(ApiTransport, ResolverThreadsBlockTheServersSignals) {
  HangingResolver resolver;
  const uint64_t before = BlockedBy(gettid());
  ApiClient client({});
  client.Find(1, client.AddAccount(FastAccount("https://hang.invalid")), kCat);
  ASSERT_TRUE(RunUntil(&client, [&] { return resolver.hanging() == 1; }));
  const uint64_t blocked = BlockedBy(resolver.thread());
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGCHLD}) {
    EXPECT_NE(blocked >> (signal - 1) & 1, 0u) << "signal " << signal;
  }
  EXPECT_EQ(BlockedBy(gettid()), before) << "and our own mask is as it was";
}

// TLS, against the openssl program with a certificate of its own.
class ApiTls : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/api_tls_XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    directory_ = pattern;
    if (Run("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "
            "subjectAltName=DNS:localhost -keyout " +
            directory_ + "/key.pem -out " + directory_ + "/cert.pem") != 0) {
      GTEST_SKIP() << "no openssl program";
    }
  }
  void TearDown() override {
    if (server_ > 0) {
      kill(server_, SIGTERM);
      waitpid(server_, nullptr, 0);
    }
    Run("rm -r " + directory_);
  }

  static int Run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()); }

  /// Starts a server that answers every GET with an HTML page of its own; returns its port once it listens.
  int Serve() {
    int output[2];
    if (pipe(output) != 0) return 0;
    const std::string key = directory_ + "/key.pem";
    const std::string certificate = directory_ + "/cert.pem";
    server_ = fork();
    if (server_ == 0) {
      dup2(output[1], STDOUT_FILENO);
      close(output[0]);
      // A refused handshake is what the test wants; the server's complaint about it is noise.
      if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(126);
      execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-key", key.c_str(), "-cert",
             certificate.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    close(output[1]);
    std::string text;
    pollfd wait = {output[0], POLLIN, 0};
    const int64_t end = NowMs() + kDeadlineMs;
    const std::string announcement = "ACCEPT 127.0.0.1:";
    while (NowMs() < end && poll(&wait, 1, 1000) >= 0) {
      char buffer[256];
      const ssize_t n = wait.revents == 0 ? 0 : read(output[0], buffer, sizeof(buffer));
      if (n < 0 || (n == 0 && wait.revents != 0)) break;
      text.append(buffer, static_cast<size_t>(n));
      const size_t at = text.find(announcement);
      if (at != std::string::npos && text.find('\n', at) != std::string::npos) {
        output_ = output[0];  // kept open: the server goes on writing to it
        return std::stoi(text.substr(at + announcement.size()));
      }
    }
    return 0;
  }

  std::string directory_;
  pid_t server_ = -1;
  int output_ = -1;
};

TEST_F(ApiTls, CertificateIsCheckedAgainstTheBundleAndTheHost) {
  const int port = Serve();
  ASSERT_GT(port, 0);
  const std::string at_port = ":" + std::to_string(port);

  const Answer unknown = FindOnce("https://localhost" + at_port, kCat);
  EXPECT_EQ(unknown.verdict, Verdict::kBroken);
  EXPECT_EQ(unknown.http_status, 0);
  EXPECT_NE(unknown.detail.find("certificate"), std::string::npos) << unknown.detail;
  const Answer deletion = DeleteOnce("https://localhost" + at_port, kId);
  EXPECT_EQ(deletion.verdict, Verdict::kBroken) << "it was not sent";
  EXPECT_EQ(deletion.detail, unknown.detail);

  TransportOptions options;
  options.ca_file = directory_ + "/cert.pem";
  const Answer trusted = FindOnce("https://localhost" + at_port, kCat, options);
  EXPECT_EQ(trusted.http_status, 200) << trusted.detail;
  EXPECT_EQ(trusted.detail, "HTTP 200: an HTML page, not an answer of ImageKit");

  const Answer other_name = FindOnce("https://127.0.0.1" + at_port, kCat, options);
  EXPECT_EQ(other_name.verdict, Verdict::kBroken);
  EXPECT_EQ(other_name.http_status, 0);

  options.ca_file = directory_ + "/missing.pem";
  const Answer no_bundle = FindOnce("https://localhost" + at_port, kCat, options);
  EXPECT_EQ(no_bundle.verdict, Verdict::kBroken);
  EXPECT_EQ(no_bundle.http_status, 0);
}

}  // namespace
}  // namespace imagekit
