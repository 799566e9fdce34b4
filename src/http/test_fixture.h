#pragma once
// The server that the tests of this folder talk to, and the requests they send.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "http/http_server.h"
#include "http/test_client.h"

namespace sparrow::http {

using std::chrono::milliseconds;

inline Response text_response(int status, std::string_view text) {
  Response response;
  response.status = status;
  response.content_type = "text/plain";
  response.body = text;
  return response;
}

// "/echo" answers method, path, query and body; "/hold" keeps its responder for the test; "/drop"
// drops it; "/throw" throws; "/stream" begins an event stream and keeps it.
class HttpServerTest : public ::testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    options.port = 0;
    server_ = std::make_unique<HttpServer>(
        options,
        [this](std::shared_ptr<const Request> request, std::shared_ptr<Responder> responder) {
          handle(std::move(request), std::move(responder));
        },
        [](int status, std::string_view message) {
          return text_response(status, "refused: " + std::string(message));
        });
    const Status status = server_->start();
    ASSERT_TRUE(status.ok()) << status.message();
  }

  void handle(std::shared_ptr<const Request> request, std::shared_ptr<Responder> responder) {
    ++num_handled_;
    if (request->path == "/drop") return;
    if (request->path == "/throw") throw std::runtime_error("a bug in a handler");
    if (request->path == "/hold" || request->path == "/stream") {
      responder->on_close([this] { ++num_closed_; });
      if (request->path == "/stream") {
        responder->start_stream(200, "text/event-stream; charset=utf-8", {{"X-A", "b"}});
      }
      std::lock_guard lock(mutex_);
      held_.push_back(std::move(responder));
      return;
    }
    responder->send(text_response(
        200, request->method + " " + request->path + " " + request->query + " " + request->body));
  }

  std::shared_ptr<Responder> take_held() {
    std::shared_ptr<Responder> responder;
    EXPECT_TRUE(eventually([&] {
      std::lock_guard lock(mutex_);
      if (held_.empty()) return false;
      responder = std::move(held_.front());
      held_.erase(held_.begin());
      return true;
    }));
    return responder;
  }

  // Runs on the responder's loop and waits for it.
  void on_loop(const std::shared_ptr<Responder>& responder, const std::function<void()>& task) {
    std::atomic<bool> done{false};
    responder->loop().post([&] {
      task();
      done = true;
    });
    ASSERT_TRUE(eventually([&] { return done.load(); }));
  }

  uint16_t port() const { return server_->port(); }
  bool no_connections() {
    return eventually([&] { return server_->num_connections() == 0; });
  }

  std::mutex mutex_;
  std::vector<std::shared_ptr<Responder>> held_;
  std::atomic<int> num_handled_{0};
  std::atomic<int> num_closed_{0};
  std::unique_ptr<HttpServer> server_;
};

inline const std::string kGet = "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n";

inline std::string get(const std::string& path, const std::string& fields = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n";
}
inline std::string post(const std::string& path, const std::string& body) {
  return "POST " + path +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

}  // namespace sparrow::http
