#include "model/executor_driver.h"

#include <algorithm>

namespace sparrow {

ExecutorDriver::ExecutorDriver(ModelExecutor& executor, std::vector<BlockId> block_order)
    : executor_(executor), free_blocks_(std::move(block_order)) {
  const ExecutorLimits limits = executor.limits();
  if (free_blocks_.empty()) {
    for (BlockId block = 0; block < limits.num_blocks; ++block) free_blocks_.push_back(block);
  }
  std::reverse(free_blocks_.begin(), free_blocks_.end());
  for (SlotId slot = limits.num_slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

ExecutorDriver::~ExecutorDriver() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i] != nullptr) remove(static_cast<int>(i));
  }
  executor_.set_logits_probe(nullptr);
}

int ExecutorDriver::add(std::vector<TokenId> tokens, SamplingParams params) {
  auto sequence = std::make_unique<Sequence>();
  sequence->num_prompt = static_cast<int>(tokens.size());
  sequence->tokens = std::move(tokens);
  sequence->params = std::move(params);
  sequence->slot = free_slots_.back();
  free_slots_.pop_back();
  sequences_.push_back(std::move(sequence));
  return static_cast<int>(sequences_.size()) - 1;
}

void ExecutorDriver::remove(int index) {
  Sequence& sequence = at(index);
  if (sequence.started) executor_.release(sequence.slot);
  free_slots_.push_back(sequence.slot);
  free_blocks_.insert(free_blocks_.end(), sequence.blocks.rbegin(), sequence.blocks.rend());
  sequences_[static_cast<size_t>(index)].reset();
}

void ExecutorDriver::add_span(const Part& part) {
  Sequence& sequence = at(part.sequence);
  if (!sequence.started) {
    plan_.slot_starts.push_back(
        {sequence.slot, &sequence.params, sequence.tokens, sequence.num_prompt, {}, 0});
    sequence.started = true;
  }
  Span span;
  span.slot = sequence.slot;
  span.first_position = sequence.num_computed;
  const auto num_drafts = static_cast<int>(part.drafts.size());
  span.num_tokens = part.num_tokens + num_drafts;
  span.num_drafts = num_drafts;
  span.num_logit_rows = part.num_logit_rows;
  span.token_begin = plan_.num_tokens();
  span.block_begin = static_cast<int32_t>(plan_.block_ids.size());
  const int end = sequence.num_computed + part.num_tokens;
  while (static_cast<int>(sequence.blocks.size()) * kKvBlockTokens < end + num_drafts) {
    CHECK(!free_blocks_.empty());
    sequence.blocks.push_back(free_blocks_.back());
    free_blocks_.pop_back();
  }
  span.num_blocks = static_cast<int32_t>(sequence.blocks.size());
  plan_.block_ids.insert(plan_.block_ids.end(), sequence.blocks.begin(), sequence.blocks.end());
  for (int position = sequence.num_computed; position < end; ++position) {
    const bool pending = position >= sequence.num_prompt && part.num_tokens == 1;
    plan_.token_ids.push_back(pending ? kPendingToken
                                      : sequence.tokens.at(static_cast<size_t>(position)));
  }
  plan_.token_ids.insert(plan_.token_ids.end(), part.drafts.begin(), part.drafts.end());
  sequence.num_computed = end;
  plan_.spans.push_back(span);
}

const StepResult& ExecutorDriver::step(const std::vector<Part>& parts) {
  ++plan_.step;
  plan_.clear();
  for (const Part& part : parts) add_span(part);
  executor_.set_logits_probe([&](int32_t row, std::span<const float> logits) {
    for (size_t i = 0; i < parts.size(); ++i) {
      const Span& span = plan_.spans[i];
      const int32_t offset = row - span.token_begin;
      if (offset < 0 || offset >= span.num_tokens) continue;
      at(parts[i].sequence)
          .logits[span.first_position + offset]
          .assign(logits.begin(), logits.end());
    }
  });
  const Ticket ticket = executor_.begin(plan_);
  executor_.sample(ticket, {});
  const StepResult& result = executor_.wait(ticket);
  for (size_t i = 0; i < parts.size(); ++i) {
    Sequence& sequence = at(parts[i].sequence);
    const SpanResult& found = result.spans[i];
    if (found.num_tokens == 0) continue;
    const bool at_end = sequence.num_computed == static_cast<int>(sequence.tokens.size());
    if (!parts[i].drafts.empty()) {
      CHECK(at_end);
      sequence.num_computed += found.num_tokens - 1;  // what was guessed right
      for (int at = 0; at < found.num_tokens; ++at) {
        sequence.tokens.push_back(result.tokens[static_cast<size_t>(found.token_begin + at)].id);
      }
      continue;
    }
    const auto last = static_cast<size_t>(found.token_begin + found.num_tokens - 1);
    if (at_end) sequence.tokens.push_back(result.tokens[last].id);
  }
  return result;
}

void ExecutorDriver::run_all(int sequence, int chunk) {
  const int num_tokens = at(sequence).num_prompt;
  for (int done = 0; done < num_tokens; done += chunk) {
    const int count = std::min(chunk, num_tokens - done);
    step({{sequence, count, count}});
  }
}

std::vector<TokenId> ExecutorDriver::generate(int sequence, int num_tokens) {
  const int num_prompt = at(sequence).num_prompt;
  for (int i = 0; i < num_tokens; ++i) {
    const int computed = at(sequence).num_computed;
    step({{sequence, computed < num_prompt ? num_prompt - computed : 1, 1}});
  }
  const std::vector<TokenId>& all = at(sequence).tokens;
  return std::vector<TokenId>(all.begin() + num_prompt, all.end());
}

const std::vector<float>& ExecutorDriver::logits(int sequence, int position) const {
  return at(sequence).logits.at(position);
}

}  // namespace sparrow
