// Transport over cpp-httplib, with what that library has no means for:
//
// Resetting a connection. A handler does not get to see its socket, so it is found among the process's descriptors by
// the client's port, and then connect()ed to AF_UNSPEC: on Linux that drops the TCP connection at once and sends RST
// to the peer. The library's own later writes to it fail, and it closes the descriptor as usual. The client therefore
// sees "connection reset by peer" before the first byte of an answer (or, for a body cut short, in the midst of it).
//
// Threads. Each connection holds a thread while it is open; stalled requests hold theirs for long. Workers are started
// as needed instead of being a fixed number, so that nothing ever waits for a stalled request.
#include "http_server.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "emulator.h"

namespace ikemu {

namespace {

class GrowingPool : public httplib::TaskQueue {
  public:
    void enqueue(std::function<void()> task) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        tasks_.push_back(std::move(task));
        if (tasks_.size() > idle_ && threads_.size() < max_threads)
            threads_.emplace_back([this] { work(); });
        else
            wake_.notify_one();
    }

    void shutdown() override {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            ending_ = true;
        }
        wake_.notify_all();
        for (std::thread &thread : threads_)
            thread.join();
    }

  private:
    static constexpr std::size_t max_threads = 512;

    void work() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            ++idle_;
            wake_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
            --idle_;
            if (tasks_.empty())
                return;
            const std::function<void()> task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> tasks_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool ending_ = false;
};

// httplib listens with a backlog of 5: a burst of connections would lose some and wait a second for each retry.
class Listener : public httplib::Server {
  public:
    void widen_backlog() { ::listen(svr_sock_, 512); }
};

// The descriptor of the connection from this client port; -1 when the client has reset it. Asks the kernel about every
// descriptor, so it is only done for requests that a fault has hit.
int socket_of_peer(int peer_port, int own_port) {
    for (int fd = 3; fd < 4096; ++fd) {
        sockaddr_in peer{}, own{};
        socklen_t size = sizeof peer;
        if (getpeername(fd, reinterpret_cast<sockaddr *>(&peer), &size) != 0 || peer.sin_family != AF_INET ||
            ntohs(peer.sin_port) != peer_port)
            continue;
        size = sizeof own;
        if (getsockname(fd, reinterpret_cast<sockaddr *>(&own), &size) == 0 && ntohs(own.sin_port) == own_port)
            return fd;
    }
    return -1;
}

void reset_connection(int fd) {
    sockaddr none{};
    none.sa_family = AF_UNSPEC;
    if (fd >= 0)
        ::connect(fd, &none, sizeof none);
}

bool hung_up(int fd) {
    pollfd state{fd, POLLRDHUP, 0};
    return fd < 0 || (poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0);
}

bool has_body(const httplib::Request &request) {
    return request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
}

}  // namespace

struct HttpServer::Impl {
    explicit Impl(Emulator &e) : emulator(e) {}

    // Reads the body by hand: the library would refuse more than 8 kB of what curl -d calls a form.
    static void read_body(const httplib::Request &from, const httplib::ContentReader &reader, Request &to) {
        if (from.is_multipart_form_data()) {
            reader(
                [&](const httplib::MultipartFormData &part) {
                    to.form.push_back(FormPart{part.name, part.filename, ""});
                    return true;
                },
                [&](const char *data, std::size_t size) {
                    to.form.back().content.append(data, size);
                    return true;
                });
            return;
        }
        reader([&](const char *data, std::size_t size) {
            to.body.append(data, size);
            return true;
        });
    }

    void answer(const httplib::Request &from, const httplib::ContentReader *reader, httplib::Response &to) {
        Request request;
        request.method = from.method;
        const std::string target = from.target.substr(0, from.target.find('#'));
        const std::size_t question = target.find('?');
        request.path = target.substr(0, question);
        if (question != std::string::npos)
            request.query = parse_query(target.substr(question + 1));
        request.has_authorization = from.has_header("Authorization");
        request.authorization = from.get_header_value("Authorization");
        request.content_type = from.get_header_value("Content-Type");
        if (reader)
            read_body(from, *reader, request);
        request.client_gone = [this, &from] { return hung_up(socket_of_peer(from.remote_port, port)); };

        const Reply reply = emulator.handle(request);
        const bool broken = reply.delivery == Delivery::abort || reply.delivery == Delivery::cut_short;
        const int fd = broken ? socket_of_peer(from.remote_port, port) : -1;
        if (reply.delivery == Delivery::abort) {
            reset_connection(fd);
            to.status = 503;
            return;
        }
        to.status = reply.status;
        for (const auto &[name, value] : reply.headers)
            to.set_header(name, value);
        deliver(reply, fd, to);
    }

