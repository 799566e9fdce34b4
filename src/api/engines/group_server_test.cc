// A server over several engines: what health, metrics and status say, and that no request is lost
// when an engine fails.

#include <gtest/gtest.h>

#include <map>

#include "api/engines/engine_group.h"
#include "api/hand_driven_server.h"
#include "base/prometheus_test_support.h"

namespace sparrow::api {
namespace {

const std::string kChat = "/v1/chat/completions";

std::string chat(const std::string& text, int max_tokens) {
  return R"({"messages":[{"role":"user","content":")" + text +
         R"("}],"ignore_eos":true,"max_tokens":)" + std::to_string(max_tokens) + "}";
}

// Two engines on fake executors, turned by hand; each may be made to fail.
class GroupServerTest : public ::testing::Test {
 protected:
  GroupServerTest() {
    std::vector<std::unique_ptr<EnginePort>> ports;
    for (int i = 0; i < 2; ++i) {
      FakeExecutorOptions fake;
      fake.limits.num_blocks = 512;
      fake.limits.max_context_tokens = 1024;
      fake.limits.vocab_size = kTestVocab;
      fake.first_token = 'a';
      fake.num_tokens = 26;
      fake.fails = [this, i](uint64_t) { return fails_[static_cast<size_t>(i)]; };
      executors_.push_back(std::make_unique<FakeExecutor>(fake));
      EngineOptions options;
      options.index = i;
      engines_.push_back(
          std::make_unique<Engine>(*executors_.back(), *tokenizer_, options, &metrics_));
      ports.push_back(std::make_unique<CountingPort>(*engines_.back(), num_submits_));
    }
    ApiOptions options;
    options.clock = &clock_;
    options.heartbeat = std::chrono::hours(1);
    options.num_prep_threads = 1;
    options.bound_to_loopback = true;
    server_ = std::make_unique<ApiServer>(std::move(options), metrics_);
    auto group = std::make_unique<EngineGroup>(std::move(ports),
                                               EngineGroupOptions{.clock = &clock_, .key = {1, 2}});
    server_->set_ready(test_model_info(), std::move(group));
    step();
  }
  ~GroupServerTest() override { server_->stop(); }

  std::shared_ptr<Recorded> call(std::string method, std::string path, std::string body = "") {
    auto request = std::make_shared<http::Request>();
    request->method = std::move(method);
    request->path = request->target = std::move(path);
    request->body = std::move(body);
    request->remote_address = "127.0.0.1:5";
    auto recorded = std::make_shared<Recorded>();
    server_->handler()(request, std::make_shared<RecordingResponder>(loop_, recorded));
    return recorded;
  }
  std::shared_ptr<Recorded> post(const std::string& body) {
    const int before = num_submits_;
    auto recorded = call("POST", kChat, body);
    EXPECT_TRUE(loop_.run_until([&] { return recorded->ended || num_submits_ > before; }));
    return recorded;
  }
  void step() {
    clock_.advance(from_ms(10));
    for (const auto& engine : engines_) engine->step(clock_.now());
    loop_.run_ready();
  }
  void run() {
    const auto is_idle = [&] { return engines_[0]->idle() && engines_[1]->idle(); };
    for (int i = 0; i < 5000 && !is_idle(); ++i) step();
    EXPECT_TRUE(is_idle());
    EXPECT_EQ(server_->num_active(), 0);
  }
  int status_of(const char* path) { return call("GET", path)->status; }
  PrometheusText scrape() {
    PrometheusText text = PrometheusReader::read(call("GET", "/metrics")->body);
    EXPECT_TRUE(text.errors.empty()) << text.errors.front();
    return text;
  }
  static std::string labels(int engine, const std::string& before_model = "") {
    return "{engine=\"" + std::to_string(engine) + "\"," + before_model + "model_name=\"sparrow\"}";
  }
  // Until its breaker is open.
  void break_engine(size_t engine) {
    fails_[engine] = true;
    for (int i = 0; i < 100; ++i) {
      if (engines_[engine]->snapshot().breaker != BreakerState::kClosed) return;
      post(chat("breaks " + std::to_string(i), 3));
      step();
    }
    FAIL() << "the breaker stays closed";
  }

