#include "scheduler/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

// A prompt piece is worth its step when it has at least this many rows (one KV block).
constexpr int kMinPrefillRows = 16;

bool passed(const std::optional<TimePoint>& deadline, TimePoint now) {
  return deadline.has_value() && now >= *deadline;
}

bool is_expired(const Sequence& sequence, TimePoint now) {
  const Request& request = *sequence.request;
  if (passed(request.total_deadline, now)) return true;
  const bool has_output = sequence.num_output_tokens() > 0;
  if (!has_output && passed(request.first_token_deadline, now)) return true;
  const bool was_planned = sequence.first_planned != TimePoint{};
  return !was_planned && passed(request.queue_deadline, now);
}

void insert_in_order(std::vector<std::unique_ptr<Sequence>>& sequences,
                     std::unique_ptr<Sequence> sequence) {
  const auto at = std::upper_bound(sequences.begin(), sequences.end(), sequence,
                                   [](const auto& a, const auto& b) { return a->before(*b); });
  sequences.insert(at, std::move(sequence));
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), blocks_(options.num_blocks) {
  CHECK(options.block_tokens > 0 && options.num_slots > 0 && options.max_batch_tokens > 0);
  const int num_slots = std::min(options.num_slots, options.max_num_seqs);
  for (SlotId slot = num_slots; slot-- > 0;) free_slots_.push_back(slot);
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  CHECK(sequence->num_tokens() > 0 && sequence->slot == kNoSlot);
  CHECK(blocks_for(sequence->num_prompt_tokens + sequence->max_tokens) <= options_.num_blocks);
  insert_in_order(waiting_, std::move(sequence));
}

void Scheduler::finish_request(uint64_t request_id, FinishReason reason) {
  for (Sequences* sequences : {&waiting_, &running_}) {
    for (auto& sequence : *sequences) {
      if (sequence->request->id == request_id) end(*sequence, reason);
    }
    sweep(*sequences);
  }
}

void Scheduler::finish_all(FinishReason reason) {
  for (Sequences* sequences : {&waiting_, &running_}) {
    for (auto& sequence : *sequences) end(*sequence, reason);
    sweep(*sequences);
  }
}

void Scheduler::expire(TimePoint now) {
  for (Sequences* sequences : {&waiting_, &running_}) {
    for (auto& sequence : *sequences) {
      if (is_expired(*sequence, now)) end(*sequence, FinishReason::kDeadline);
    }
    sweep(*sequences);
  }
}

std::optional<TimePoint> Scheduler::earliest_deadline() const {
  std::optional<TimePoint> earliest;
  const auto consider = [&](const std::optional<TimePoint>& deadline) {
    if (deadline && (!earliest || *deadline < *earliest)) earliest = deadline;
  };
  for (const Sequences* sequences : {&waiting_, &running_}) {
    for (const auto& sequence : *sequences) {
      consider(sequence->request->total_deadline);
      if (sequence->num_output_tokens() == 0) consider(sequence->request->first_token_deadline);
      if (sequence->first_planned == TimePoint{}) consider(sequence->request->queue_deadline);
    }
  }
  return earliest;
}

int Scheduler::row_budget() const {
  const int cap = std::min(options_.max_num_batched_tokens, options_.max_batch_tokens);
  const int generating = static_cast<int>(std::count_if(
      running_.begin(), running_.end(), [](const auto& s) { return s->num_uncomputed() == 1; }));
  const int least = std::min(cap, generating + kMinPrefillRows);
  return step_cost_.rows_within(options_.max_step_ms, least, cap);
}

const BatchPlan& Scheduler::plan(TimePoint now) {
  plan_.clear();
  planned_.clear();
  plan_.step = ++num_steps_;
  num_first_planned_ = 0;
  const int budget = row_budget();
  plan_running(budget);
  admit_waiting(now, budget);
  return plan_;
}

