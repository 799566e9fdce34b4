// The k-th allocation fails, for many k, anywhere between a request's bytes and its last event: the
// process lives, that request is answered (well, or with an error), and the next one is served as
// if nothing had happened.

#include <gtest/gtest.h>

#include <new>
#include <thread>

#include "api/engine_test_support.h"
#include "base/failing_new_test_support.h"
#include "base/random.h"

namespace sparrow::api {
namespace {

constexpr uint64_t kSeed = 7;
constexpr int kNumSamples = 250;
constexpr int64_t kNoFailure = int64_t{1} << 40;

// As AsioLoop: a task that throws is over, the others run.
class SurvivingLoop final : public http::IoLoop {
 public:
  int index() const override { return 0; }
  void post(std::function<void()> task) override {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  void run_ready() {
    std::vector<std::function<void()>> tasks;
    {
      std::lock_guard lock(mutex_);
      tasks.swap(tasks_);
    }
    for (auto& task : tasks) {
      try {
        task();
      } catch (const std::bad_alloc&) {
      }
      task = nullptr;
    }
  }
  bool empty() {
    std::lock_guard lock(mutex_);
    return tasks_.empty();
  }

 private:
  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;
};

struct Answer {
  int status = 0;
  std::string body;
  bool has_ended = false;
};

// As the HTTP server's: dropped unanswered it is a 500, in the middle of a stream the end of the
// connection. Its own memory is not under test.
class ShieldedResponder final : public http::Responder {
 public:
  ShieldedResponder(http::IoLoop& loop, std::shared_ptr<Answer> answer)
      : loop_(loop), answer_(std::move(answer)) {
    answer_->body.reserve(1u << 16);
  }
  ~ShieldedResponder() override {
    if (!answer_->has_ended && answer_->status == 0) answer_->status = 500;
    answer_->has_ended = true;
  }
  void send(http::Response response) override {
    answer_->status = response.status;
    answer_->body += response.body;
    answer_->has_ended = true;
  }
  void start_stream(int status, std::string, http::Headers) override { answer_->status = status; }
  bool write(std::string bytes) override {
    answer_->body += bytes;
    return true;
  }
  void finish() override { answer_->has_ended = true; }
  void on_close(std::function<void()>) override {}
  bool closed() const override { return false; }
  http::IoLoop& loop() override { return loop_; }

 private:
  http::IoLoop& loop_;
  const std::shared_ptr<Answer> answer_;
};

class AllocFailureTest : public ::testing::Test {
 protected:
  static FakeExecutorOptions letters() {
    FakeExecutorOptions fake;
    fake.first_token = 'a';
    fake.num_tokens = 26;
    return fake;
  }

  std::shared_ptr<http::Request> make_request(bool stream) {
    auto request = std::make_shared<http::Request>();
    request->method = "POST";
    request->path = request->target = "/v1/chat/completions";
    request->body =
        R"({"messages":[{"role":"user","content":"a question of some length"}],"temperature":0,)"
        R"("ignore_eos":true,"max_tokens":10,"stop":["@@@"],"n":2,"logprobs":true,"stream":)";
    request->body += stream ? "true}" : "false}";
    return request;
  }

  // One request with the k-th allocation failing; how many there were.
  int64_t serve(bool stream, int64_t k, Answer& seen) {
    const auto request = make_request(stream);
    const auto answer = std::make_shared<Answer>();
    auto responder = std::make_shared<ShieldedResponder>(loop_, answer);
    fail_allocation(k);
    try {
      served_.server->handler()(request, std::move(responder));
    } catch (const std::bad_alloc&) {  // as Connection::run_handler: the responder was dropped
    }
    responder.reset();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (served_.server->num_active() > 0 || !served_.engine->idle() || !loop_.empty()) {
      loop_.run_ready();
      served_.engine->step(served_.clock.now());
      std::this_thread::yield();  // to the preparation
      if (std::chrono::steady_clock::now() > deadline) break;
    }
    const int64_t num_allocations = k - stop_failing_allocations();
    EXPECT_TRUE(served_.engine->idle()) << "k = " << k;
    EXPECT_EQ(served_.server->num_active(), 0) << "k = " << k;
    served_.engine->check_integrity();
    seen = *answer;
    return num_allocations;
  }

  // Ids, times and log probabilities apart, what a client sees.
  static std::string text_of(const Answer& answer) {
    std::string text;
    for (const char* field : {"\"reasoning_content\":\"", "\"content\":\""}) {
      for (size_t at = 0; (at = answer.body.find(field, at)) != std::string::npos;) {
        at += std::string_view(field).size();
        text += answer.body.substr(at, answer.body.find('"', at) - at);
      }
    }
    return text;
  }

  SurvivingLoop loop_;
  HandDrivenServer served_{letters()};
};

TEST_F(AllocFailureTest, KthAllocation_CostsAtMostItsRequest) {
  int num_failed = 0;
  for (const bool stream : {false, true}) {
    Answer good;
    const int64_t total = serve(stream, kNoFailure, good);
    ASSERT_EQ(good.status, 200) << good.body;
    const std::string text = text_of(good);
    ASSERT_GE(text.size(), 20u);
    for (int sample = 0; sample < kNumSamples; ++sample) {
      const auto k = static_cast<int64_t>(
          random_bits(kSeed, stream, static_cast<uint64_t>(sample)) % static_cast<uint64_t>(total));
      SCOPED_TRACE("seed " + std::to_string(kSeed) + ", k = " + std::to_string(k) + " of " +
                   std::to_string(total));
      Answer hit;
      serve(stream, k, hit);
      EXPECT_TRUE(hit.has_ended);
      const bool has_error = hit.body.find("\"error\"") != std::string::npos;
      const bool is_cut = stream && hit.body.find("[DONE]") == std::string::npos;
      EXPECT_TRUE(hit.status == 200 || hit.status == 500 || hit.status == 503) << hit.status;
      if (hit.status == 200 && !has_error && !is_cut) {
        EXPECT_EQ(text_of(hit), text);
      } else {
        ++num_failed;
      }
      Answer next;
      serve(stream, kNoFailure, next);
      EXPECT_EQ(next.status, 200) << next.body;
      EXPECT_EQ(text_of(next), text);
      EXPECT_EQ(served_.engine->snapshot().num_blocks_live, 0);
      EXPECT_EQ(served_.executor->num_held_slots(), 0);
      if (::testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(num_failed, kNumSamples / 2) << "the failures did not happen";
}

}  // namespace
}  // namespace sparrow::api