    static void deliver(const Reply &reply, int fd, httplib::Response &to) {
        const std::string body = reply.body;
        switch (reply.delivery) {
            case Delivery::whole:
            case Delivery::abort:
                if (!body.empty())
                    to.set_content(body, reply.content_type);
                return;
            case Delivery::slow: {
                if (body.empty())
                    return;
                const std::size_t wanted = static_cast<std::size_t>(std::max<std::int64_t>(reply.delivery_ms, 0)) / 20;
                const std::size_t steps = std::clamp<std::size_t>(wanted, 1, body.size());
                const auto pause = std::chrono::milliseconds(reply.delivery_ms / static_cast<std::int64_t>(steps));
                const std::size_t piece = (body.size() + steps - 1) / steps;
                to.set_content_provider(body.size(), reply.content_type,
                                        [body, pause, piece](std::size_t offset, std::size_t length,
                                                             httplib::DataSink &sink) {
                                            std::this_thread::sleep_for(pause);
                                            return sink.write(body.data() + offset, std::min(piece, length));
                                        });
                return;
            }
            case Delivery::cut_short:
                to.set_content_provider(std::max<std::size_t>(body.size(), 2), reply.content_type,
                                        [body, fd](std::size_t, std::size_t, httplib::DataSink &sink) {
                                            sink.write(body.data(), body.size() / 2);
                                            // RST discards what the peer has not read yet: let it read first.
                                            std::this_thread::sleep_for(std::chrono::milliseconds(50));
                                            reset_connection(fd);
                                            return false;
                                        });
                return;
            case Delivery::filler: {
                const std::size_t size = std::max<std::size_t>(reply.filler_bytes, 2);
                to.set_content_provider(size, "application/json; charset=utf-8",
                                        [size](std::size_t offset, std::size_t length, httplib::DataSink &sink) {
                                            std::string piece(std::min<std::size_t>(length, 65536), ' ');
                                            if (offset == 0)
                                                piece.front() = '[';
                                            if (offset + piece.size() == size)
                                                piece.back() = ']';
                                            return sink.write(piece.data(), piece.size());
                                        });
                return;
            }
        }
    }

    Emulator &emulator;
    Listener server;
    int port = 0;
};

HttpServer::HttpServer(Emulator &emulator) : impl_(std::make_unique<Impl>(emulator)) {
    Listener &server = impl_->server;
    server.new_task_queue = [] { return new GrowingPool; };
    server.set_tcp_nodelay(true);
    server.set_keep_alive_max_count(1u << 30);
    server.set_keep_alive_timeout(30);
    server.set_read_timeout(30);
    server.set_write_timeout(30);
    // Not SO_REUSEPORT, the library's default: two emulators must not share a port unnoticed.
    server.set_socket_options([](socket_t fd) {
        const int yes = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    const auto answer = [this](const httplib::Request &request, httplib::Response &response) {
        impl_->answer(request, nullptr, response);
    };
    const auto answer_body = [this](const httplib::Request &request, httplib::Response &response,
                                    const httplib::ContentReader &reader) {
        impl_->answer(request, &reader, response);
    };
    // Requests without a body are answered before routing: the library would wait for the body of a POST that
    // announces none until the client hangs up, and matches its routes against the decoded path.
    server.set_pre_routing_handler([answer](const httplib::Request &request, httplib::Response &response) {
        if (has_body(request))
            return httplib::Server::HandlerResponse::Unhandled;
        answer(request, response);
        return httplib::Server::HandlerResponse::Handled;
    });
    const char any[] = "[\\s\\S]*";
    server.Get(any, answer);
    server.Post(any, answer_body);
    server.Put(any, answer_body);
    server.Patch(any, answer_body);
    server.Delete(any, answer_body);
    server.Options(any, answer);
}

HttpServer::~HttpServer() = default;

int HttpServer::bind(int port) {
    Listener &server = impl_->server;
    if (port == 0)
        impl_->port = server.bind_to_any_port("127.0.0.1");
    else
        impl_->port = server.bind_to_port("127.0.0.1", port) ? port : 0;
    if (impl_->port <= 0)
        return 0;
    server.widen_backlog();
    return impl_->port;
}

void HttpServer::serve() {
    impl_->server.listen_after_bind();
}

}  // namespace ikemu
