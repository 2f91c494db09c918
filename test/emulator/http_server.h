// The HTTP side: listens on 127.0.0.1, turns httplib's requests into ours and delivers replies, broken ones included.
#pragma once

#include <memory>
#include <string>

namespace ikemu {

class Emulator;

class HttpServer {
  public:
    explicit HttpServer(Emulator &emulator);
    ~HttpServer();

    // Binds and listens; 0 means a free port. Returns the port, or 0 on failure.
    int bind(int port);
    // Serves until the process ends; returns only when accepting connections fails.
    void serve();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace ikemu
