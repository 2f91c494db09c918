// The command line of the ImageKit emulator. Ends on SIGTERM or SIGINT, or with the process it was told to watch, at
// once and without waiting for requests it may be holding: a test must never leave one behind.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "emulator.h"
#include "http_server.h"

namespace {

const char usage[] =
    "Usage: imagekit-emulator [options]\n"
    "Answers like the ImageKit media API on 127.0.0.1 over plain HTTP, for tests and demonstrations.\n"
    "\n"
    "  --port N            port to listen on; 0, the default, takes a free one\n"
    "  --port-file FILE    write the port number to FILE once listening\n"
    "  --account NAME:KEY  serve account NAME (https://ik.imagekit.io/NAME) with this private key;\n"
    "                      may be given several times (default acme:private_test_acme)\n"
    "  --parent-pid PID    exit when process PID has gone\n"
    "  --help              show this text\n"
    "\n"
    "The control API is at /_control/; see test/emulator/README.md.\n";

struct Options {
    int port = 0;
    std::string port_file;
    pid_t parent = 0;
    ikemu::Accounts::Defaults accounts;
};

[[noreturn]] void complain(const std::string &text) {
    std::fprintf(stderr, "imagekit-emulator: %s\n", text.c_str());
    std::exit(2);
}

long number(const std::string &option, const char *text, long largest) {
    char *end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < 0 || value > largest)
        complain(option + " needs a number");
    return value;
}

Options parse(int argc, char **argv) {
    Options out;
    for (int i = 1; i < argc; ++i) {
        std::string option = argv[i], joined;
        const std::size_t equal = option.find('=');
        if (option.compare(0, 2, "--") == 0 && equal != std::string::npos) {
            joined = option.substr(equal + 1);
            option.resize(equal);
        }
        if (option == "--help") {
            std::fputs(usage, stdout);
            std::exit(0);
        }
        if (option != "--port" && option != "--port-file" && option != "--account" && option != "--parent-pid")
            complain("unknown option " + option + "; try --help");
        if (option == argv[i]) {  // the value is the next argument
            if (i + 1 >= argc)
                complain(option + " needs a value");
            joined = argv[++i];
        }
        if (option == "--port") {
            out.port = static_cast<int>(number(option, joined.c_str(), 65535));
        } else if (option == "--port-file") {
            out.port_file = joined;
        } else if (option == "--parent-pid") {
            out.parent = static_cast<pid_t>(number(option, joined.c_str(), 1 << 30));
        } else {
            const std::size_t colon = joined.find(':');
            if (colon == 0 || colon == std::string::npos || colon + 1 == joined.size())
                complain("--account needs NAME:KEY");
            out.accounts.emplace_back(joined.substr(0, colon), joined.substr(colon + 1));
        }
    }
    if (out.accounts.empty())
        out.accounts.emplace_back("acme", "private_test_acme");
    return out;
}

// Whoever polls for the file must never see it half written: written beside it, then renamed.
void write_port(const std::string &file, int port) {
    const std::string draft = file + ".tmp";
    std::FILE *out = std::fopen(draft.c_str(), "w");
    if (!out || std::fprintf(out, "%d\n", port) < 0 || std::fclose(out) != 0 ||
        std::rename(draft.c_str(), file.c_str()) != 0)
        complain("cannot write " + file + ": " + std::strerror(errno));
}

void watch_parent(pid_t parent) {
    const int fd = static_cast<int>(syscall(SYS_pidfd_open, parent, 0));
    if (fd >= 0) {
        pollfd gone{fd, POLLIN, 0};
        while (poll(&gone, 1, -1) < 0 && errno == EINTR) {
        }
    } else {  // gone already, or a kernel without the call
        while (kill(parent, 0) == 0 || errno == EPERM)
            std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    _exit(0);
}

}  // namespace

int main(int argc, char **argv) {
    const Options options = parse(argc, argv);

    // One thread takes the signals; all others, started later, inherit the mask.
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);
    signal(SIGPIPE, SIG_IGN);
    std::thread([ending] {
        int which = 0;
        while (sigwait(&ending, &which) != 0) {
        }
        _exit(0);
    }).detach();
    if (options.parent > 0)
        std::thread(watch_parent, options.parent).detach();

    ikemu::Emulator emulator(options.accounts);
    ikemu::HttpServer server(emulator);
    const int port = server.bind(options.port);
    if (port == 0)
        complain("cannot listen on 127.0.0.1 port " + std::to_string(options.port));
    if (!options.port_file.empty())
        write_port(options.port_file, port);
    std::printf("imagekit-emulator: listening on http://127.0.0.1:%d\n", port);
    std::fflush(stdout);
    server.serve();
    return 1;  // only a failing accept() gets here
}
