// Two steps in flight: whatever a client can see is what it sees when the engine waits for each
// step. Seeded loads are run both ways and compared; what happens around the boundary of two steps
// is looked at one by one.

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <stdexcept>

#include "base/random.h"
#include "engine/engine.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

class Dice {
 public:
  explicit Dice(uint64_t seed) : seed_(seed) {}
  int between(int low, int high) {
    const auto span = static_cast<uint64_t>(high - low + 1);
    return low + static_cast<int>(random_bits(seed_, 9, num_thrown_++) % span);
  }
  bool chance(int percent) { return between(1, 100) <= percent; }

 private:
  const uint64_t seed_;
  uint64_t num_thrown_ = 0;
};

// Allows one letter less at each position, in turns.
class TurningMasker final : public TokenMasker {
 public:
  bool fill(std::span<uint32_t> mask) override {
    for (int letter = 0; letter < 26; ++letter) {
      if (letter % 3 == num_accepted_ % 3) continue;
      const auto id = static_cast<size_t>('a' + letter);
      mask[id / 32] |= 1u << (id % 32);
    }
    return true;
  }
  bool accept(TokenId) override { return ++num_accepted_ >= 0; }
  void roll_back(int num_tokens) override { num_accepted_ -= num_tokens; }

 private:
  int num_accepted_ = 0;
};

struct Seen {
  Transcript text;
  std::vector<float> logprobs;
  std::vector<TokenId> tops;
};

class LogprobSink final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    for (const StreamEvent& event : events) {
      Seen& one = seen[{event.request_id, event.choice}];
      for (const EventToken& token : event.tokens) {
        one.logprobs.push_back(token.logprob);
        for (const TokenLogprob& top : token.top) one.tops.push_back(top.id);
      }
    }
    texts.publish(std::move(events));
    for (auto& [key, transcript] : texts.transcripts) seen[key].text = transcript;
  }
  std::map<std::pair<uint64_t, int>, Seen> seen;
  CollectingSink texts;
};

// One load on one machine.
class Life {
 public:
  // is_calm: nobody waits, and steps take the same time whatever is in them, so that even the times
  // must be the same.
  Life(uint64_t seed, int max_steps, bool is_calm)
      : dice_(seed), is_calm_(is_calm), executor_(machine(max_steps)) {
    EngineOptions options;
    options.max_step_ms = is_calm ? 1000 : dice_.between(5, 60);
    options.prefix.enabled = dice_.chance(80);
    if (!is_calm && dice_.chance(40)) options.speculation.max_tokens = 4;
    speculates_ = options.speculation.max_tokens > 0;
    engine_ = std::make_unique<Engine>(executor_, *tokenizer_, options, &metrics_);
    const int num_requests = is_calm ? dice_.between(1, 6) : dice_.between(2, 12);
    for (int i = 0; i < num_requests; ++i) plan_request(static_cast<uint64_t>(i + 1));
  }

  void run() {
    for (int step = 0; step < 20'000; ++step) {
      submit_due();
      cancel_due();
      clock_.advance(engine_->step(clock_.now()).executor_time);
      engine_->check_integrity();
      if (engine_->idle() && num_submitted_ == arrivals_.size()) {
        EXPECT_EQ(executor_.num_held_slots(), 0);
        EXPECT_EQ(engine_->snapshot().num_blocks_live, 0);
        return;
      }
    }
    FAIL() << "no end";
  }

  const LogprobSink& sink() const { return sink_; }
  int num_ahead() const { return num_ahead_; }
  uint64_t counter(const char* name, const char* reason = nullptr) {
    MetricLabels labels = {{"engine", "0"}, {"model_name", "sparrow"}};
    if (reason != nullptr) labels.emplace_back("finished_reason", reason);
    return metrics_.counter(name, "", std::move(labels)).value();
  }
  // Without what tells of steps: rows that are dropped are rows all the same.
  std::string metrics_of_requests() {
    std::istringstream all(metrics_.render());
    std::string out, line;
    while (std::getline(all, line)) {
      const bool is_of_steps = line.find("iteration_tokens") != std::string::npos ||
                               line.find("step") != std::string::npos;
      if (!is_of_steps) out += line + "\n";
    }
    return out;
  }

