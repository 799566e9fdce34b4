// Guesses in the scheduler's steps: how many rows they may have, what they cost, what they brought.

#include <algorithm>
#include <array>

#include "scheduler/scheduler.h"

namespace sparrow {

// Rows of guesses beside so many others in a step of this budget; none: zero or less.
int Scheduler::room_for_drafts(int num_rows, int budget) const {
  if (options_.speculation.max_tokens == 0) return 0;
  if (step_cost_.has_line()) {
    budget = step_cost_.rows_within(options_.max_step_ms, num_rows, std::max(budget, num_rows));
  }
  return std::min(budget, options_.speculation.max_rows) - num_rows;
}

// Last, with the rows that are left: drafts keep nobody else from being planned or admitted.
void Scheduler::plan_drafts(int budget) {
  num_drafted_rows_ = 0;
  int room = room_for_drafts(step_->num_rows, budget);
  if (room <= 0) return;
  auto num_left = static_cast<int>(step_->planned.size());
  for (Planned& planned : step_->planned) {
    add_drafts(planned, (room + num_left - 1) / num_left);
    room -= planned.num_drafts;
    num_drafted_rows_ += planned.num_drafts;
    --num_left;
  }
}

// What so many drafts make this step longer for all its sequences together, in steps of one: the
// step gets longer for each of them, and a right guess is a token of one.
double Scheduler::draft_cost(int num_drafts) const {
  if (num_drafts == 0) return 0;
  const auto num_sequences = static_cast<double>(step_->planned.size());
  if (is_all_generating()) return row_cost_.extra(step_->num_rows, num_drafts) * num_sequences;
  if (!step_cost_.has_line()) return RowCost::kUnknownRow * num_drafts * num_sequences;
  const double share = step_cost_.row_ms() / std::max(step_cost_.predict_ms(step_->num_rows), 1e-6);
  return std::max(share, RowCost::kMinRow) * num_drafts * num_sequences;
}

void Scheduler::add_drafts(Planned& planned, int limit) {
  Sequence& sequence = *planned.sequence;
  const StopRules& stop = sequence.request->stop;
  if (!sequence.is_generating() || !sequence.request->speculative) return;
  if (sequence.drafting == nullptr) {
    sequence.drafting = std::make_unique<Drafting>(options_.speculation);
  }
  // The step's own token comes after the guesses.
  const int last = std::min(sequence.max_tokens, sequence.draft_end);
  limit = std::min(limit, last - sequence.num_output_tokens() - 1);
  const int end = sequence.num_computed + 1;
  const int num_held = static_cast<int>(sequence.blocks.size()) + blocks_.num_available();
  limit = std::min(limit, num_held * options_.block_tokens - end);
  limit = std::min(limit, options_.speculation.max_tokens);
  if (limit <= 0) return;
  std::array<double, kMaxDraftTokens> prices;
  const double paid = draft_cost(num_drafted_rows_);
  for (int count = 1; count <= limit; ++count) {
    prices[static_cast<size_t>(count) - 1] = draft_cost(num_drafted_rows_ + count) - paid;
  }
  limit = sequence.drafting->pace.wanted(std::span(prices).first(static_cast<size_t>(limit)));
  if (limit <= 0) return;
  planned.draft_begin = static_cast<int>(drafts_.size());
  sequence.drafting->lookup.propose(sequence.tokens, limit, drafts_);
  // Nothing comes after a stop token, which needs no guess itself.
  const auto is_stop = [&](TokenId id) {
    return !stop.ignore_eos && std::binary_search(stop.token_ids.begin(), stop.token_ids.end(), id);
  };
  drafts_.erase(std::find_if(drafts_.begin() + planned.draft_begin, drafts_.end(), is_stop),
                drafts_.end());
  planned.num_drafts = static_cast<int>(drafts_.size()) - planned.draft_begin;
  const int missing =
      blocks_for(end + planned.num_drafts) - static_cast<int>(sequence.blocks.size());
  if (missing > 0) CHECK(blocks_.try_allocate(missing, sequence.blocks));
}

void Scheduler::settle_drafts(const Planned& planned, int num_accepted) {
  if (num_accepted < 0) return;  // a prompt piece
  const double share =
      num_drafted_rows_ > 0 ? static_cast<double>(planned.num_drafts) / num_drafted_rows_ : 0.0;
  planned.sequence->drafting->pace.note_step(planned.num_drafts, num_accepted,
                                             share * drafts_cost_);
  if (planned.num_drafts == 0) return;
  ++speculation_.num_drafts;
  speculation_.num_draft_tokens += static_cast<uint64_t>(planned.num_drafts);
  speculation_.num_accepted_tokens += static_cast<uint64_t>(num_accepted);
  for (int i = 0; i < num_accepted; ++i) ++speculation_.num_accepted_at[static_cast<size_t>(i)];
}

}  // namespace sparrow
