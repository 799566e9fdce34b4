// What the server costs without an engine: requests on kept connections, events of many streams.
// The client is a plain blocking socket in this process, so both sides share the machine.

#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "http/http_server.h"

namespace sparrow::http {
namespace {

class BenchServer {
 public:
  BenchServer()
      : server_(
            options(), [this](auto request, auto responder) { handle(request, responder); },
            [](int, std::string_view) { return Response(); }) {
    CHECK(server_.start().ok());
  }

  int connect() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    return fd;
  }

  std::vector<std::shared_ptr<Responder>> streams() {
    std::lock_guard lock(mutex_);
    return streams_;
  }
  HttpServer& server() { return server_; }

 private:
  static ServerOptions options() {
    ServerOptions options;
    options.port = 0;
    return options;
  }
  void handle(const std::shared_ptr<const Request>& request,
              const std::shared_ptr<Responder>& responder) {
    if (request->path == "/stream") {
      responder->start_stream(200, "text/event-stream", {});
      std::lock_guard lock(mutex_);
      streams_.push_back(responder);
      return;
    }
    Response response;
    response.body = "{\"object\":\"list\",\"data\":[]}";
    responder->send(std::move(response));
  }

  std::mutex mutex_;
  std::vector<std::shared_ptr<Responder>> streams_;
  HttpServer server_;
};

void BM_KeptConnection_Get(benchmark::State& state) {
  BenchServer server;
  const int fd = server.connect();
  const std::string request = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
  char buffer[4096];
  for (auto _ : state) {
    CHECK(::send(fd, request.data(), request.size(), 0) > 0);
    CHECK(::recv(fd, buffer, sizeof buffer, 0) > 0);
  }
  state.SetItemsProcessed(state.iterations());
  ::close(fd);
}
BENCHMARK(BM_KeptConnection_Get)->UseRealTime();

// One iteration is one step of the engine: one post, one event for each stream.
void BM_Step_OneEventPerStream(benchmark::State& state) {
  const auto num_streams = static_cast<size_t>(state.range(0));
  BenchServer server;
  std::vector<int> sockets;
  const std::string request = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
  for (size_t i = 0; i < num_streams; ++i) {
    sockets.push_back(server.connect());
    CHECK(::send(sockets.back(), request.data(), request.size(), 0) > 0);
  }
  while (server.streams().size() < num_streams) std::this_thread::yield();
  auto streams = server.streams();
  std::atomic<bool> reading{true};
  std::thread reader([&] {
    std::vector<char> buffer(1u << 16);
    while (reading) {
      for (int fd : sockets) (void)::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
      std::this_thread::yield();
    }
  });
  const std::string event(300, 'x');
  for (auto _ : state) {
    std::atomic<bool> done{false};
    streams[0]->loop().post([&] {
      for (auto& stream : streams) CHECK(stream->write(event));
      done = true;
    });
    while (!done) std::this_thread::yield();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  reading = false;
  reader.join();
  for (int fd : sockets) ::close(fd);
}
BENCHMARK(BM_Step_OneEventPerStream)->Arg(1)->Arg(64)->Arg(256)->UseRealTime();

}  // namespace
}  // namespace sparrow::http

BENCHMARK_MAIN();