void Scheduler::plan_running(int budget) {
  // Rows kept back for the generating sequences further down the list.
  int reserved = static_cast<int>(std::count_if(
      running_.begin(), running_.end(), [](const auto& s) { return s->num_uncomputed() == 1; }));
  // By index: preemption shortens the list behind the current sequence, or ends with it.
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.num_uncomputed() == 1) --reserved;
    const int room = budget - plan_.num_tokens() - reserved;
    const int rows = std::min(sequence.num_uncomputed(), room);
    if (rows <= 0) continue;
    if (!ensure_blocks(sequence, sequence.num_computed + rows)) return;  // it was preempted itself
    // Preempted sequences no longer need their reserved row.
    reserved = static_cast<int>(
        std::count_if(running_.begin() + static_cast<ptrdiff_t>(i) + 1, running_.end(),
                      [](const auto& s) { return s->num_uncomputed() == 1; }));
    add_span(sequence, rows);
  }
}

// Frees blocks from the end of the list until the sequence has enough. False when the sequence
// itself was the last.
bool Scheduler::ensure_blocks(Sequence& sequence, int num_positions) {
  const int missing = blocks_for(num_positions) - static_cast<int>(sequence.blocks.size());
  if (missing <= 0) return true;
  while (!blocks_.try_allocate(missing, sequence.blocks)) {
    const bool is_last = running_.back().get() == &sequence;
    CHECK(!is_last || running_.size() > 1);  // alone, every sequence fits
    preempt_last();
    if (is_last) return false;
  }
  return true;
}

void Scheduler::preempt_last() {
  std::unique_ptr<Sequence> sequence = std::move(running_.back());
  running_.pop_back();
  vacate(*sequence);
  sequence->num_computed = 0;
  sequence->num_cached = 0;
  sequence->state = SequenceState::kWaiting;
  ++sequence->num_preemptions;
  ++num_preemptions_;
  insert_in_order(waiting_, std::move(sequence));
}

void Scheduler::admit_waiting(TimePoint now, int budget) {
  size_t num_admitted = 0;
  while (num_admitted < waiting_.size() && !free_slots_.empty()) {
    const int room = budget - plan_.num_tokens();
    if (room <= 0) break;
    Sequence& sequence = *waiting_[num_admitted];
    // All its known tokens and one more must fit now: a half-computed prompt that is preempted is
    // work thrown away.
    if (blocks_for(sequence.num_tokens() + 1) > blocks_.num_free()) break;
    const int rows = std::min(sequence.num_tokens(), room);
    CHECK(blocks_.try_allocate(blocks_for(sequence.num_tokens()), sequence.blocks));
    sequence.state = SequenceState::kRunning;
    if (sequence.first_planned == TimePoint{}) {
      sequence.first_planned = now;
      ++num_first_planned_;
    }
    start_slot(sequence);
    add_span(sequence, rows);
    ++num_admitted;
  }
  for (size_t i = 0; i < num_admitted; ++i) insert_in_order(running_, std::move(waiting_[i]));
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(num_admitted));
}

void Scheduler::start_slot(Sequence& sequence) {
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  plan_.slot_starts.push_back({.slot = sequence.slot,
                               .params = &sequence.params,
                               .tokens = sequence.tokens,
                               .num_prompt_tokens = sequence.num_prompt_tokens,
                               .banned_early = sequence.request->stop.token_ids,
                               .min_tokens = sequence.request->stop.min_tokens});
}

void Scheduler::add_span(Sequence& sequence, int num_rows) {
  Span span;
  span.slot = sequence.slot;
  span.first_position = sequence.num_computed;
  span.num_tokens = num_rows;
  span.num_logit_rows = num_rows == sequence.num_uncomputed() ? 1 : 0;
  span.token_begin = plan_.num_tokens();
  span.block_begin = static_cast<int32_t>(plan_.block_ids.size());
  span.num_blocks = blocks_for(sequence.num_computed + num_rows);
  const auto tokens = sequence.tokens.begin() + sequence.num_computed;
  plan_.token_ids.insert(plan_.token_ids.end(), tokens, tokens + num_rows);
  plan_.block_ids.insert(plan_.block_ids.end(), sequence.blocks.begin(),
                         sequence.blocks.begin() + span.num_blocks);
  plan_.spans.push_back(span);
  planned_.push_back(&sequence);
}

