#pragma once
// Scheduler: which tokens of which sequences the next step computes. One object serves the server,
// the simulation and the planner. Engine thread only; time and durations are passed in.
//
// A step holds one row for every sequence that is generating, then pieces of prompts, up to a
// predicted duration (max_step_ms) and a row limit, so a long prompt never freezes the others. A
// prompt that cannot end within the step leaves half of the rows to those behind it, so short
// prompts overtake long ones and no long one stands still. New sequences join at any step in order
// of service: priority, then fair between keys (fair_order.h), first come first served within a
// key.
//
// Sequences with the same beginning share its KV blocks (prefix_sharing.h). One whose next block is
// just being computed by another waits for it, and those behind it are served first.
//
// When KV blocks run out the newest sequence is preempted: its blocks are freed, it goes back to
// its place in the queue and is recomputed later. There is always progress: the first sequence in
// order of service can take every block, and one that does not fit even alone ends with kNoMemory.
// A sequence is admitted only with room for every running one to grow; the room asked for doubles
// with each preemption it suffered, so preemptions of one sequence are few (logarithmic in its
// length).
//
// Steps with few rows may carry guesses of the next tokens (speculation.h): rows and blocks nobody
// else wants in this step. The executor keeps the right ones; the text is the same without them.
//
// A step that was planned and not committed is on its way. While one is, the next may be planned
// ahead where nothing but its tokens is missing: everybody generates and goes on, one row each
// (scheduler_ahead.cc). Sequences may end at any time: one that stands in a step on its way keeps
// its blocks, slot and sampling parameters until that step is committed, and its row is dropped.
//
//   const BatchPlan& plan = scheduler.plan(now);
//   const BatchPlan& next = scheduler.plan_ahead(now);  // empty: only when the first is committed
//   scheduler.commit(result, step_end, consumer);       // the older one
//   for (auto& sequence : scheduler.take_finished()) ...

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "core/batch_plan.h"
#include "core/step_result.h"
#include "kv/block_pool.h"
#include "scheduler/fair_order.h"
#include "scheduler/prefix_sharing.h"
#include "scheduler/row_cost.h"
#include "scheduler/sequence.h"
#include "scheduler/speculation.h"
#include "scheduler/step_cost.h"

namespace sparrow {

struct SchedulerOptions {
  // Of the executor.
  int block_tokens = 16;
  int num_blocks = 0;
  int num_slots = 0;
  int max_batch_tokens = 0;
  // Of the operator.
  int max_num_seqs = 64;
  int max_num_batched_tokens = 2048;
  double max_step_ms = 250;
  // After this wait a key without its share of the places gets one (seat_sharing.h); 0: never.
  double seat_patience_ms = 2000;
  SpeculationOptions speculation;
  PrefixOptions prefix;
};

// Totals since the scheduler was made, over the first run of each sequence.
struct PrefixCounts {
  uint64_t num_queried_tokens = 0;  // of prompts
  uint64_t num_hit_tokens = 0;      // of them found computed
};

// Called for every committed token, which is already appended. Returns why the sequence ends with
// this token, or kNone; later tokens of the same span are then dropped.
class TokenConsumer {
 public:
  virtual ~TokenConsumer() = default;
  virtual FinishReason on_token(Sequence& sequence, const SampledToken& token,
                                std::span<const TokenLogprob> top) = 0;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  void add(std::unique_ptr<Sequence> sequence);
  // Ends all choices of a request; unknown ids are ignored.
  void finish_request(uint64_t request_id, FinishReason reason);
  void finish_all(FinishReason reason);
  // Ends what was never in a plan.
  void finish_unplanned(FinishReason reason);
  // Ends what is past one of its deadlines.
  void expire(TimePoint now);

