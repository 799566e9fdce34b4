// Fuzz entry of the scheduler: bytes are operations (add, cancel, let time pass, step) on a small
// machine that runs out of everything, and that half of the time takes two steps at once. The fake
// executor checks every plan and knows every text; after each step blocks, slots and progress add
// up, and in the end every sequence has ended once.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "model/fake_executor.h"
#include "scheduler/scheduler.h"

namespace sparrow {
namespace {

constexpr size_t kMaxInputBytes = 4096;
constexpr int kBlockTokens = 4;
constexpr int kMaxLive = 64;

class Operations {
 public:
  explicit Operations(std::string_view bytes) : bytes_(bytes) {}
  bool done() const { return bytes_.empty(); }
  int take() {
    if (bytes_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(bytes_.front());
    bytes_.remove_prefix(1);
    return byte;
  }

 private:
  std::string_view bytes_;
};

class Machine final : public TokenConsumer {
 public:
  explicit Machine(Operations& operations) {
    const int num_blocks = 2 + operations.take() % 30;
    const int num_slots = 1 + operations.take() % 6;
    const int max_rows = num_slots + operations.take() % 24;
    FakeExecutorOptions fake;
    fake.limits.block_tokens = kBlockTokens;
    fake.limits.num_blocks = num_blocks;
    fake.limits.num_slots = num_slots;
    fake.limits.max_batch_tokens = max_rows;
    fake.num_tokens = 8;  // texts that repeat, for the guesses
    const int fail_every = operations.take();
    fake.limits.max_steps_in_flight = 1 + fail_every % 2;
    failed_.failed = true;
    if (fail_every >= 128) {
      fake.fails = [fail_every](uint64_t step) {
        return step % static_cast<uint64_t>(fail_every - 126) == 1;
      };
    }
    executor_ = std::make_unique<FakeExecutor>(fake);
    SchedulerOptions options;
    options.block_tokens = kBlockTokens;
    options.num_blocks = num_blocks;
    options.num_slots = num_slots;
    options.max_batch_tokens = options.max_num_batched_tokens = max_rows;
    options.max_num_seqs = num_slots;
    options.max_step_ms = 1 + operations.take() % 8;
    options.speculation.max_tokens = operations.take() % 5;
    scheduler_ = std::make_unique<Scheduler>(options);
  }

  void run(Operations& operations) {
    while (!operations.done()) {
      switch (operations.take() % 8) {
        case 0:
        case 1:
          add(operations);
          break;
        case 2:
          scheduler_->finish_request(static_cast<uint64_t>(operations.take()) % (next_id_ + 1),
                                     FinishReason::kCancelled);
          break;
        case 3:
          now_ += from_ms(operations.take());
          scheduler_->expire(now_);
          break;
        default:
          step();
      }
      collect();
    }
    // Whatever is left ends by itself; the bound is far above what progress needs.
    for (int i = 0; i < 200'000 && !(scheduler_->idle() && on_way_.empty()); ++i) {
      step();
      collect();
    }
    CHECK(scheduler_->idle() && on_way_.empty());
    CHECK(live_.empty() && leaving_.empty());
    CHECK(executor_->num_held_slots() == 0);
  }

 private:
  struct OnWay {
    Ticket ticket = 0;
    bool is_worthless = false;  // behind a failed step
  };

  void add(Operations& operations) {
    const int num_prompt = 1 + operations.take() % 40;
    const int max_tokens = 1 + operations.take() % 40;
    const int kind = operations.take();
    if (live_.size() >= kMaxLive) return;
    auto request = std::make_shared<Request>();
    request->id = ++next_id_;
    request->arrival = now_;
    request->priority = kind % 3 == 0 ? -1 : 0;
    request->fairness_key = std::string(1, static_cast<char>('a' + kind % 4));
    if (kind >= 200) request->total_deadline = now_ + from_ms(kind - 199);
    auto sequence = std::make_unique<Sequence>();
    sequence->params.temperature = 0;
    for (int i = 0; i < num_prompt; ++i) sequence->tokens.push_back((kind / 8 + i) % 8);
    sequence->num_prompt_tokens = num_prompt;
    sequence->max_tokens = max_tokens;
    live_[request->id] = executor_->expected_tokens(sequence->tokens, max_tokens);
    request->prompt = sequence->tokens;
    sequence->request = std::move(request);
    scheduler_->add(std::move(sequence));
  }

  FinishReason on_token(Sequence& sequence, const SampledToken& token,
                        std::span<const TokenLogprob>) override {
    const std::vector<TokenId>& expected = live_.at(sequence.request->id);
    const auto index = static_cast<size_t>(sequence.num_output_tokens() - 1);
    CHECK(index < expected.size() && expected[index] == token.id);
    return sequence.num_output_tokens() == sequence.max_tokens ? FinishReason::kMaxTokens
                                                               : FinishReason::kNone;
  }

  void start(const BatchPlan& plan) {
    const Ticket ticket = executor_->begin(plan);
    executor_->sample(ticket, {});
    on_way_.push_back({.ticket = ticket});
  }

  void step() {
    if (on_way_.empty()) {
      const BatchPlan& plan = scheduler_->plan(now_);
      release_slots();
      if (plan.empty()) return;
      start(plan);
    }
    if (executor_->limits().max_steps_in_flight > 1 && !on_way_.front().is_worthless) {
      const BatchPlan& ahead = scheduler_->plan_ahead(now_);
      if (!ahead.empty()) start(ahead);
    }
    const OnWay step = on_way_.front();
    on_way_.pop_front();
    const StepResult& result = executor_->wait(step.ticket);
    now_ += Duration{result.elapsed_ns};
    if (result.failed && !on_way_.empty()) on_way_.front().is_worthless = true;
    scheduler_->commit(step.is_worthless ? failed_ : result, now_, *this);
  }

  void collect() {
    for (auto& sequence : scheduler_->take_finished()) {
      CHECK(live_.erase(sequence->request->id) == 1);
      CHECK(sequence->finish != FinishReason::kNone);
      CHECK((sequence->slot == kNoSlot) == (sequence->num_steps_on_way == 0));
      if (sequence->finish == FinishReason::kMaxTokens) {
        CHECK(sequence->num_output_tokens() == sequence->max_tokens);
      }
      leaving_.push_back(std::move(sequence));
    }
    release_slots();
    std::erase_if(leaving_, [](const auto& sequence) { return sequence->num_steps_on_way == 0; });
    scheduler_->check_integrity();
  }

  void release_slots() {
    for (const SlotId slot : scheduler_->released_slots()) executor_->release(slot);
    scheduler_->clear_released_slots();
  }

  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Scheduler> scheduler_;
  std::map<uint64_t, std::vector<TokenId>> live_;   // by request: the text it must get
  std::vector<std::unique_ptr<Sequence>> leaving_;  // ended, in a step on its way
  std::deque<OnWay> on_way_;                        // the oldest first
  StepResult failed_;
  uint64_t next_id_ = 0;
  TimePoint now_{};
};

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > sparrow::kMaxInputBytes) return 0;
  sparrow::Operations operations({reinterpret_cast<const char*>(data), size});
  sparrow::Machine machine(operations);
  machine.run(operations);
  return 0;
}