 private:
  struct Planned {
    Request request;
    bool has_masker = false;
    size_t after_tokens = 0;  // of all, seen by the clients
    int cancel_at = -1;       // tokens of its own
  };

  FakeExecutorOptions machine(int max_steps) {
    FakeExecutorOptions fake;
    fake.limits.max_steps_in_flight = max_steps;
    fake.limits.vocab_size = kTestVocab;
    fake.limits.num_slots = is_calm_ ? 24 : dice_.between(2, 8);
    fake.limits.num_blocks = is_calm_ ? 600 : dice_.between(17, 40);
    fake.limits.max_batch_tokens = is_calm_ ? 600 : dice_.between(12, 64);
    fake.first_token = 'a';
    fake.num_tokens = dice_.chance(50) ? 3 : 26;
    fake.eos_token = kEos;
    fake.eos_per_mille = dice_.between(0, 60);
    fake.row_ms = is_calm_ ? 0 : 0.1;
    fake.fixed_ms = 10;
    fake.on_part = [this](uint64_t, StepPart part) {
      if (part == StepPart::kBegin) num_ahead_ += num_in_flight_++;
      if (part == StepPart::kWait) --num_in_flight_;
    };
    return fake;
  }

  void plan_request(uint64_t id) {
    Planned planned;
    Request& request = planned.request;
    request = test_request(
        id, prompt_of(static_cast<uint64_t>(dice_.between(0, 2)), dice_.between(1, 24)),
        dice_.between(1, 40));
    request.sampling.temperature = dice_.chance(50) ? 0 : 1;
    request.sampling.seed = static_cast<uint64_t>(dice_.between(1, 1000));
    request.sampling.num_top_logprobs = dice_.between(-1, 3);
    request.stop.token_ids = {kEos};
    request.stop.ignore_eos = dice_.chance(20);
    request.stop.min_tokens = dice_.chance(20) ? std::min(5, request.stop.max_tokens) : 0;
    if (dice_.chance(30)) request.stop.strings = {"ab", "caa"};
    request.num_choices = dice_.chance(25) ? dice_.between(2, 4) : 1;
    if (!is_calm_ && dice_.chance(30)) {
      request.reasoning = {.start = kThinkStart,
                           .end = kThinkEnd,
                           .starts_inside = true,
                           .max_tokens = dice_.between(0, 20),
                           .answer_reserve = dice_.between(0, 5),
                           .closing = {kThinkEnd, '\n', '\n'}};
    }
    planned.has_masker = request.num_choices == 1 && dice_.chance(10);
    if (is_calm_ && dice_.chance(40)) {
      request.total_deadline = clock_.now() + from_ms(dice_.between(1, 400));
    }
    if (!is_calm_) planned.after_tokens = static_cast<size_t>(dice_.between(0, 60));
    if (!speculates_ && request.num_choices == 1 && dice_.chance(25)) {
      planned.cancel_at = dice_.between(0, 20);
    }
    arrivals_.push_back(std::move(planned));
  }

  void submit_due() {
    size_t num_tokens = 0;
    for (const auto& [key, seen] : sink_.seen) num_tokens += seen.text.tokens.size();
    while (num_submitted_ < arrivals_.size()) {
      Planned& next = arrivals_[num_submitted_];
      if (next.after_tokens > num_tokens && !engine_->idle()) return;
      Request request = next.request;
      if (next.has_masker) request.masker = std::make_shared<TurningMasker>();
      ASSERT_TRUE(engine_->submit(std::move(request), &sink_).ok());
      ++num_submitted_;
    }
  }

  void cancel_due() {
    for (size_t i = 0; i < num_submitted_; ++i) {
      const Planned& planned = arrivals_[i];
      const auto& tokens = sink_.seen[{planned.request.id, 0}].text.tokens;
      if (planned.cancel_at > 0 && static_cast<int>(tokens.size()) >= planned.cancel_at) {
        engine_->cancel(planned.request.id);
      }
    }
  }

