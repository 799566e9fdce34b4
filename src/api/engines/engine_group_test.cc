#include "api/engines/engine_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <latch>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "engine/engine_thread.h"
#include "engine/test_support.h"

namespace sparrow::api {
namespace {

// An engine of which the test says how it is.
class Scripted final : public EnginePort {
 public:
  Scripted() {
    state.num_steps = 10;
    state.max_num_running = 16;
    state.num_blocks_total = 100;
    state.has_step_cost = true;
    state.step_fixed_ms = 20;
    state.step_row_ms = 1;
    state.max_step_ms = 200;
    state.max_step_rows = 512;
  }
  Status submit(Request request, EventSink*) override {
    if (!refusal.ok()) {
      ++num_refused;
      return refusal;
    }
    requests.push_back(std::move(request));
    return ok_status();
  }
  void cancel(uint64_t request_id) override { cancelled.push_back(request_id); }
  EngineSnapshot snapshot() const override {
    if (const auto hook = std::exchange(on_snapshot, nullptr)) hook();
    return state;
  }
  Beat beat() const override { return now; }

  std::vector<Request> requests;
  std::vector<uint64_t> cancelled;
  int num_refused = 0;
  Status refusal;
  EngineSnapshot state;
  Beat now;
  mutable std::function<void()> on_snapshot;  // once
};

class EngineGroupTest : public ::testing::Test {
 protected:
  void make(size_t count, bool prefix_affinity = true) {
    std::vector<std::unique_ptr<EnginePort>> ports;
    for (size_t i = 0; i < count; ++i) {
      auto port = std::make_unique<Scripted>();
      engines_.push_back(port.get());
      ports.push_back(std::move(port));
    }
    group_ = std::make_unique<EngineGroup>(
        std::move(ports),
        EngineGroupOptions{.clock = &clock_, .prefix_affinity = prefix_affinity, .key = {1, 2}});
  }
  Status submit(std::vector<TokenId> prompt = prompt_of(1, 8), int num_choices = 1) {
    Request request = test_request(++last_id_, std::move(prompt), 100);
    request.num_choices = num_choices;
    return group_->submit(std::move(request), &sink_);
  }
  // Every engine has taken what was sent to it: what is on its way is in the snapshot now.
  void settle() {
    for (Scripted* engine : engines_) {
      engine->state.num_running = static_cast<int>(engine->requests.size());
      engine->state.num_steps += 2;
    }
  }
  std::vector<size_t> counts() const {
    std::vector<size_t> out;
    for (const Scripted* engine : engines_) out.push_back(engine->requests.size());
    return out;
  }
  void open_breaker(size_t engine, double retry_ms) {
    engines_[engine]->state.breaker = BreakerState::kOpen;
    engines_[engine]->state.breaker_retry_at = clock_.now() + from_ms(retry_ms);
  }
  void hang(size_t engine) {
    engines_[engine]->now.has_begun = true;
    engines_[engine]->now.began = clock_.now();
    clock_.advance(std::chrono::seconds(100));
    for (Scripted* other : engines_) {
      if (other == engines_[engine]) continue;
      other->now.has_begun = true;
      other->now.began = clock_.now();
    }
  }

  FakeClock clock_;
  std::vector<Scripted*> engines_;
  std::unique_ptr<EngineGroup> group_;
  CollectingSink sink_;
  uint64_t last_id_ = 0;
};

TEST_F(EngineGroupTest, BurstBetweenTwoSteps_IsSpreadEvenly) {
  make(4);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(submit(prompt_of(static_cast<uint64_t>(i), 8)).ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{10, 10, 10, 10}));
}

TEST_F(EngineGroupTest, Conversation_StaysWithItsEngine) {
  make(3);
  std::vector<TokenId> next = prompt_of(5, 100);
  for (int turn = 0; turn < 6; ++turn) {
    ASSERT_TRUE(submit(next).ok());
    settle();
    for (Scripted* engine : engines_) engine->state.num_running = 2;  // its last turn has ended
    next.resize(next.size() + 60, 7);
  }
  std::vector<size_t> sorted = counts();
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, (std::vector<size_t>{0, 0, 6}));
}

