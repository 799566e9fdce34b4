// What steps leave behind: tokens that join their sequences, and sequences that leave their steps.

#include <algorithm>
#include <new>

#include "base/check.h"
#include "scheduler/scheduler.h"

namespace sparrow {

void Scheduler::commit(const StepResult& result, TimePoint step_end, TokenConsumer& consumer) {
  const Step& step = *step_;
  if (result.failed) {
    const FinishReason reason = result.no_memory ? FinishReason::kNoMemory : FinishReason::kError;
    for (const Planned& planned : step.planned) {
      leave_step(*planned.sequence);
      end(*planned.sequence, reason);
    }
  } else {
    CHECK(result.spans.size() == step.planned.size());
    if (result.elapsed_ns > 0) {
      const double elapsed_ms = static_cast<double>(result.elapsed_ns) * 1e-6;
      step_cost_.observe(step.plan.num_tokens(), elapsed_ms);
      if (is_all_generating()) row_cost_.observe(step.plan.num_tokens(), elapsed_ms);
    }
    drafts_cost_ = draft_cost(num_drafted_rows_);
    for (size_t span = 0; span < step.planned.size(); ++span) {
      try {
        commit_span(span, result, step_end, consumer);
      } catch (const std::bad_alloc&) {  // no room for its tokens: the others go on
        end(*step.planned[span].sequence, FinishReason::kNoMemory);
      }
    }
  }
  step_->clear();
  std::swap(step_, ahead_);
  sweep(running_);
}

void Scheduler::commit_span(size_t span, const StepResult& result, TimePoint step_end,
                            TokenConsumer& consumer) {
  const Planned& planned = step_->planned[span];
  Sequence& sequence = *planned.sequence;
  const SpanResult& produced = result.spans[span];
  CHECK(produced.num_tokens <= step_->plan.spans[span].num_logit_rows);
  if (sequence.state == SequenceState::kFinished) return drop_span(sequence, produced, result);
  leave_step(sequence);
  sequence.num_computed += planned.num_rows;
  // Edited while the step was on its way: other tokens stand where it sampled.
  const bool was_edited = sequence.slot_is_stale;
  if (sequence.drafting != nullptr && !was_edited) settle_drafts(planned, produced.num_tokens - 1);
  for (int i = 0; i < produced.num_tokens && sequence.finish == FinishReason::kNone; ++i) {
    if (i > 0) ++sequence.num_computed;  // a draft that was right
    const SampledToken& token = result.tokens[static_cast<size_t>(produced.token_begin + i)];
    if (token.not_finite) {
      sharing_.quarantine(sequence);
      sequence.num_computed = 0;
      return end(sequence, FinishReason::kNotFinite);
    }
    if (was_edited) break;
    sequence.tokens.push_back(token.id);
    if (sequence.first_token == kNever) sequence.first_token = step_end;
    sequence.last_token = step_end;
    const auto top =
        std::span(result.top_logprobs)
            .subspan(static_cast<size_t>(token.top_begin), static_cast<size_t>(token.num_top));
    const FinishReason reason = consumer.on_token(sequence, token, top);
    if (reason != FinishReason::kNone) return end(sequence, reason);
  }
  DCHECK(sequence.num_computed <= sequence.num_tokens());
  const int num_available = blocks_.num_available();
  sharing_.publish(sequence);
  if (blocks_.num_available() > num_available) none_can_enter_ = false;  // two blocks became one
  if (planned.num_drafts == 0) return;
  // Blocks of wrong guesses go back, so that what a sequence holds does not depend on them.
  const auto kept =
      std::min(static_cast<size_t>(blocks_for(sequence.num_computed)), sequence.blocks.size());
  blocks_.release(std::span(sequence.blocks).subspan(kept));
  sequence.blocks.resize(kept);
}

// The sequence ended while the step was on its way; nothing is told of it twice.
void Scheduler::drop_span(Sequence& sequence, const SpanResult& produced,
                          const StepResult& result) {
  const auto tokens = std::span(result.tokens)
                          .subspan(static_cast<size_t>(produced.token_begin),
                                   static_cast<size_t>(produced.num_tokens));
  const bool is_finite = std::none_of(tokens.begin(), tokens.end(),
                                      [](const SampledToken& token) { return token.not_finite; });
  if (!is_finite) {
    sharing_.quarantine(sequence);
    sequence.num_computed = 0;
  }
  leave_step(sequence);
}

void Scheduler::leave_step(Sequence& sequence) {
  CHECK(sequence.num_steps_on_way > 0);
  --sequence.num_steps_on_way;
  const bool has_ended = sequence.state == SequenceState::kFinished;
  if (has_ended && sequence.num_steps_on_way == 0) vacate(sequence);
}

void Scheduler::put_on_way(Step& step) {
  for (const Planned& planned : step.planned) ++planned.sequence->num_steps_on_way;
  step.is_on_way = true;
}

void Scheduler::abandon(Step& step) {
  if (step.is_on_way) {
    for (const Planned& planned : step.planned) leave_step(*planned.sequence);
  }
  step.clear();
}

void Scheduler::abandon_steps() {
  abandon(*step_);
  abandon(*ahead_);
}

}  // namespace sparrow
