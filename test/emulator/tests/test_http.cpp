// The transport, over real connections: what a client sees of resets, stalls, slow and broken bodies, and the process's
// own promises (port file, prompt end).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "times.h"

extern char **environ;

namespace ikemu {

namespace {

// A running emulator process; ended, at the latest, with this object.
class Process {
  public:
    explicit Process(std::vector<std::string> arguments = {}) {
        std::string pattern = (std::filesystem::temp_directory_path() / "imagekit-emulator-XXXXXX").string();
        directory_ = mkdtemp(pattern.data());
        arguments.insert(arguments.begin(), {EMULATOR_BINARY, "--port-file", directory_ + "/port"});
        std::vector<char *> argv;
        for (std::string &argument : arguments)
            argv.push_back(argument.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        EXPECT_EQ(posix_spawn(&pid, EMULATOR_BINARY, &actions, nullptr, argv.data(), environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        const std::int64_t until = monotonic_ms() + 10000;
        while (port == 0 && monotonic_ms() < until) {
            std::ifstream(directory_ + "/port") >> port;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        EXPECT_NE(port, 0);
    }
    ~Process() {
        if (pid > 0) {
            kill(pid, SIGKILL);
            waitpid(pid, nullptr, 0);
        }
        std::filesystem::remove_all(directory_);
    }
    // Waits for the process to end; the time that took, or -1 after five seconds.
    std::int64_t ended() {
        const std::int64_t started = monotonic_ms();
        while (monotonic_ms() < started + 5000) {
            if (waitpid(pid, nullptr, WNOHANG) == pid) {
                pid = 0;
                return monotonic_ms() - started;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
        return -1;
    }

    pid_t pid = 0;
    int port = 0;

  private:
    std::string directory_;
};

class Http : public ::testing::Test {
  protected:
    std::unique_ptr<httplib::Client> client() {
        auto out = std::make_unique<httplib::Client>("127.0.0.1", process.port);
        out->set_basic_auth("private_test_acme", "");
        out->set_read_timeout(10);
        out->set_tcp_nodelay(true);
        return out;
    }
    std::string control(const std::string &call, const std::string &body = "") {
        const auto reply = client()->Post("/_control/" + call, body, "application/json");
        EXPECT_TRUE(reply && reply->status == 200);
        return reply ? reply->body : "";
    }
    std::string seed_one() {
        const std::string answer = control("seed", R"(["/a.jpg"])");
        return answer.substr(answer.find('[') + 2, 24);
    }
    bool stalled(int wanted) {
        const std::int64_t until = monotonic_ms() + 10000;
        while (monotonic_ms() < until) {
            const auto health = client()->Get("/_control/health");
            if (health && health->body.find("\"stalled\":" + std::to_string(wanted)) != std::string::npos)
                return true;
        }
        return false;
    }
    std::string count() { return client()->Get("/_control/count")->body; }

    Process process;
};

TEST_F(Http, KeepsConnectionsAlive) {
    const auto one = client();
    one->set_keep_alive(true);
    for (int i = 0; i < 300; ++i) {
        const auto reply = one->Get("/v1/files");
        ASSERT_TRUE(reply);
        ASSERT_EQ(reply->status, 200);
        ASSERT_EQ(reply->get_header_value("Connection"), "");
    }
}

TEST_F(Http, ResetIsAnErrorForTheClientWithOrWithoutTheEffect) {
    const std::string id = seed_one();
    control("faults", R"({"kind":"reset_before"})");
    EXPECT_FALSE(client()->Delete("/v1/files/" + id));
    EXPECT_NE(count().find("\"count\":1"), std::string::npos);
    control("faults", R"({"kind":"reset_after"})");
    EXPECT_FALSE(client()->Delete("/v1/files/" + id));
    EXPECT_NE(count().find("\"count\":0"), std::string::npos);
    EXPECT_EQ(client()->Delete("/v1/files/" + id)->status, 404);
}

TEST_F(Http, ACutBodyIsAnErrorForTheClient) {
    seed_one();
    control("faults", R"({"kind":"cut_body"})");
    std::string got;
    EXPECT_FALSE(client()->Get("/v1/files", [&](const char *data, std::size_t size) {
        got.append(data, size);
        return true;
    }));
    EXPECT_GT(got.size(), 100u) << "half of the body arrives first";
}

TEST_F(Http, ASlowBodyTakesItsTimeAndIsWhole) {
    seed_one();
    const std::string whole = client()->Get("/v1/files")->body;
    control("faults", R"({"kind":"slow_body","ms":300})");
    const std::int64_t started = monotonic_ms();
    EXPECT_EQ(client()->Get("/v1/files")->body, whole);
    EXPECT_GE(monotonic_ms() - started, 250);
}

TEST_F(Http, AHugeBodyIsAsLongAsAskedAndStillJson) {
    control("faults", R"({"kind":"huge_body","bytes":3000001})");
    const std::string body = client()->Get("/v1/files")->body;
    EXPECT_EQ(body.size(), 3000001u);
    EXPECT_EQ(body.front(), '[');
    EXPECT_EQ(body.back(), ']');
}

TEST_F(Http, StalledRequestsBlockNobody) {
    control("faults", R"({"kind":"stall","path":"^/v1/files$","count":100})");
    std::vector<std::thread> held;
    std::atomic<int> answered{0};
    for (int i = 0; i < 100; ++i)
        held.emplace_back([&] { answered += client()->Get("/v1/files") ? 1 : 0; });
    EXPECT_TRUE(stalled(100));
    EXPECT_EQ(client()->Get("/v1/accounts/url-endpoints")->status, 200);
    control("release");
    for (std::thread &thread : held)
        thread.join();
    EXPECT_EQ(answered, 100);
}

TEST_F(Http, AClientThatGivesUpIsNoticed) {
    const std::string id = seed_one();
    control("faults", R"({"kind":"stall"})");
    const auto impatient = client();
    impatient->set_read_timeout(0, 100000);
    EXPECT_FALSE(impatient->Delete("/v1/files/" + id));
    EXPECT_TRUE(stalled(0));
    EXPECT_NE(count().find("\"count\":1"), std::string::npos);
}

TEST_F(Http, PostWithoutABodyDoesNotHang) {
    httplib::Client plain("127.0.0.1", process.port);
    const std::int64_t started = monotonic_ms();
    EXPECT_EQ(plain.Post("/_control/reset")->status, 200);
    EXPECT_LT(monotonic_ms() - started, 2000);
}

TEST_F(Http, ControlBodiesMayBeLargeAndOfAnyType) {
    std::string list = "[";
    for (int i = 0; i < 2000; ++i)
        list += (i ? "," : "") + ("\"/many/" + std::to_string(i) + ".jpg\"");
    const auto reply = client()->Post("/_control/seed", list + "]", "application/x-www-form-urlencoded");
    EXPECT_EQ(reply->status, 200);
    EXPECT_NE(count().find("\"count\":2000"), std::string::npos);
}

TEST_F(Http, AnApiBodyMustBeCalledJson) {
    const std::string body = "{\"fileIds\":[\"" + seed_one() + "\"]}", path = "/v1/files/batch/deleteByFileIds";
    const auto form = client()->Post(path, body, "application/x-www-form-urlencoded");
    EXPECT_EQ(form->status, 400);
    EXPECT_NE(form->body.find("fileIds parameter is missing."), std::string::npos);
    EXPECT_EQ(client()->Post(path, body, "application/json; charset=utf-8")->status, 200);
}

TEST_F(Http, UploadTwiceMakesAVersion) {
    httplib::MultipartFormDataItems form{{"file", std::string("\0\r\n--x", 6), "x.jpg", "image/jpeg"},
                                         {"fileName", "x.jpg", "", ""},
                                         {"folder", "up load", "", ""},
                                         {"useUniqueFileName", "false", "", ""}};
    const auto one = client()->Post("/api/v1/files/upload", form);
    EXPECT_EQ(one->status, 200);
    EXPECT_NE(one->body.find("\"filePath\":\"/up_load/x.jpg\""), std::string::npos) << one->body;
    EXPECT_NE(one->body.find("\"size\":6"), std::string::npos) << one->body;
    EXPECT_NE(client()->Post("/api/v1/files/upload", form)->body.find("Version 2"), std::string::npos);
    form[0].content.clear();
    EXPECT_EQ(client()->Post("/api/v1/files/upload", form)->status, 400);
}

TEST_F(Http, TheRawPathDecidesNotTheDecodedOne) {
    const std::string id = seed_one();
    EXPECT_EQ(client()->Delete("/v1/files/" + id + "%2Fdetails")->status, 400);
    EXPECT_EQ(client()->Get("/v1/files?path=%2f&limit=1#x")->status, 200);
}

TEST_F(Http, EndsAtOnceOnATermEvenWithStalledRequests) {
    control("faults", R"({"kind":"stall"})");
    std::thread held([&] { EXPECT_FALSE(client()->Get("/v1/files")); });
    EXPECT_TRUE(stalled(1));
    kill(process.pid, SIGTERM);
    const std::int64_t took = process.ended();
    EXPECT_GE(took, 0);
    EXPECT_LT(took, 2000);
    held.join();
}

TEST(Parent, TheEmulatorEndsWithIt) {
    const pid_t parent = fork();
    if (parent == 0) {
        pause();
        _exit(0);
    }
    Process process({"--parent-pid", std::to_string(parent)});
    EXPECT_EQ(httplib::Client("127.0.0.1", process.port).Get("/_control/health")->status, 200);
    kill(parent, SIGKILL);
    EXPECT_GE(process.ended(), 0) << "although nobody has waited for the parent yet";
    waitpid(parent, nullptr, 0);
}

TEST(Accounts, OfTheCommandLineReplaceTheDefaultOne) {
    Process process({"--account", "one:k1", "--account=two:k2"});
    const auto status = [&](const char *key) {
        httplib::Client client("127.0.0.1", process.port);
        client.set_basic_auth(key, "do_not_set");
        return client.Get("/v1/files")->status;
    };
    EXPECT_EQ(status("k1"), 200);
    EXPECT_EQ(status("k2"), 200);
    EXPECT_EQ(status("private_test_acme"), 403);
}

}  // namespace

}  // namespace ikemu
