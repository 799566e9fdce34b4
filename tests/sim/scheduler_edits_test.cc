// Seeded lives of sequences that are edited while they run: tokens forced into them, tokens cut
// off, preemptions and ends in between. Every sampled token must be the one that follows the tokens
// before it, whatever blocks the edits gave back or shared.

#include <gtest/gtest.h>

#include <map>

#include "engine/test_support.h"
#include "scheduler/scheduler.h"
#include "seeded_random.h"

namespace sparrow {
namespace {

class EditedLife final : public TokenConsumer {
 public:
  explicit EditedLife(uint64_t seed) : random_(seed), executor_(fake_options()) {
    const ExecutorLimits limits = executor_.limits();
    SchedulerOptions options{.block_tokens = limits.block_tokens,
                             .num_blocks = limits.num_blocks,
                             .num_slots = limits.num_slots,
                             .max_batch_tokens = limits.max_batch_tokens,
                             .speculation = {}};
    options.speculation.max_tokens = random_.pick({0, 0, 4});
    scheduler_.emplace(options);
  }

  void run() {
    for (int i = 0; i < 150; ++i) {
      if (random_.chance(300)) add();
      for (int edits = random_.between(0, 3); edits > 0 && !live_.empty(); --edits) edit();
      step();
    }
    while (!scheduler_->idle() && !::testing::Test::HasFailure()) step();
    EXPECT_EQ(executor_.num_held_slots(), 0);
    EXPECT_TRUE(live_.empty());
  }
  int num_forced() const { return num_forced_; }
  int num_cut() const { return num_cut_; }
  uint64_t num_preemptions() const { return scheduler_->num_preemptions(); }

 private:
  FakeExecutorOptions fake_options() {
    FakeExecutorOptions fake;
    fake.limits.block_tokens = random_.pick({1, 4, 16});
    fake.limits.max_context_tokens = 120;
    fake.limits.num_blocks = 120 / fake.limits.block_tokens + random_.between(1, 60);
    fake.limits.num_slots = random_.between(1, 6);
    fake.limits.max_batch_tokens = random_.between(8, 64);
    fake.first_token = 'a';
    fake.num_tokens = 3;
    return fake;
  }

  void add() {
    auto sequence = std::make_unique<Sequence>();
    const int prompt_len = random_.between(1, 60);
    auto request = std::make_shared<Request>(test_request(
        ++num_added_, prompt_of(random_.next() % 2, prompt_len), random_.between(1, 59)));
    sequence->params = request->sampling;
    sequence->tokens = request->prompt;
    sequence->num_prompt_tokens = prompt_len;
    sequence->max_tokens = request->stop.max_tokens;
    sequence->request = std::move(request);
    live_[num_added_] = sequence.get();
    scheduler_->add(std::move(sequence));
  }

  void edit() {
    auto at = live_.begin();
    std::advance(at, random_.between(0, static_cast<int>(live_.size()) - 1));
    Sequence& sequence = *at->second;
    const int room = sequence.max_positions() - sequence.num_tokens() - 1;
    switch (random_.between(0, 9)) {
      case 0:
        scheduler_->finish_request(at->first, FinishReason::kCancelled);
        live_.erase(at);
        return;
      case 1:
      case 2:
      case 3:
      case 4: {
        if (room < 1) return;
        std::vector<TokenId> forced;
        for (int i = random_.between(1, std::min(room, 20)); i > 0; --i) {
          forced.push_back(random_.between('a', 'e'));
        }
        num_forced_ += static_cast<int>(forced.size());
        return scheduler_->append_forced(sequence, forced);
      }
      default: {
        const int keep = random_.between(sequence.num_prompt_tokens, sequence.num_tokens());
        num_cut_ += sequence.num_tokens() - keep;
        return scheduler_->truncate(sequence, keep);
      }
    }
  }

  void step() {
    now_ += std::chrono::milliseconds(10);
    const BatchPlan& plan = scheduler_->plan(now_);
    release();
    if (!plan.empty()) {
      const Ticket ticket = executor_.begin(plan);
      executor_.sample(ticket, {});
      scheduler_->commit(executor_.wait(ticket), now_, *this);
    }
    const auto finished = scheduler_->take_finished();
    for (const auto& sequence : finished) {
      EXPECT_TRUE(sequence->finish == FinishReason::kMaxTokens ||
                  sequence->finish == FinishReason::kCancelled);
      live_.erase(sequence->request->id);
    }
    release();
    scheduler_->check_integrity();
  }

  void release() {
    for (const SlotId slot : scheduler_->released_slots()) executor_.release(slot);
    scheduler_->clear_released_slots();
  }

  FinishReason on_token(Sequence& sequence, const SampledToken& token,
                        std::span<const TokenLogprob>) override {
    std::vector<TokenId> before(sequence.tokens.begin(), sequence.tokens.end() - 1);
    EXPECT_EQ(token.id, executor_.expected_tokens(before, 1)[0])
        << "sequence " << sequence.request->id << ", token " << before.size();
    const bool is_full = sequence.num_output_tokens() >= sequence.max_tokens;
    return is_full ? FinishReason::kMaxTokens : FinishReason::kNone;
  }

  SeededRandom random_;
  FakeExecutor executor_;
  std::optional<Scheduler> scheduler_;
  TimePoint now_{};
  uint64_t num_added_ = 0;
  std::map<uint64_t, Sequence*> live_;  // by request id
  int num_forced_ = 0;
  int num_cut_ = 0;
};

TEST(SchedulerEdits, ForcedAndCutSequences_GoOnAsTheirTokensSay) {
  int num_forced = 0, num_cut = 0;
  uint64_t num_preemptions = 0;
  for (uint64_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    EditedLife life(seed);
    life.run();
    num_forced += life.num_forced();
    num_cut += life.num_cut();
    num_preemptions += life.num_preemptions();
  }
  EXPECT_GT(num_forced, 10'000);
  EXPECT_GT(num_cut, 10'000);
  EXPECT_GT(num_preemptions, 300u);
}

}  // namespace
}  // namespace sparrow
