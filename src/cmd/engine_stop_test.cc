// A server is told to stop while a step hangs: the process ends, and says where the step was.

#include "cmd/engine_stop.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

#include "engine/test_support.h"

namespace sparrow {
namespace {

// Holds the step that enters until it is opened.
class Gate {
 public:
  void enter() {
    std::unique_lock lock(mutex_);
    has_entered_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return is_open_; });
  }
  void wait_until_entered() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return has_entered_; });
  }
  void open() {
    std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_entered_ = false;
  bool is_open_ = false;
};

// An engine on its thread, whose first step waits at the gate; and before it maybe one that is
// idle.
struct HangingServer {
  explicit HangingServer(bool has_idle_engine = false) : events(false) {
    EXPECT_TRUE(events.start().ok());  // before any thread, as in serve
    FakeExecutorOptions fake;
    fake.limits.vocab_size = kTestVocab;
    fake.on_part = [this](uint64_t step, StepPart part) {
      if (step == 1 && part == StepPart::kWait) gate.enter();
    };
    executor = std::make_unique<FakeExecutor>(fake);
    engine = std::make_unique<Engine>(*executor, *tokenizer, EngineOptions{}, nullptr);
    thread = std::make_unique<EngineThread>(*engine, clock);
    EXPECT_TRUE(engine->submit(test_request(1, prompt_of(1, 6), 4), &sink).ok());
    thread->start();  // and its first step has the request
    gate.wait_until_entered();
    if (!has_idle_engine) return;
    idle_executor = std::make_unique<FakeExecutor>(FakeExecutorOptions{});
    idle_engine = std::make_unique<Engine>(*idle_executor, *tokenizer, EngineOptions{}, nullptr);
    idle_thread = std::make_unique<EngineThread>(*idle_engine, clock);
    idle_thread->start();
  }

  std::vector<EngineOnThread> engines() const {
    std::vector<EngineOnThread> all;
    if (idle_thread) all.push_back({idle_thread.get(), idle_engine.get()});
    all.push_back({thread.get(), engine.get()});
    return all;
  }

  ServeEvents events;
  Gate gate;
  RealClock clock;
  std::shared_ptr<const Tokenizer> tokenizer = test_tokenizer();
  std::unique_ptr<FakeExecutor> executor;
  CollectingSink sink;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<EngineThread> thread;
  std::unique_ptr<FakeExecutor> idle_executor;
  std::unique_ptr<Engine> idle_engine;
  std::unique_ptr<EngineThread> idle_thread;
};

class EngineStopTest : public ::testing::Test {
 protected:
  // The process of a death test starts anew, without the threads of this one.
  EngineStopTest() { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

void stop_while_hanging(Duration patience, bool with_signal) {
  HangingServer server;
  if (with_signal) ::kill(::getpid(), SIGTERM);
  stop_engines(server.engines(), server.events, patience);
}

TEST_F(EngineStopTest, HangingStep_AnotherSignalEndsTheProcess) {
  EXPECT_EXIT(stop_while_hanging(std::chrono::hours(1), true), ::testing::ExitedWithCode(kExitHung),
              "still in step 1 \\(1 spans, 6 rows, predicted .*another signal came");
}

TEST_F(EngineStopTest, HangingStep_TimeEndsTheProcess) {
  EXPECT_EXIT(stop_while_hanging(Duration{}, false), ::testing::ExitedWithCode(kExitHung),
              "still in step 1 \\(1 spans, 6 rows, predicted .*time is up");
}

TEST_F(EngineStopTest, OneOfTwoHangs_TheLogSaysWhich) {
  const auto stop = [] {
    HangingServer server(true);
    stop_engines(server.engines(), server.events, Duration{});
  };
  EXPECT_EXIT(stop(), ::testing::ExitedWithCode(kExitHung),
              "engine 1: still in step 1 \\(1 spans, 6 rows, predicted .*time is up");
}

TEST_F(EngineStopTest, StepThatComesBack_EndsInGoodOrder) {
  for (const bool has_idle_engine : {false, true}) {
    const auto stop_and_exit = [=] {
      HangingServer server(has_idle_engine);
      server.thread->request_stop();
      EXPECT_FALSE(server.thread->has_ended());
      server.gate.open();
      stop_engines(server.engines(), server.events, std::chrono::hours(1));
      const bool was_cancelled =
          server.sink.at(1).finishes == std::vector<FinishReason>{FinishReason::kCancelled};
      const bool idle_has_ended = !server.idle_thread || server.idle_thread->has_ended();
      ::_exit(was_cancelled && server.thread->has_ended() && idle_has_ended ? 0 : 1);
    };
    EXPECT_EXIT(stop_and_exit(), ::testing::ExitedWithCode(0), "");
  }
}

}  // namespace
}  // namespace sparrow
