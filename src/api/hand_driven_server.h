#pragma once
// For tests: the whole API on the real engine and the fake executor, turned by hand: the test steps
// the engine and runs the loop, so that every run is the same.

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "api/test_support.h"
#include "model/fake_executor.h"

namespace sparrow::api {

class CountingPort final : public EnginePort {
 public:
  CountingPort(Engine& engine, std::atomic<int>& num_submits)
      : engine_(engine), num_submits_(num_submits) {}
  Status submit(Request request, EventSink* sink) override {
    ++num_submits_;
    return engine_.submit(std::move(request), sink);
  }
  void cancel(uint64_t request_id) override { engine_.cancel(request_id); }
  EngineSnapshot snapshot() const override { return engine_.snapshot(); }
  Beat beat() const override { return engine_.beat(); }

 private:
  Engine& engine_;
  std::atomic<int>& num_submits_;
};

struct HandDrivenServer {
  explicit HandDrivenServer(FakeExecutorOptions fake, ApiOptions options = {},
                            const EngineOptions& engine_options = {},
                            ReadDeviceHealth device_health = {}) {
    fake.limits.num_blocks = 512;
    fake.limits.max_context_tokens = 1024;
    fake.limits.vocab_size = kTestVocab;
    executor = std::make_unique<FakeExecutor>(std::move(fake));
    engine = std::make_unique<Engine>(*executor, *tokenizer, engine_options, &metrics);
    options.clock = &clock;
    options.heartbeat = std::chrono::hours(1);
    options.num_prep_threads = 1;
    server = std::make_unique<ApiServer>(std::move(options), metrics);
    ModelInfo info = test_model_info();
    info.memory_budget_bytes = int64_t{1} << 50;
    info.device_health = std::move(device_health);
    server->set_ready(std::move(info), std::make_unique<CountingPort>(*engine, num_submits));
  }

  std::shared_ptr<Recorded> call(const http::Handler& handler, std::string method, std::string path,
                                 std::string body = "", http::Headers headers = {}) {
    auto request = std::make_shared<http::Request>();
    request->method = std::move(method);
    request->path = request->target = std::move(path);
    request->body = std::move(body);
    request->headers = std::move(headers);
    auto recorded = std::make_shared<Recorded>();
    handler(request, std::make_shared<RecordingResponder>(loop, recorded));
    return recorded;
  }
  std::shared_ptr<Recorded> get(std::string path) {
    return call(server->handler(), "GET", std::move(path));
  }
  // Until the engine has the request, or it was refused.
  std::shared_ptr<Recorded> post(std::string path, std::string body) {
    const int before = num_submits;
    auto recorded = call(server->handler(), "POST", std::move(path), std::move(body));
    EXPECT_TRUE(loop.run_until([&] { return recorded->ended || num_submits > before; }));
    return recorded;
  }
  void step() {
    clock.advance(from_ms(10));
    engine->step(clock.now());
    loop.run_ready();
  }
  void run() {
    for (int i = 0; i < 5000 && !engine->idle(); ++i) step();
    EXPECT_TRUE(engine->idle());
    EXPECT_EQ(server->num_active(), 0);
  }

  FakeClock clock;
  MetricsRegistry metrics;
  ManualLoop loop;
  std::atomic<int> num_submits{0};
  std::shared_ptr<const Tokenizer> tokenizer = api_test_tokenizer();
  std::unique_ptr<FakeExecutor> executor;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<ApiServer> server;
};

}  // namespace sparrow::api
