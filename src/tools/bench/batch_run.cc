#include "tools/bench/batch_run.h"

#include <algorithm>

#include "base/random.h"

namespace sparrow {

BatchRun::BatchRun(Executor& executor, int num_sequences, int num_tokens)
    : executor_(executor),
      limits_(executor.limits()),
      num_sequences_(num_sequences),
      blocks_per_sequence_((num_tokens + limits_.block_tokens - 1) / limits_.block_tokens),
      is_held_(static_cast<size_t>(num_sequences)) {
  params_.temperature = 0;
  // One more: the token a step begins with may be the first that has no position of its own.
  for (int i = 0; i <= num_tokens; ++i) {
    const uint64_t bits = random_bits(1, 2, static_cast<uint64_t>(i));
    text_.push_back(static_cast<TokenId>(bits % static_cast<uint64_t>(limits_.vocab_size)));
  }
}

BatchRun::~BatchRun() { rewind(num_sequences_, 0); }

// Gives the slots back: the next spans start them anew.
void BatchRun::rewind(int batch, int position) {
  plan_.clear();
  for (int sequence = 0; sequence < batch; ++sequence) {
    if (is_held_[static_cast<size_t>(sequence)]) executor_.release(sequence);
    is_held_[static_cast<size_t>(sequence)] = false;
  }
  guess_position_ = position;
}

void BatchRun::add_span(int sequence, int first_position, int count, int num_logit_rows) {
  const int end = first_position + count;
  Span span;
  span.slot = sequence;
  span.first_position = first_position;
  span.num_tokens = count;
  span.num_logit_rows = num_logit_rows;
  span.token_begin = plan_.num_tokens();
  span.block_begin = static_cast<int32_t>(plan_.block_ids.size());
  span.num_blocks = (end + limits_.block_tokens - 1) / limits_.block_tokens;
  for (int block = 0; block < span.num_blocks; ++block) {
    plan_.block_ids.push_back(sequence * blocks_per_sequence_ + block);
  }
  plan_.spans.push_back(span);
}

Status BatchRun::prefill(int batch, int from, int to, const KeepGoing& keep_going) {
  rewind(batch, from);
  const std::span<const TokenId> text(text_);
  for (int sequence = 0; sequence < batch; ++sequence) {
    for (int done = from; done < to;) {
      if (!keep_going(sequence * (to - from) + done - from)) {
        return Status(StatusCode::kCancelled, "stopped");
      }
      const int count = std::min(to - done, limits_.max_batch_tokens);
      plan_.clear();
      const auto slot = static_cast<size_t>(sequence);
      if (!is_held_[slot]) {
        plan_.slot_starts.push_back({.slot = sequence,
                                     .params = &params_,
                                     .tokens = text.first(static_cast<size_t>(to)),
                                     .num_prompt_tokens = to,
                                     .banned_early = {},
                                     .min_tokens = 0});
        is_held_[slot] = true;
      }
      add_span(sequence, done, count, done + count == to ? 1 : 0);
      const auto piece = text.subspan(static_cast<size_t>(done), static_cast<size_t>(count));
      plan_.token_ids.insert(plan_.token_ids.end(), piece.begin(), piece.end());
      RETURN_IF_ERROR(run_step());
      done += count;
    }
  }
  return ok_status();
}

Status BatchRun::decode(int batch, int position, int num_steps) {
  rewind(batch, position);
  const std::span<const TokenId> text(text_);
  const auto num_known = static_cast<size_t>(position) + 1;
  for (int step = 0; step < num_steps; ++step) {
    plan_.clear();
    for (int sequence = 0; sequence < batch; ++sequence) {
      if (step == 0) {
        plan_.slot_starts.push_back({.slot = sequence,
                                     .params = &params_,
                                     .tokens = text.first(num_known),
                                     .num_prompt_tokens = position + 1,
                                     .banned_early = {},
                                     .min_tokens = 0});
        is_held_[static_cast<size_t>(sequence)] = true;
      }
      add_span(sequence, position + step, 1, 1);
      plan_.token_ids.push_back(step == 0 ? text[num_known - 1] : kPendingToken);
    }
    RETURN_IF_ERROR(run_step());
  }
  return ok_status();
}

void BatchRun::begin_guessing(int position) { rewind(1, position); }

Status BatchRun::guess(int num_guesses) {
  const std::span<const TokenId> text(text_);
  const auto at = static_cast<size_t>(guess_position_);
  plan_.clear();
  const bool starts = !is_held_[0];
  if (starts) {
    plan_.slot_starts.push_back({.slot = 0,
                                 .params = &params_,
                                 .tokens = text.first(at + 1),
                                 .num_prompt_tokens = guess_position_ + 1,
                                 .banned_early = {},
                                 .min_tokens = 0});
    is_held_[0] = true;
  }
  add_span(0, guess_position_, 1 + num_guesses, 1 + num_guesses);
  plan_.spans[0].num_drafts = num_guesses;
  plan_.token_ids.push_back(starts ? text[at] : kPendingToken);
  const auto guesses = text.subspan(at + 1, static_cast<size_t>(num_guesses));
  plan_.token_ids.insert(plan_.token_ids.end(), guesses.begin(), guesses.end());
  RETURN_IF_ERROR(run_step());
  guess_position_ += num_sampled_;
  return ok_status();
}

Status BatchRun::run_step() {
  plan_.step = ++step_;
  const Ticket ticket = executor_.begin(plan_);
  executor_.sample(ticket, {});
  const StepResult& result = executor_.wait(ticket);
  if (result.failed) return internal_error("the executor failed a step");
  for (const SampledToken& token : result.tokens) {
    if (token.not_finite) return data_loss("the model's logits are not finite (NaN or infinite)");
  }
  num_sampled_ = static_cast<int>(result.tokens.size());
  return ok_status();
}

}  // namespace sparrow