  std::array<bool, 2> fails_{};
  FakeClock clock_;
  MetricsRegistry metrics_;
  ManualLoop loop_;
  std::atomic<int> num_submits_{0};
  std::shared_ptr<const Tokenizer> tokenizer_ = api_test_tokenizer();
  std::vector<std::unique_ptr<FakeExecutor>> executors_;
  std::vector<std::unique_ptr<Engine>> engines_;
  std::unique_ptr<ApiServer> server_;
};

TEST_F(GroupServerTest, SumsOverTheEngines_AreWhatTheClientsSaw) {
  std::vector<std::shared_ptr<Recorded>> replies;
  for (int i = 0; i < 9; ++i) {
    replies.push_back(post(chat("question " + std::to_string(i), 5 + i)));
    if (i % 4 == 3) step();
  }
  const PrometheusText during = scrape();
  EXPECT_EQ(during.at("vllm:num_requests_running" + labels(0)) +
                during.at("vllm:num_requests_running" + labels(1)),
            8);
  run();
  int64_t prompt_tokens = 0, output_tokens = 0;
  for (const auto& reply : replies) {
    ASSERT_EQ(reply->status, 200) << reply->body;
    const boost::json::object body = reply->json();
    const auto& usage = body.at("usage").as_object();
    prompt_tokens += usage.at("prompt_tokens").as_int64();
    output_tokens += usage.at("completion_tokens").as_int64();
  }
  const PrometheusText text = scrape();
  const auto sum = [&](const std::string& name, const std::string& before_model = "") {
    for (int i = 0; i < 2; ++i) EXPECT_GT(text.at(name + labels(i, before_model)), 0) << name;
    return text.at(name + labels(0, before_model)) + text.at(name + labels(1, before_model));
  };
  EXPECT_EQ(sum("vllm:prompt_tokens_total"), prompt_tokens);
  EXPECT_EQ(sum("vllm:generation_tokens_total"), output_tokens);
  EXPECT_EQ(sum("vllm:request_success_total", "finished_reason=\"length\","), 9);
  EXPECT_EQ(sum("vllm:e2e_request_latency_seconds_count"), 9);
  EXPECT_EQ(text.at("sparrow_engine_up{engine=\"0\"}"), 1);
  EXPECT_EQ(text.at("sparrow_engine_up{engine=\"1\"}"), 1);
  EXPECT_EQ(text.at(R"(vllm:cache_config_info{block_size="4",engine="1",num_gpu_blocks="512"})"),
            1);
  const auto status = call("GET", "/admin/status");
  EXPECT_EQ(status->json().at("engines").as_int64(), 2);
  EXPECT_EQ(status->json().at("kv_blocks_total").as_int64(), 1024);
}

TEST_F(GroupServerTest, OneEngineFails_TheOtherServesAndHealthSaysReady) {
  break_engine(1);
  for (const char* path : {"/readyz", "/livez", "/health"}) EXPECT_EQ(status_of(path), 200) << path;
  EXPECT_EQ(scrape().at("sparrow_engine_up{engine=\"1\"}"), 0);
  EXPECT_EQ(scrape().at("sparrow_engine_up{engine=\"0\"}"), 1);
  run();
  for (int i = 0; i < 6; ++i) {
    const auto reply = post(chat("after " + std::to_string(i), 4));
    run();
    EXPECT_EQ(reply->status, 200) << reply->body;
  }
  // It works again, and its probe shows it.
  fails_[1] = false;
  clock_.advance(std::chrono::seconds(6));
  for (int i = 0; i < 4; ++i) EXPECT_NE(post(chat("again", 4)), nullptr);
  run();
  EXPECT_EQ(engines_[1]->snapshot().breaker, BreakerState::kClosed);
  EXPECT_EQ(scrape().at("sparrow_engine_up{engine=\"1\"}"), 1);
}

