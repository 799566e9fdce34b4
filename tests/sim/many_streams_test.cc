// 64 streams at once on a real engine thread, with clients that hang up at random: nothing leaks
// and every text is the one of the same prompt alone. The run for the thread sanitizer.

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/random.h"
#include "engine/engine_thread.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

constexpr int kNumClients = 8;
constexpr int kStreamsPerClient = 8;
constexpr int kRounds = 4;
constexpr int kMaxTokens = 60;

// The client's side of its streams: what came, and a wake-up when something did.
class Client final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    std::lock_guard lock(mutex_);
    transcripts_.publish(std::move(events));
    arrived_.notify_all();  // under the lock: with the last event the client may be gone at once
  }
  // A copy once `enough` says so.
  template <typename Enough>
  Transcript wait_for(uint64_t id, Enough enough) {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return enough(transcripts_.at(id)); });
    return transcripts_.at(id);
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  CollectingSink transcripts_;  // guarded by mutex_
};

bool has_ended(const Transcript& transcript) { return !transcript.finishes.empty(); }

void use(Engine& engine, const FakeExecutor& executor, int client_index) {
  Client client;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<uint64_t> ids;
    for (int stream = 0; stream < kStreamsPerClient; ++stream) {
      const int number = (client_index * kRounds + round) * kStreamsPerClient + stream + 1;
      ids.push_back(static_cast<uint64_t>(number));
      const Status status = engine.submit(
          test_request(ids.back(), prompt_of(ids.back(), 5 + number % 40), kMaxTokens), &client);
      ASSERT_TRUE(status.ok()) << status.message();
    }
    for (const uint64_t id : ids) {
      const size_t leave_after = mix64(id) % 3 == 0 ? mix64(id + 1) % 20 : kMaxTokens;
      if (leave_after < kMaxTokens) {
        client.wait_for(id, [&](const Transcript& one) {
          return one.tokens.size() >= leave_after || has_ended(one);
        });
        engine.cancel(id);
      }
      const Transcript got = client.wait_for(id, has_ended);
      EXPECT_EQ(got.finishes.size(), 1u);
      EXPECT_EQ(got.tokens, executor.expected_tokens(prompt_of(id, 5 + static_cast<int>(id) % 40),
                                                     static_cast<int>(got.tokens.size())));
      const bool stayed = leave_after == kMaxTokens;
      EXPECT_TRUE(!stayed || got.tokens.size() == size_t{kMaxTokens});
    }
  }
}

TEST(ManyStreams, RandomDisconnects_LeakNothingAndChangeNobodysText) {
  const auto tokenizer = test_tokenizer();
  FakeExecutorOptions fake;
  fake.limits.num_slots = 64;
  fake.limits.num_blocks = 600;  // 64 streams of up to 26 blocks: some are preempted
  fake.limits.max_batch_tokens = 256;
  fake.limits.vocab_size = kTestVocab;
  FakeExecutor executor(fake);
  MetricsRegistry metrics;
  Engine engine(executor, *tokenizer, {}, &metrics);
  const RealClock clock;
  EngineThread thread(engine, clock);
  thread.start();
  std::vector<std::thread> clients;
  for (int i = 0; i < kNumClients; ++i) {
    clients.emplace_back([&, i] { use(engine, executor, i); });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(thread.drain(clock.now() + std::chrono::seconds(30)));
  thread.stop();
  engine.check_integrity();
  EXPECT_EQ(engine.snapshot().num_blocks_live, 0);
  EXPECT_EQ(executor.num_held_slots(), 0);
}

}  // namespace
}  // namespace sparrow
