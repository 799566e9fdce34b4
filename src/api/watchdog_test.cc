// A step that hangs: health says so from other threads, the log once, and all is well when it comes
// back.

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "api/test_support.h"
#include "base/prometheus_test_support.h"
#include "engine/engine_thread.h"
#include "engine/test_support.h"
#include "model/fake_executor.h"

namespace sparrow::api {
namespace {

// Holds whoever enters until it is opened.
class Gate {
 public:
  void enter() {
    std::unique_lock lock(mutex_);
    entered_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  bool wait_until_entered() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [this] { return entered_; });
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool entered_ = false;
  bool open_ = false;
};

class WatchdogTest : public ::testing::Test {
 protected:
  WatchdogTest() {
    FakeExecutorOptions fake;
    fake.limits.vocab_size = kTestVocab;
    fake.limits.max_context_tokens = 128;
    fake.on_part = [this, num_steps = 0](uint64_t, StepPart part) mutable {
      if (part == StepPart::kWait && ++num_steps == 2) gate_.enter();
    };
    executor_ = std::make_unique<FakeExecutor>(fake);
    engine_ = std::make_unique<Engine>(*executor_, *tokenizer_, EngineOptions{}, &metrics_);
    ApiOptions options;
    options.clock = &clock_;
    options.heartbeat = std::chrono::hours(1);  // only the test ticks
    options.watchdog_timeout = std::chrono::seconds(60);
    server_ = std::make_unique<ApiServer>(options, metrics_);
    server_->set_ready(test_model_info(), *engine_);
  }
  ~WatchdogTest() override {
    gate_.open();
    if (thread_) thread_->stop();
    server_->stop();
  }
  std::shared_ptr<Recorded> call(std::string method, std::string path, std::string body = "") {
    auto request = std::make_shared<http::Request>();
    request->method = std::move(method);
    request->path = request->target = std::move(path);
    request->body = std::move(body);
    auto recorded = std::make_shared<Recorded>();
    server_->handler()(request, std::make_shared<RecordingResponder>(loop_, recorded));
    return recorded;
  }
  int status_of(const char* path) { return call("GET", path)->status; }

  SkewedClock clock_;
  Gate gate_;
  MetricsRegistry metrics_;
  ManualLoop loop_;
  std::shared_ptr<const Tokenizer> tokenizer_ = api_test_tokenizer();
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<EngineThread> thread_;
};

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
  return found;
}

TEST_F(WatchdogTest, HungStep_FailsHealthUntilItReturns) {
  thread_ = std::make_unique<EngineThread>(*engine_, clock_);
  thread_->start();
  const auto reply =
      call("POST", "/v1/chat/completions",
           R"({"messages":[{"role":"user","content":"hi"}],"ignore_eos":true,"max_tokens":4})");
  // The preparation hands over with one task; then the engine's thread runs into the gate.
  int num_tasks = -1;
  ASSERT_TRUE(loop_.run_until([&] { return ++num_tasks == 1; }));
  ASSERT_TRUE(gate_.wait_until_entered());
  EXPECT_EQ(status_of("/livez"), 200);
  EXPECT_EQ(status_of("/readyz"), 200);

  clock_.skew_ns = Duration(std::chrono::seconds(62)).count();
  ::testing::internal::CaptureStderr();
  for (const char* path : {"/livez", "/readyz", "/health", "/ping"}) {
    const auto answer = call("GET", path);
    EXPECT_EQ(answer->status, 503) << path;
    EXPECT_NE(answer->body.find("\"state\":\"stuck\""), std::string::npos) << answer->body;
  }
  const PrometheusText text = PrometheusReader::read(call("GET", "/metrics")->body);
  EXPECT_EQ(text.at("sparrow_engine_stuck"), 1);
  server_->tick();
  server_->tick();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(count(log, "engine: stuck in step "), 1u) << log;
  EXPECT_EQ(count(log, "(1 spans, 1 rows, predicted "), 1u) << log;

  gate_.open();
  EXPECT_TRUE(loop_.run_until([&] { return reply->ended; }));
  EXPECT_EQ(reply->status, 200) << reply->body;
  ::testing::internal::CaptureStderr();
  const auto deadline = RealClock().now() + std::chrono::seconds(20);
  while (status_of("/livez") != 200 && RealClock().now() < deadline) std::this_thread::yield();
  EXPECT_EQ(status_of("/livez"), 200);
  EXPECT_EQ(status_of("/readyz"), 200);
  server_->tick();
  EXPECT_EQ(count(::testing::internal::GetCapturedStderr(), "engine: goes on"), 1u);
}

// The engine's thread stands still outside the executor, as after SIGSTOP: nobody beats.
TEST_F(WatchdogTest, ThreadThatStopsBeating_IsStuckToo) {
  engine_->step(clock_.now());
  EXPECT_EQ(status_of("/livez"), 200);
  clock_.skew_ns = Duration(std::chrono::seconds(61)).count();
  EXPECT_EQ(status_of("/livez"), 503);
  engine_->step(clock_.now());
  EXPECT_EQ(status_of("/livez"), 200);
}

}  // namespace
}  // namespace sparrow::api
