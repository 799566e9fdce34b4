#pragma once
// SimExecutor: the fake executor with faults, and the witness of a simulated run. It knows a
// sequence by the tag in its sampling seed and its choice, and keeps what it saw of each: starts,
// rows, tokens, faults. Beyond the fake's own checks of every plan it watches the sharing of
// blocks: nobody writes a block that another sequence reads, and nobody reads what was written
// under another cache salt. One thread.

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
  int num_starts_of_others = 0;  // first starts of others since its own
  bool is_held = false;
  bool saw_not_finite = false;
  bool saw_failed_step = false;
};

// A slot was started in the last step.
struct Start {
  size_t tag = 0;
  int choice = 0;
  bool is_first = false;
};

class SimExecutor final : public Executor {
 public:
  // `counts` outlives this object.
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
  // Of the last plan, in its order. Empty after forget_step().
  const std::vector<Start>& starts() const { return starts_; }
  int num_rows() const { return num_rows_; }
  void forget_step();
  // Empty: none.
  const std::string& violation() const { return violation_; }

 private:
  struct Held {
    size_t tag = 0;
    int choice = 0;
    bool is_used = false;
    bool has_span = false;
    bool is_generating = false;  // its last span was sampled
    uint64_t last_step = 0;
    std::vector<BlockId> blocks{};  // that hold its computed positions
  };

  void note_start(const SlotStart& start);
  void check_no_gap(const BatchPlan& plan);
  void watch_blocks(const BatchPlan& plan, const Span& span);
  void drop_blocks(Held& held);
  ChoiceRecord& mutable_record(const Held& held);

  FakeExecutor fake_;
  const int32_t block_tokens_;
  std::vector<std::vector<ChoiceRecord>> records_;  // by tag and choice
  std::vector<uint64_t> salts_;                     // by tag
  std::vector<Held> held_;                          // by slot
  std::vector<int32_t> num_readers_;                // by block: sequences that hold it computed
  std::vector<uint64_t> block_salts_;               // by block: of its last writer
  std::vector<Start> starts_;
  const BatchPlan* plan_ = nullptr;
  int num_rows_ = 0;
  std::string violation_;
};

}  // namespace sparrow