TEST_F(EngineGroupTest, WithoutPrefixCache_ConversationsFollowTheLoad) {
  make(2, false);
  for (int turn = 0; turn < 6; ++turn) {
    ASSERT_TRUE(submit(prompt_of(5, 100)).ok());
    settle();
  }
  EXPECT_EQ(counts(), (std::vector<size_t>{3, 3}));
}

TEST_F(EngineGroupTest, Salts_HaveTheirOwnEngines) {
  make(2);
  // Under another salt nothing is shared, so the emptier engine gets it.
  Request first = test_request(1, prompt_of(5, 200), 100);
  first.cache_salt = "alice";
  ASSERT_TRUE(group_->submit(first, &sink_).ok());
  settle();
  Request second = test_request(2, prompt_of(5, 200), 100);
  second.cache_salt = "bob";
  ASSERT_TRUE(group_->submit(second, &sink_).ok());
  settle();
  EXPECT_EQ(counts(), (std::vector<size_t>{1, 1}));
}

TEST_F(EngineGroupTest, PopularBeginning_DoesNotFillOneEngine) {
  make(2);
  for (int i = 0; i < 30; ++i) {
    std::vector<TokenId> prompt = prompt_of(3, 512);  // one system text
    prompt.resize(540, i);
    ASSERT_TRUE(submit(prompt).ok());
    settle();
  }
  for (const size_t count : counts()) EXPECT_GE(count, 12u);
}

TEST_F(EngineGroupTest, ChoicesOfOneRequest_GoTogetherAndCountAsMany) {
  make(2);
  ASSERT_TRUE(submit(prompt_of(1, 8), 8).ok());
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(submit(prompt_of(2, 8)).ok());
  std::vector<size_t> sorted = counts();
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, (std::vector<size_t>{1, 8}));
}

TEST_F(EngineGroupTest, OpenBreaker_IsRoutedAroundUntilItsProbe) {
  make(2);
  open_breaker(0, 5000);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{0, 6}));
  // The probe, and while it is on its way (the engine lets only one pass) everybody elsewhere.
  clock_.advance(from_ms(5000));
  ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{1, 6}));
  engines_[0]->refusal = unavailable("half-open");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{1, 9}));
  // It works again.
  engines_[0]->refusal = ok_status();
  engines_[0]->state.breaker = BreakerState::kClosed;
  settle();
  ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{2, 9}));
}

// Its snapshot stays what it was while the probe's step hangs, and its breaker lets one more pass
// after each cool-down.
TEST_F(EngineGroupTest, ProbeThatHangs_TakesNobodyElseAlong) {
  make(2);
  open_breaker(0, -1);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(submit().ok());
    clock_.advance(from_ms(6000));
  }
  EXPECT_EQ(counts(), (std::vector<size_t>{1, 3}));
  // The step came back, and the breaker is open again: the next probe.
  engines_[0]->state.num_steps += 2;
  ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{2, 3}));
}

TEST_F(EngineGroupTest, EngineThatGaveUp_GetsNothingWhileAnotherWorks) {
  make(2);
  open_breaker(1, -1);
  engines_[1]->state.failed = true;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{4, 0}));
  EXPECT_FALSE(group_->snapshot().failed);
  EXPECT_EQ(group_->snapshot().breaker, BreakerState::kClosed);
}