  // Edits of a live sequence. Forced tokens are computed by the next steps as if they had been
  // sampled; what a step on its way samples behind them is dropped. Cutting, which no step on its
  // way may see, keeps whole blocks only, so nothing is rewritten inside a block that may be
  // shared, and the whole prompt. Both tell the executor's slot at its next span.
  void append_forced(Sequence& sequence, std::span<const TokenId> tokens);
  void truncate(Sequence& sequence, int num_tokens);
  // Ends one choice, with what it has.
  void finish(Sequence& sequence, FinishReason reason);

  // The plan stays valid and unchanged until commit(). Empty when nothing can run. Nothing is on
  // its way: a plan that was never committed is abandoned.
  const BatchPlan& plan(TimePoint now);
  // The step behind the one on its way, whose sampled tokens are kPendingToken in it. Empty where
  // that step must be committed first. At most two are on their way. What it throws changes nothing
  // but the blocks that sequences hold.
  const BatchPlan& plan_ahead(TimePoint now);
  // The sequence of span i of the oldest step on its way.
  Sequence& planned(size_t span) { return *step_->planned[span].sequence; }
  // The span samples under this row of the masks, and those behind it if it has drafts.
  void set_mask_row(size_t span, int32_t row) { step_->plan.spans[span].mask_row = row; }
  // Advances the sequences of the oldest step on its way. step_end stamps the tokens; the result's
  // elapsed time teaches the step cost.
  void commit(const StepResult& result, TimePoint step_end, TokenConsumer& consumer);
  // What is on its way will never be committed, and the executor is done with it.
  void abandon_steps();

  // Sequences that ended since the last call. One with steps on its way must be kept until it has
  // none; blocks and slots of the others are already free.
  std::vector<std::unique_ptr<Sequence>> take_finished();
  // Slots that lost their sequence since the last call: the executor must release them.
  std::span<const SlotId> released_slots() const { return released_slots_; }
  void clear_released_slots() { released_slots_.clear(); }

  // Sequences that can run at once: each gets a row in every step.
  int max_running() const {
    return std::min({options_.num_slots, options_.max_num_seqs, max_rows()});
  }
  int num_waiting() const { return static_cast<int>(waiting_.size()); }
  // Of those, as far as the last plan looked: what they wait for is a prefix that others compute.
  int num_deferred() const { return std::min(num_deferred_, num_waiting()); }
  int num_running() const { return static_cast<int>(running_.size()); }
  bool idle() const { return waiting_.empty() && running_.empty(); }
  uint64_t num_preemptions() const { return num_preemptions_; }
  const SpeculationCounts& speculation() const { return speculation_; }
  const PrefixCounts& prefix_counts() const { return prefix_counts_; }
  const BlockPool& blocks() const { return blocks_; }
  const StepCost& step_cost() const { return step_cost_; }
  std::optional<TimePoint> earliest_deadline() const;
  // Prompt tokens not computed yet, of running sequences, and of waiting ones.
  int64_t num_uncomputed_prompt_tokens() const { return uncomputed_prompt_tokens(running_); }
  int64_t num_waiting_prompt_tokens() const { return uncomputed_prompt_tokens(waiting_); }
  // Since the arrival of the sequence that has waited longest for its first step.
  Duration oldest_wait(TimePoint now) const;
  // CHECKs blocks, slots and progress numbers; for tests and simulation.
  void check_integrity() const;

 private:
  using Sequences = std::vector<std::unique_ptr<Sequence>>;
  // A span of the step, before it is written into the plan.
  struct Planned {
    Sequence* sequence = nullptr;
    int num_rows = 0;  // known tokens
    int draft_begin = 0;
    int num_drafts = 0;
  };
  struct Step {
    void clear() {
      plan.clear();
      planned.clear();
      num_rows = 0;
      is_on_way = false;
    }
    BatchPlan plan;
    std::vector<Planned> planned;  // by span of the plan
    int num_rows = 0;              // drafts not counted
    bool is_on_way = false;        // wholly planned: its sequences count it
  };

