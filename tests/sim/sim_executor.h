#pragma once
// SimExecutor: the fake executor with faults, and the witness of a simulated run. It knows a
// sequence by the tag in its sampling seed and its choice, and keeps what it saw of each: starts,
// rows, tokens, faults. Beyond the fake's own checks of every plan it watches whose blocks are
// read: nobody reads what was written under another cache salt, nobody who starts later reads the
// blocks of a sequence whose logits were not finite, and who generates stands in every step, unless
// the step before is its last. One thread.

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "faults.h"
#include "model/fake_executor.h"
#include "workload.h"

namespace sparrow {

// What the executor saw of one choice.
struct ChoiceRecord {
  int num_starts = 0;  // the first and those after a preemption
  int num_releases = 0;
  int first_cached = 0;          // position of the very first row: what was there already
  int num_sampled = 0;           // tokens handed out, those the engine dropped included
  int num_starts_of_others = 0;  // first starts of others while it was held
  bool is_held = false;
  bool saw_not_finite = false;
  bool saw_failed_step = false;
};

// A slot was started since the last forget_step().
struct Start {
  size_t tag = 0;
  int choice = 0;
  bool is_first = false;
};

// A sequence that held a slot before the plan that started others.
struct HeldBefore {
  size_t tag = 0;
  int choice = 0;
  int num_computed = 0;  // positions, those of right guesses not counted
};

class SimExecutor final : public Executor {
 public:
  // `faults` and `counts` outlive this object.
  SimExecutor(const FakeExecutorOptions& options, const FaultPlan& faults, FaultCounts& counts);

  // Before its first plan.
  void expect(size_t tag, int num_choices, const std::string& cache_salt);

  ExecutorLimits limits() const override { return fake_.limits(); }
  Status load(TensorSource&) override { return ok_status(); }
  Ticket begin(const BatchPlan& plan) override;
  void sample(Ticket ticket, const TokenMasks& masks) override { fake_.sample(ticket, masks); }
  const StepResult& wait(Ticket ticket) override;
  void release(SlotId slot) override;

  const FakeExecutor& fake() const { return fake_; }
  int num_held_slots() const { return fake_.num_held_slots(); }
  const ChoiceRecord& record(size_t tag, int choice) const;
  // Of the plan that started somebody; all empty after forget_step().
  const std::vector<Start>& starts() const { return starts_; }
  const std::vector<size_t>& held_tags() const { return held_tags_; }  // with those starting
  const std::vector<HeldBefore>& held_before() const { return held_before_; }
  // Of the step that was waited for; none after forget_step().
  int num_rows() const { return num_rows_; }
  bool step_failed() const { return step_failed_; }
  // The step before it failed while it was on its way.
  bool is_worthless() const { return is_worthless_; }
  void forget_step();
  uint64_t num_steps_ahead() const { return num_steps_ahead_; }
  int num_on_way() const { return static_cast<int>(on_way_.size()); }
  // Slots of choices that are wanted (tag, choice), those in steps on their way not asked for.
  int num_held_slots_if(const std::function<bool(size_t tag, int choice)>& is_wanted) const;
  // Empty: none.
  const std::string& violation() const { return violation_; }

 private:
  struct Held {
    size_t tag = 0;
    int choice = 0;
    bool is_used = false;
    bool has_span = false;
    bool is_generating = false;  // its last span was sampled
    int num_computed = 0;
    uint64_t first_step = 0;
    uint64_t last_step = 0;
    bool was_left_out = false;  // of the plan ahead: its last step is on its way
  };
  struct OnWay {
    const BatchPlan* plan = nullptr;
    bool is_worthless = false;
  };
  struct BlockState {
    uint64_t salt = 0;           // of its last writer
    uint64_t written_step = 0;   // by that one
    uint64_t poisoned_step = 0;  // a sequence with it had logits that were not finite; 0: no
  };

  void note_start(const BatchPlan& plan, const SlotStart& start);
  void note_span(const BatchPlan& plan, const Span& span);
  void check_no_gap(const BatchPlan& plan);
  void poison(const BatchPlan& plan, const Span& span);
  BlockState& block_of(const BatchPlan& plan, const Span& span, int32_t index);
  ChoiceRecord& record_of(const Held& held);

  FakeExecutor fake_;
  const int32_t block_tokens_;
  std::vector<std::vector<ChoiceRecord>> records_;  // by tag and choice
  std::vector<uint64_t> salts_;                     // by tag
  std::vector<Held> held_;                          // by slot
  std::vector<BlockState> blocks_;
  std::vector<Start> starts_;
  std::vector<size_t> held_tags_;
  std::vector<HeldBefore> held_before_;
  std::deque<OnWay> on_way_;  // the oldest first
  uint64_t num_steps_ahead_ = 0;
  int num_rows_ = 0;
  bool step_failed_ = false;
  bool is_worthless_ = false;
  std::string violation_;
};

}  // namespace sparrow