// Who finds the working engines full is told so, and is no probe for one that fails.
TEST_F(EngineGroupTest, FullAndFailing_IsRefusedAsFull) {
  make(3);
  engines_[0]->refusal = resource_exhausted("full");
  open_breaker(1, -1);
  engines_[1]->state.failed = true;
  open_breaker(2, 5000);
  EXPECT_EQ(submit().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(counts(), (std::vector<size_t>{0, 0, 0}));
  EXPECT_EQ(engines_[1]->num_refused + engines_[2]->num_refused, 0);
}

TEST_F(EngineGroupTest, Log_SaysOnceWhatBecameOfAnEngine) {
  make(2);
  const auto log_of = [&](auto&& change) {
    ::testing::internal::CaptureStderr();
    change();
    for (int i = 0; i < 3; ++i) (void)group_->snapshot();
    const std::string log = ::testing::internal::GetCapturedStderr();
    EXPECT_LE(std::count(log.begin(), log.end(), '\n'), 1) << log;
    return log;
  };
  EXPECT_NE(log_of([&] { open_breaker(1, 5000); }).find("engine 1: failing"), std::string::npos);
  EXPECT_NE(log_of([&] { engines_[1]->state.failed = true; }).find("engine 1: has given up"),
            std::string::npos);
  EXPECT_EQ(log_of([&] { clock_.advance(from_ms(9000)); }), "");
  EXPECT_NE(log_of([&] {
              engines_[1]->state.failed = false;
              engines_[1]->state.breaker = BreakerState::kClosed;
            }).find("engine 1: takes requests again"),
            std::string::npos);
}

// One who looked before an engine failed must not tell after another who looked later.
TEST_F(EngineGroupTest, Log_TellsNothingThatIsOver) {
  make(2);
  engines_[1]->on_snapshot = [&] {  // engine 0 was looked at already
    open_breaker(0, 5000);
    std::thread([&] { (void)group_->snapshot(); }).join();
  };
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) (void)group_->snapshot();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("engine 0: failing"), std::string::npos) << log;
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

TEST_F(EngineGroupTest, StuckEngine_GetsNothingWhileAnotherWorks) {
  make(3);
  hang(1);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{3, 0, 3}));
  EXPECT_EQ(group_->beat().engine, 1);
  EXPECT_TRUE(stuck_for(group_->beat(), std::chrono::seconds(60), clock_.now()));
  EXPECT_EQ(group_->snapshot().num_engines, 2);
  engines_[1]->now.began = clock_.now();
  EXPECT_FALSE(stuck_for(group_->beat(), std::chrono::seconds(60), clock_.now()));
  EXPECT_EQ(group_->snapshot().num_engines, 3);
}

TEST_F(EngineGroupTest, StuckAndFailing_NothingIsLeftHanging) {
  make(2);
  hang(0);
  open_breaker(1, 5000);
  engines_[1]->refusal = unavailable("failing");
  EXPECT_EQ(submit().code(), StatusCode::kUnavailable);
  EXPECT_EQ(counts(), (std::vector<size_t>{0, 0}));
  EXPECT_EQ(group_->snapshot().breaker, BreakerState::kOpen);
}

TEST_F(EngineGroupTest, AllFailing_IsRefusedWithTheFirstProbesTime) {
  make(3);
  for (size_t i = 0; i < 3; ++i) {
    open_breaker(i, 9000 - 1000 * static_cast<double>(i));
    engines_[i]->refusal = unavailable("computing fails");
  }
  const EngineSnapshot load = group_->snapshot();
  EXPECT_EQ(load.breaker, BreakerState::kOpen);
  EXPECT_EQ(load.breaker_retry_at, clock_.now() + from_ms(7000));
  EXPECT_FALSE(load.failed);
  EXPECT_EQ(submit().code(), StatusCode::kUnavailable);
  for (Scripted* engine : engines_) engine->state.failed = true;
  EXPECT_TRUE(group_->snapshot().failed);
}

TEST_F(EngineGroupTest, FullEngine_TheNextOneTakesIt) {
  make(3);
  engines_[0]->refusal = engines_[1]->refusal = resource_exhausted("full");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{0, 0, 5}));
  engines_[2]->refusal = resource_exhausted("full");
  const int before = engines_[0]->num_refused;
  EXPECT_EQ(submit().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(engines_[0]->num_refused, before + 1);  // each is asked once
}