  Dice dice_;
  const bool is_calm_;
  bool speculates_ = false;
  int num_in_flight_ = 0;
  int num_ahead_ = 0;
  FakeClock clock_;
  std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  MetricsRegistry metrics_;
  FakeExecutor executor_;
  std::unique_ptr<Engine> engine_;
  LogprobSink sink_;
  std::vector<Planned> arrivals_;
  size_t num_submitted_ = 0;
};

void expect_same(const LogprobSink& one, const LogprobSink& two, bool with_times) {
  ASSERT_EQ(one.seen.size(), two.seen.size());
  for (const auto& [key, a] : one.seen) {
    SCOPED_TRACE("request " + std::to_string(key.first) + ", choice " + std::to_string(key.second));
    ASSERT_TRUE(two.seen.contains(key));
    const Seen& b = two.seen.at(key);
    EXPECT_EQ(a.text.answer, b.text.answer);
    EXPECT_EQ(a.text.reasoning, b.text.reasoning);
    EXPECT_EQ(a.text.tokens, b.text.tokens);
    EXPECT_EQ(a.text.finishes, b.text.finishes);
    EXPECT_EQ(a.logprobs, b.logprobs);
    EXPECT_EQ(a.tops, b.tops);
    EXPECT_EQ(a.text.usage.num_output_tokens, b.text.usage.num_output_tokens);
    EXPECT_EQ(a.text.usage.num_reasoning_tokens, b.text.usage.num_reasoning_tokens);
    if (!with_times) continue;
    EXPECT_EQ(a.text.usage.num_cached_tokens, b.text.usage.num_cached_tokens);
    EXPECT_EQ(a.text.usage.queue_time, b.text.usage.queue_time);
    EXPECT_EQ(a.text.usage.prefill_time, b.text.usage.prefill_time);
    EXPECT_EQ(a.text.usage.decode_time, b.text.usage.decode_time);
  }
}

TEST(Overlap, SeededLoads_GiveEachClientTheSame) {
  int num_ahead = 0;
  uint64_t num_preemptions = 0;
  std::map<FinishReason, int> finishes;
  for (uint64_t seed = 1; seed <= 600 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Life one(seed, 1, false), two(seed, 2, false);
    one.run();
    two.run();
    expect_same(one.sink(), two.sink(), false);
    EXPECT_EQ(one.num_ahead(), 0);
    for (const char* name : {"vllm:generation_tokens_total", "vllm:prompt_tokens_total"}) {
      EXPECT_EQ(one.counter(name), two.counter(name)) << name;
    }
    for (const char* reason : {"stop", "length", "abort", "error"}) {
      EXPECT_EQ(one.counter("vllm:request_success_total", reason),
                two.counter("vllm:request_success_total", reason))
          << reason;
    }
    num_ahead += two.num_ahead();
    num_preemptions += two.counter("vllm:num_preemptions_total");
    for (const auto& [key, seen] : two.sink().seen) ++finishes[seen.text.finishes.at(0)];
  }
  EXPECT_GT(num_ahead, 5'000);
  EXPECT_GT(num_preemptions, 300u);
  for (const FinishReason reason : {FinishReason::kMaxTokens, FinishReason::kStopToken,
                                    FinishReason::kStopString, FinishReason::kCancelled}) {
    EXPECT_GT(finishes[reason], 100) << finish_reason_name(reason);
  }
}

TEST(Overlap, SeededLoadsWhereNobodyWaits_TakeTheSameTimeAndCountTheSame) {
  int num_ahead = 0, num_deadlines = 0;
  for (uint64_t seed = 1; seed <= 300 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Life one(seed, 1, true), two(seed, 2, true);
    one.run();
    two.run();
    expect_same(one.sink(), two.sink(), true);
    EXPECT_EQ(one.metrics_of_requests(), two.metrics_of_requests());
    num_ahead += two.num_ahead();
    for (const auto& [key, seen] : two.sink().seen) {
      num_deadlines += seen.text.finishes.at(0) == FinishReason::kDeadline ? 1 : 0;
    }
  }
  EXPECT_GT(num_ahead, 2'000);
  EXPECT_GT(num_deadlines, 100);
}

}  // namespace
}  // namespace sparrow