  static int64_t uncomputed_prompt_tokens(const Sequences& sequences);
  int row_budget() const;
  void plan_running(int budget);
  enum class Admission { kAdmitted, kNoMemory, kWaitsForPrefix };
  void admit_waiting(TimePoint now, int budget);
  Admission admit(Sequence& sequence, TimePoint now, int room);
  bool is_prefix_on_its_way(const Sequence& sequence) const;
  void take_matched(Sequence& sequence);
  bool ensure_blocks(Sequence& sequence, int num_positions);
  int headroom_for(const Sequence& sequence) const;
  int share_of_room(const Sequence& sequence, int room) const;
  void hand_out_rest(int budget);
  void preempt(size_t index);  // for memory: the caller counts it for the sequence
  void share_seats(TimePoint now);
  Sequence* take_seat_taker();
  bool has_memory_for(const Sequence& sequence) const;
  void add_span(Sequence& sequence, int num_rows);
  int room_for_drafts(int num_rows, int budget) const;
  void plan_drafts(int budget);
  double draft_cost(int num_drafts) const;
  // Every row of the step that is no draft is the next token of a sequence.
  bool is_all_generating() const {
    return step_->num_rows == static_cast<int>(step_->planned.size());
  }
  void add_drafts(Planned& planned, int limit);
  void write_span(const Planned& planned);
  void start_slot(Sequence& sequence);
  void restart_slot(Sequence& sequence);
  void commit_span(size_t span, const StepResult& result, TimePoint step_end,
                   TokenConsumer& consumer);
  void settle_drafts(const Planned& planned, int num_accepted);
  bool may_admit(TimePoint now) const;
  static bool takes_next_token(const Sequence& sequence);
  int num_blocks_missing(const Sequence& sequence) const;
  bool wants_drafts(Sequence& sequence, int num_rows);
  bool can_plan_ahead(TimePoint now);
  void take_blocks_ahead();
  void write_span_ahead(const Planned& before);
  static void put_on_way(Step& step);
  void drop_span(Sequence& sequence, const SpanResult& produced, const StepResult& result);
  void leave_step(Sequence& sequence);
  void abandon(Step& step);
  void vacate(Sequence& sequence);
  void end(Sequence& sequence, FinishReason reason);
  void sweep(Sequences& sequences);
  int num_generating(size_t first) const;
  int max_rows() const {
    return std::min(options_.max_num_batched_tokens, options_.max_batch_tokens);
  }
  int blocks_for(int num_positions) const {
    return (num_positions + options_.block_tokens - 1) / options_.block_tokens;
  }

  const SchedulerOptions options_;
  BlockPool blocks_;
  PrefixSharing sharing_;
  StepCost step_cost_;
  RowCost row_cost_;
  FairOrder fair_order_;
  uint64_t num_added_ = 0;
  std::vector<SlotId> free_slots_;
  std::vector<SlotId> released_slots_;
  Sequences waiting_;  // in order of service
  Sequences running_;  // in order of service; the last is preempted first
  Sequences finished_;
  std::vector<Sequence*> admitted_;     // by this plan, still in waiting_
  std::optional<uint64_t> seat_taker_;  // serial of whom another gave up its place for
  // By this plan, to the newcomer of this serial; it holds as long as none_can_enter_ does.
  std::optional<uint64_t> seat_denied_;
  std::vector<BlockId> matched_;  // of the sequence that asks to be admitted
  int num_deferred_ = 0;          // passed over by this plan
  bool none_can_enter_ = false;   // who waits, before one comes or ends or memory comes free
  std::unique_ptr<Step> step_ = std::make_unique<Step>();   // the oldest, or being planned
  std::unique_ptr<Step> ahead_ = std::make_unique<Step>();  // behind it; empty: none
  std::vector<TokenId> drafts_;                             // of step_
  int num_drafted_rows_ = 0;                                // of step_, as far as drafts were added
  double drafts_cost_ = 0;                                  // of step_, see draft_cost()
  SpeculationCounts speculation_;
  uint64_t num_steps_ = 0;
  uint64_t num_preemptions_ = 0;
  PrefixCounts prefix_counts_;
};

}  // namespace sparrow