TEST_F(EngineGroupTest, Conversation_StaysWhereItWasTaken) {
  make(2);
  for (uint64_t i = 1; i <= 6; ++i) {
    const auto evenly_loaded = [&] {
      for (Scripted* engine : engines_) {
        engine->state.num_running = 2;
        engine->state.num_steps += 2;
      }
    };
    evenly_loaded();
    engines_[0]->refusal = resource_exhausted("full");
    ASSERT_TRUE(submit(prompt_of(i, 100)).ok());
    evenly_loaded();
    engines_[0]->refusal = ok_status();
    ASSERT_TRUE(submit(prompt_of(i, 160)).ok());
    EXPECT_EQ(counts(), (std::vector<size_t>{0, 2 * i}));
  }
}

TEST_F(EngineGroupTest, RefusedWork_IsNotCounted) {
  make(2);
  for (Scripted* engine : engines_) engine->refusal = invalid_argument("too long");
  EXPECT_EQ(submit(prompt_of(1, 8), 8).code(), StatusCode::kInvalidArgument);
  for (Scripted* engine : engines_) engine->refusal = ok_status();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{1, 1}));
}

// Threads look, and then choose one after the other: the last to choose may have looked first.
TEST_F(EngineGroupTest, LateChoice_LeavesWhatIsOnItsWayCounted) {
  make(2);
  const auto look_at_step = [&](uint64_t num_steps) {
    for (Scripted* engine : engines_) engine->state.num_steps = num_steps;
  };
  look_at_step(12);
  engines_[1]->refusal = resource_exhausted("full");
  ASSERT_TRUE(submit(prompt_of(1, 8), 8).ok());
  look_at_step(10);
  ASSERT_TRUE(submit().ok());
  look_at_step(12);
  engines_[1]->refusal = ok_status();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(submit().ok());
  EXPECT_EQ(counts(), (std::vector<size_t>{2, 6}));
}

TEST_F(EngineGroupTest, WrongRequest_IsWrongEverywhere) {
  make(3);
  for (Scripted* engine : engines_) engine->refusal = invalid_argument("too long");
  EXPECT_EQ(submit().code(), StatusCode::kInvalidArgument);
  int num_refused = 0;
  for (const Scripted* engine : engines_) num_refused += engine->num_refused;
  EXPECT_EQ(num_refused, 1);
}

TEST_F(EngineGroupTest, Cancel_ReachesWhoeverHasIt) {
  make(3);
  group_->cancel(17);
  for (const Scripted* engine : engines_) EXPECT_EQ(engine->cancelled, std::vector<uint64_t>{17});
}

TEST_F(EngineGroupTest, Snapshot_IsWhatANewcomerMeets) {
  make(3);
  engines_[0]->state.num_running = 16;
  engines_[0]->state.num_waiting = 40;
  engines_[0]->state.num_waiting_prompt_tokens = 100'000;
  engines_[1]->state.num_running = 3;
  engines_[2]->state.num_running = 5;
  engines_[2]->state.step_fixed_ms = 50;
  engines_[2]->state.num_steps = 40;
  const EngineSnapshot load = group_->snapshot();
  EXPECT_EQ(load.num_running, 3);
  EXPECT_EQ(load.num_waiting, 0);
  EXPECT_EQ(load.num_engines, 3);
  EXPECT_EQ(load.step_fixed_ms, 30);  // the pace of all
  EXPECT_EQ(load.num_steps, 20u);
  EXPECT_EQ(group_->engines().size(), 3u);
  EXPECT_EQ(group_->engines()[0].load.num_waiting, 40);
}

// Admission counts what it let in for two steps.
TEST_F(EngineGroupTest, Steps_AreThoseOfTheEnginesThatWork) {
  make(4);
  const uint64_t before = group_->snapshot().num_steps;
  engines_[0]->state.failed = true;
  open_breaker(1, 5000);
  for (size_t i = 0; i < 4; ++i) engines_[i]->state.num_steps += i < 2 ? 0 : 2;
  EXPECT_EQ(group_->snapshot().num_steps, before + 2);
  // Those that stood do not count for what they missed, and nothing goes back.
  engines_[0]->state.failed = false;
  engines_[1]->state.breaker = BreakerState::kClosed;
  EXPECT_EQ(group_->snapshot().num_steps, before + 2);
  for (Scripted* engine : engines_) engine->state.num_steps += 3;
  EXPECT_EQ(group_->snapshot().num_steps, before + 5);
}