void Scheduler::commit(const StepResult& result, TimePoint step_end, TokenConsumer& consumer) {
  if (result.failed) {
    for (Sequence* sequence : planned_) end(*sequence, FinishReason::kError);
  } else {
    CHECK(result.spans.size() == planned_.size());
    if (result.elapsed_ns > 0) {
      step_cost_.observe(plan_.num_tokens(), static_cast<double>(result.elapsed_ns) * 1e-6);
    }
    for (size_t span = 0; span < planned_.size(); ++span) {
      commit_span(span, result, step_end, consumer);
    }
  }
  planned_.clear();
  plan_.clear();
  sweep(running_);
}

void Scheduler::commit_span(size_t span, const StepResult& result, TimePoint step_end,
                            TokenConsumer& consumer) {
  Sequence& sequence = *planned_[span];
  sequence.num_computed += plan_.spans[span].num_tokens;
  const SpanResult& produced = result.spans[span];
  for (int i = 0; i < produced.num_tokens && sequence.finish == FinishReason::kNone; ++i) {
    const SampledToken& token = result.tokens[static_cast<size_t>(produced.token_begin + i)];
    if (token.not_finite) return end(sequence, FinishReason::kNotFinite);
    sequence.tokens.push_back(token.id);
    if (sequence.first_token == TimePoint{}) sequence.first_token = step_end;
    sequence.last_token = step_end;
    const auto top =
        std::span(result.top_logprobs)
            .subspan(static_cast<size_t>(token.top_begin), static_cast<size_t>(token.num_top));
    const FinishReason reason = consumer.on_token(sequence, token, top);
    if (reason != FinishReason::kNone) return end(sequence, reason);
  }
  DCHECK(sequence.num_cached <= sequence.num_computed);
  DCHECK(sequence.num_computed <= sequence.num_tokens());
}

void Scheduler::vacate(Sequence& sequence) {
  blocks_.release(sequence.blocks);
  sequence.blocks.clear();
  if (sequence.slot == kNoSlot) return;
  free_slots_.push_back(sequence.slot);
  released_slots_.push_back(sequence.slot);
  sequence.slot = kNoSlot;
}

void Scheduler::end(Sequence& sequence, FinishReason reason) {
  if (sequence.state == SequenceState::kFinished) return;
  vacate(sequence);
  sequence.finish = reason;
  sequence.state = SequenceState::kFinished;
}

void Scheduler::sweep(Sequences& sequences) {
  const auto live = std::stable_partition(sequences.begin(), sequences.end(), [](const auto& s) {
    return s->state != SequenceState::kFinished;
  });
  std::move(live, sequences.end(), std::back_inserter(finished_));
  sequences.erase(live, sequences.end());
}

std::vector<std::unique_ptr<Sequence>> Scheduler::take_finished() {
  return std::exchange(finished_, {});
}

void Scheduler::check_integrity() const {
  blocks_.check_integrity();
  size_t num_held = 0;
  std::vector<bool> held(static_cast<size_t>(options_.num_blocks), false);
  std::vector<bool> slot_used(static_cast<size_t>(options_.num_slots), false);
  for (const auto& sequence : running_) {
    CHECK(sequence->state == SequenceState::kRunning);
    CHECK(sequence->num_cached <= sequence->num_computed);
    CHECK(sequence->num_computed <= sequence->num_tokens());
    CHECK(static_cast<int>(sequence->blocks.size()) >= blocks_for(sequence->num_computed));
    CHECK(!slot_used.at(static_cast<size_t>(sequence->slot)));
    slot_used[static_cast<size_t>(sequence->slot)] = true;
    for (const BlockId block : sequence->blocks) {
      CHECK(!held.at(static_cast<size_t>(block)));
      held[static_cast<size_t>(block)] = true;
      ++num_held;
    }
  }
  for (const auto& sequence : waiting_) {
    CHECK(sequence->state == SequenceState::kWaiting);
    CHECK(sequence->blocks.empty() && sequence->slot == kNoSlot && sequence->num_computed == 0);
  }
  CHECK(static_cast<size_t>(blocks_.num_used()) == num_held);
  const size_t num_slots = static_cast<size_t>(std::min(options_.num_slots, options_.max_num_seqs));
  CHECK(free_slots_.size() + running_.size() == num_slots);
}

}  // namespace sparrow