TEST_F(GroupServerTest, AllFail_IsRefusedAndNotReady) {
  break_engine(0);
  break_engine(1);
  EXPECT_EQ(status_of("/readyz"), 503);
  EXPECT_EQ(status_of("/livez"), 200) << "a probe may still show that one works";
  const auto refused = post(chat("hi", 4));
  EXPECT_EQ(refused->status, 503);
  EXPECT_FALSE(refused->header("retry-after").empty());
  clock_.advance(std::chrono::seconds(6));
  EXPECT_EQ(status_of("/readyz"), 200) << "or no probe would ever come";
}

TEST_F(GroupServerTest, EngineThatGaveUp_IsLeftAloneWhileTheOtherServes) {
  fails_[1] = true;
  int num_failed = 0;
  for (int i = 0; i < 200 && !engines_[1]->snapshot().failed; ++i) {
    const auto reply = post(chat("try " + std::to_string(i), 2));
    clock_.advance(std::chrono::seconds(1));
    run();
    num_failed += reply->status != 200;
  }
  ASSERT_TRUE(engines_[1]->snapshot().failed);
  EXPECT_LE(num_failed, 3 + 2) << "those that opened the breaker, and its probes";
  EXPECT_EQ(status_of("/livez"), 200);
  EXPECT_EQ(status_of("/readyz"), 200);
  const std::string status = call("GET", "/admin/status")->body;
  EXPECT_NE(status.find("\"engine_failed\":true"), std::string::npos) << status;
  clock_.advance(std::chrono::hours(1));
  for (int i = 0; i < 10; ++i) {
    const auto reply = post(chat("later " + std::to_string(i), 2));
    run();
    EXPECT_EQ(reply->status, 200) << reply->body;
  }
}

TEST_F(GroupServerTest, StuckEngine_TakesLivezDownAndTheOtherServes) {
  // Engine 0 does not step any more, as in a driver that hangs.
  for (int i = 0; i < 70; ++i) {
    clock_.advance(std::chrono::seconds(1));
    engines_[1]->step(clock_.now());
  }
  for (const char* path : {"/readyz", "/health"}) {
    const auto reply = call("GET", path);
    EXPECT_EQ(reply->status, 200) << path;
    EXPECT_NE(reply->body.find("\"state\":\"ready\""), std::string::npos) << reply->body;
  }
  const auto liveness = call("GET", "/livez");
  EXPECT_EQ(liveness->status, 503);
  EXPECT_NE(liveness->body.find("\"state\":\"stuck\""), std::string::npos) << liveness->body;
  EXPECT_EQ(scrape().at("sparrow_engine_stuck"), 1);
  EXPECT_EQ(scrape().at("sparrow_engine_up{engine=\"0\"}"), 0);
  ::testing::internal::CaptureStderr();
  server_->tick();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("engine 0: stuck outside the executor"), std::string::npos) << log;
  for (int i = 0; i < 4; ++i) {
    const auto reply = post(chat("hi " + std::to_string(i), 3));
    while (!engines_[1]->idle()) {
      clock_.advance(from_ms(10));
      engines_[1]->step(clock_.now());
      loop_.run_ready();
    }
    EXPECT_EQ(reply->status, 200) << reply->body;
  }
  engines_[0]->step(clock_.now());
  EXPECT_EQ(status_of("/livez"), 200);
}

TEST_F(GroupServerTest, ClientThatLeaves_FreesItsEngine) {
  std::vector<std::shared_ptr<Recorded>> replies;
  for (int i = 0; i < 4; ++i) replies.push_back(post(chat("long " + std::to_string(i), 500)));
  for (int i = 0; i < 3; ++i) step();
  for (const auto& reply : replies) {
    reply->closed = true;
    reply->on_close();
  }
  step();
  step();
  for (const auto& engine : engines_) {
    EXPECT_EQ(engine->snapshot().num_running, 0);
    EXPECT_EQ(engine->snapshot().num_blocks_live, 0);
  }
}

}  // namespace
}  // namespace sparrow::api