// Real engines on their threads, and many threads that submit and cancel: everything ends exactly
// once, with the tokens of its prompt, wherever it ran.
TEST(EngineGroupThreads, EverythingEndsOnceAndRight) {
  constexpr int kEngines = 3;
  constexpr int kThreads = 4;
  constexpr int kPerThread = 60;
  const std::shared_ptr<const Tokenizer> tokenizer = test_tokenizer();
  const RealClock clock;
  FakeExecutorOptions fake;
  fake.limits.vocab_size = kTestVocab;
  std::vector<std::unique_ptr<FakeExecutor>> executors;
  std::vector<std::unique_ptr<Engine>> engines;
  std::vector<std::unique_ptr<EngineThread>> threads;
  std::vector<std::unique_ptr<EnginePort>> ports;
  for (int i = 0; i < kEngines; ++i) {
    executors.push_back(std::make_unique<FakeExecutor>(fake));
    engines.push_back(
        std::make_unique<Engine>(*executors.back(), *tokenizer, EngineOptions{}, nullptr));
    threads.push_back(std::make_unique<EngineThread>(*engines.back(), clock));
    ports.push_back(std::make_unique<EngineAdapter>(*engines.back()));
    threads.back()->start();
  }
  EngineGroup group(std::move(ports), {.key = {3, 4}});

  // A sink that engines of several threads call at once.
  class SharedSink final : public EventSink {
   public:
    explicit SharedSink(int count) : left_(count) {}
    void publish(std::vector<StreamEvent>&& events) override {
      std::lock_guard lock(mutex_);
      int num_finished = 0;
      for (const StreamEvent& event : events) num_finished += event.finish != FinishReason::kNone;
      transcripts.publish(std::move(events));
      left_.count_down(num_finished);
    }
    void wait() { left_.wait(); }
    CollectingSink transcripts;

   private:
    std::mutex mutex_;
    std::latch left_;
  };
  SharedSink sink(kThreads * kPerThread);
  const auto prompt = [](uint64_t id) { return prompt_of(id % 7, 10 + static_cast<int>(id % 40)); };
  std::atomic<bool> is_over{false};
  std::thread watcher([&] {  // health and admission, meanwhile
    while (!is_over) {
      const EngineSnapshot load = group.snapshot();
      EXPECT_EQ(load.num_engines, kEngines);
      EXPECT_FALSE(group.beat().failed);
      EXPECT_EQ(group.engines().size(), size_t{kEngines});
    }
  });
  std::vector<std::thread> clients;
  for (uint64_t t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      for (uint64_t i = 0; i < kPerThread; ++i) {
        const uint64_t id = 1 + t * kPerThread + i;
        Request request = test_request(id, prompt(id), 12);
        request.arrival = clock.now();
        const Status status = group.submit(std::move(request), &sink);
        ASSERT_TRUE(status.ok()) << status.message();
        if (id % 5 == 0) group.cancel(id);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  sink.wait();
  is_over = true;
  watcher.join();
  for (const auto& thread : threads) thread->stop();
  for (uint64_t id = 1; id <= kThreads * kPerThread; ++id) {
    const Transcript& got = sink.transcripts.at(id);
    ASSERT_EQ(got.finishes.size(), 1u) << id;
    std::vector<TokenId> wanted = executors[0]->expected_tokens(prompt(id), 12);
    if (id % 5 == 0) wanted.resize(std::min(wanted.size(), got.tokens.size()));
    EXPECT_EQ(got.tokens, wanted) << id;
  }
  for (int i = 0; i < kEngines; ++i) {
    EXPECT_GT(engines[static_cast<size_t>(i)]->snapshot().mean_output_tokens, 0) << i;
  }
}

}  // namespace
}  // namespace sparrow::api
