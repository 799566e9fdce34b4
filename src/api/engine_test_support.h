#pragma once
// The whole server but its model: the API over a real socket and the real engine, on the fake
// executor, whose time is simulated. For tests and benchmarks.

#include <memory>
#include <string>

#include "api/api_server.h"
#include "api/test_support.h"
#include "engine/engine_thread.h"
#include "http/http_server.h"
#include "http/test_client.h"
#include "model/fake_executor.h"

namespace sparrow::api {

struct FakeServerOptions {
  FakeServerOptions() {
    fake.limits.num_blocks = 2048;
    fake.limits.num_slots = 16;
    fake.limits.max_context_tokens = 1024;
    fake.limits.vocab_size = kTestVocab;
    fake.first_token = 'a';  // readable text, no special tokens
    fake.num_tokens = 26;
  }
  FakeExecutorOptions fake;
  EngineOptions engine;
  ApiOptions api;
  http::ServerOptions http;
};

class FakeServer {
 public:
  explicit FakeServer(FakeServerOptions options = {})
      : executor_(options.fake),
        tokenizer_(api_test_tokenizer()),
        engine_(executor_, *tokenizer_, options.engine, &metrics_),
        engine_thread_(engine_, clock_),
        api_(options.api, metrics_) {
    engine_thread_.start();
    ModelInfo info = test_model_info();
    info.max_model_len = info.config.max_position = options.fake.limits.max_context_tokens;
    api_.set_ready(std::move(info), engine_);
    options.http.port = 0;
    options.http.on_refused_connection = api_.refused_connections();
    server_ =
        std::make_unique<http::HttpServer>(options.http, api_.handler(), api_.protocol_errors());
    const Status status = server_->start();
    EXPECT_TRUE(status.ok()) << status.message();
  }
  ~FakeServer() {
    engine_thread_.stop();
    server_->stop();
    api_.stop();
  }

  uint16_t port() const { return server_->port(); }
  Engine& engine() { return engine_; }
  ApiServer& api() { return api_; }
  http::HttpServer& server() { return *server_; }
  MetricsRegistry& metrics() { return metrics_; }

  static std::string post_text(const std::string& path, const std::string& body) {
    return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  http::TestReply post(const std::string& path, const std::string& body) {
    http::TestClient client(port());
    EXPECT_TRUE(client.send(post_text(path, body)));
    return client.read_reply();
  }
  // Every request has ended and all it held is free.
  bool idle() {
    return http::eventually([this] {
      const EngineSnapshot now = engine_.snapshot();
      return api_.num_active() == 0 && now.num_running == 0 && now.num_waiting == 0 &&
             now.num_blocks_live == 0;
    });
  }

 private:
  RealClock clock_;
  MetricsRegistry metrics_;
  FakeExecutor executor_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Engine engine_;
  EngineThread engine_thread_;
  ApiServer api_;
  std::unique_ptr<http::HttpServer> server_;
};

}  // namespace sparrow::api
