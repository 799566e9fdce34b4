// The step behind the one on its way, planned before that one's tokens are known: each sequence
// that goes on gets the row of the token that is being sampled. Only where nothing else can want a
// place in it. Everything else waits for the step on its way: newcomers, rest of prompts, guesses,
// masks, forced tokens, memory that must be taken from others.

#include <algorithm>
#include <array>

#include "scheduler/scheduler.h"
#include "scheduler/seat_sharing.h"

namespace sparrow {

// A place, or memory, for one of those that wait; in doubt yes, so that nobody stands back for
// steps planned ahead.
bool Scheduler::may_admit(TimePoint now) const {
  if (waiting_.empty()) return false;
  if (!none_can_enter_ || seat_taker_) return true;
  if (!free_slots_.empty() || !options_.prefix.enabled) return false;
  const std::optional<SeatChange> change =
      seat_change(waiting_, running_, from_ms(options_.seat_patience_ms), now);
  return change && waiting_[change->newcomer]->serial != seat_denied_;
}

// With the step on its way it has all its tokens computed but the one sampled there, and that one
// is not its last.
bool Scheduler::takes_next_token(const Sequence& sequence) {
  return sequence.state == SequenceState::kRunning &&
         sequence.num_output_tokens() + 1 < sequence.max_tokens;
}

// Whether it would have guesses now. The token on its way is not known, but a text that repeats
// does so for some time.
bool Scheduler::wants_drafts(Sequence& sequence, int num_rows) {
  const SpeculationOptions& options = options_.speculation;
  if (!sequence.request->speculative) return false;
  if (sequence.drafting == nullptr) sequence.drafting = std::make_unique<Drafting>(options);
  const int last = std::min(sequence.max_tokens, sequence.draft_end);
  const int limit = std::min(
      {last - sequence.num_output_tokens() - 1, options.max_tokens, options.max_rows - num_rows});
  if (limit <= 0) return false;
  std::array<double, kMaxDraftTokens> prices;
  for (int count = 1; count <= limit; ++count) {
    prices[static_cast<size_t>(count) - 1] = row_cost_.extra(num_rows, count) * num_rows;
  }
  if (sequence.drafting->pace.wanted(std::span(prices).first(static_cast<size_t>(limit))) == 0) {
    return false;
  }
  drafts_.clear();
  sequence.drafting->lookup.propose(sequence.tokens, 1, drafts_);
  return !drafts_.empty();
}

// For the position of the token on its way.
int Scheduler::num_blocks_missing(const Sequence& sequence) const {
  const auto num_held = static_cast<int>(sequence.blocks.size());
  return std::max(0, blocks_for(sequence.num_tokens() + 1) - num_held);
}

bool Scheduler::can_plan_ahead(TimePoint now) {
  if (!step_->is_on_way || ahead_->is_on_way || num_drafted_rows_ > 0) return false;
  if (may_admit(now)) return false;
  int num_live = 0, num_rows = 0, num_missing = 0;
  for (const Planned& planned : step_->planned) {
    const Sequence& sequence = *planned.sequence;
    if (sequence.state != SequenceState::kRunning) continue;  // it ended meanwhile
    ++num_live;
    const bool is_plain = sequence.request->masker == nullptr && !sequence.slot_is_stale;
    if (!is_plain || planned.num_rows != sequence.num_uncomputed()) return false;
    if (!takes_next_token(sequence)) {
      if (!waiting_.empty()) return false;  // its place
      continue;
    }
    ++num_rows;
    num_missing += num_blocks_missing(sequence);
  }
  if (num_live != num_running() || num_rows == 0) return false;
  if (num_missing > blocks_.num_available()) return false;
  if (room_for_drafts(num_rows, row_budget()) <= 0) return true;
  return std::none_of(step_->planned.begin(), step_->planned.end(), [&](const Planned& planned) {
    return takes_next_token(*planned.sequence) && wants_drafts(*planned.sequence, num_rows);
  });
}

void Scheduler::take_blocks_ahead() {
  for (const Planned& planned : step_->planned) {
    if (!takes_next_token(*planned.sequence)) continue;
    Sequence& sequence = *planned.sequence;
    const int missing = num_blocks_missing(sequence);
    if (missing > 0) CHECK(blocks_.try_allocate(missing, sequence.blocks));
  }
}

void Scheduler::write_span_ahead(const Planned& before) {
  Sequence& sequence = *before.sequence;
  ahead_->planned.push_back({.sequence = &sequence, .num_rows = 1});
  ++ahead_->num_rows;
  BatchPlan& plan = ahead_->plan;
  Span span;
  span.slot = sequence.slot;
  span.first_position = sequence.num_tokens();
  span.num_tokens = 1;
  span.num_logit_rows = 1;
  span.token_begin = plan.num_tokens();
  span.block_begin = static_cast<int32_t>(plan.block_ids.size());
  span.num_blocks = blocks_for(span.first_position + 1);
  plan.token_ids.push_back(kPendingToken);
  plan.block_ids.insert(plan.block_ids.end(), sequence.blocks.begin(),
                        sequence.blocks.begin() + span.num_blocks);
  plan.spans.push_back(span);
}

const BatchPlan& Scheduler::plan_ahead(TimePoint now) {
  CHECK(!ahead_->is_on_way);
  ahead_->clear();
  if (!can_plan_ahead(now)) return ahead_->plan;
  try {
    take_blocks_ahead();
    for (const Planned& planned : step_->planned) {
      if (takes_next_token(*planned.sequence)) write_span_ahead(planned);
    }
  } catch (...) {
    ahead_->clear();
    throw;
  }
  ahead_->plan.step = ++num_steps_;
  put_on_way(*ahead_);
  return ahead_->plan;
}

}  // namespace sparrow
