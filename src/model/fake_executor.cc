#include "model/fake_executor.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"

namespace sparrow {
namespace {

constexpr uint64_t kSeed = 0x53504152524f57;

uint64_t extend(uint64_t hash, TokenId token) { return mix64(hash ^ static_cast<uint64_t>(token)); }

}  // namespace

FakeExecutor::FakeExecutor(FakeExecutorOptions options)
    : options_(std::move(options)),
      cells_(static_cast<size_t>(options_.limits.num_blocks) *
             static_cast<size_t>(options_.limits.block_tokens)),
      held_(static_cast<size_t>(options_.limits.num_slots), false),
      last_token_(static_cast<size_t>(options_.limits.num_slots), -1) {}

Status FakeExecutor::load(TensorSource&) { return ok_status(); }

TokenId FakeExecutor::next_token(uint64_t hash) const {
  const uint64_t bits = mix64(hash ^ kSeed);
  if (options_.eos_token >= 0 && bits % 1000 < static_cast<uint64_t>(options_.eos_per_mille)) {
    return options_.eos_token;
  }
  const auto index = (bits >> 10) % static_cast<uint64_t>(options_.num_tokens);
  return options_.first_token + static_cast<TokenId>(index);
}

std::vector<TokenId> FakeExecutor::expected_tokens(std::vector<TokenId> prompt, int count) const {
  uint64_t hash = kSeed;
  for (const TokenId token : prompt) hash = extend(hash, token);
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(next_token(hash));
    hash = extend(hash, tokens.back());
  }
  return tokens;
}

void FakeExecutor::check_span(const BatchPlan& plan, const Span& span) const {
  CHECK(span.slot >= 0 && span.slot < options_.limits.num_slots);
  CHECK(held_[static_cast<size_t>(span.slot)]);
  CHECK(span.num_tokens > 0 && span.num_logit_rows >= 0 && span.num_logit_rows <= span.num_tokens);
  CHECK(span.first_position >= 0);
  CHECK(span.first_position + span.num_tokens <= options_.limits.max_context_tokens);
  CHECK(span.token_begin + span.num_tokens <= plan.num_tokens());
  CHECK(static_cast<size_t>(span.block_begin + span.num_blocks) <= plan.block_ids.size());
  CHECK(span.num_blocks * options_.limits.block_tokens >= span.first_position + span.num_tokens);
  for (int32_t i = 0; i < span.num_blocks; ++i) {
    const BlockId block = plan.block_ids[static_cast<size_t>(span.block_begin + i)];
    CHECK(block >= 0 && block < options_.limits.num_blocks);
  }
}

void FakeExecutor::write_span(const BatchPlan& plan, const Span& span) {
  const int32_t block_tokens = options_.limits.block_tokens;
  const auto cell = [&](int32_t position) -> Cell& {
    const int32_t index = position / block_tokens;
    const BlockId block = plan.block_ids[static_cast<size_t>(span.block_begin + index)];
    return cells_[static_cast<size_t>(block * block_tokens + position % block_tokens)];
  };
  for (int32_t row = 0; row < span.num_tokens; ++row) {
    TokenId token = plan.token_ids[static_cast<size_t>(span.token_begin + row)];
    if (token == kPendingToken) token = last_token_[static_cast<size_t>(span.slot)];
    CHECK(token >= 0);
    cell(span.first_position + row) = {token, span.first_position + row};
  }
  uint64_t hash = kSeed;
  const int32_t first_logit_row = span.num_tokens - span.num_logit_rows;
  for (int32_t position = 0; position < span.first_position + span.num_tokens; ++position) {
    CHECK(cell(position).position == position);  // written before it is read
    hash = extend(hash, cell(position).token);
    if (position - span.first_position < first_logit_row) continue;
    SampledToken sampled;
    sampled.id = next_token(hash);
    last_token_[static_cast<size_t>(span.slot)] = sampled.id;
    result_.tokens.push_back(sampled);
  }
}

Ticket FakeExecutor::begin(const BatchPlan& plan) {
  CHECK(plan_ == nullptr);  // at most one step in flight
  CHECK(!plan.empty() && plan.num_tokens() <= options_.limits.max_batch_tokens);
  plan_ = &plan;
  for (const SlotStart& start : plan.slot_starts) {
    CHECK(!held_.at(static_cast<size_t>(start.slot)));
    CHECK(start.params != nullptr && !start.tokens.empty());
    held_[static_cast<size_t>(start.slot)] = true;
    last_token_[static_cast<size_t>(start.slot)] = start.tokens.back();
  }
  return plan.step;
}

void FakeExecutor::sample(Ticket ticket, const TokenMasks&) {
  CHECK(plan_ != nullptr && ticket == plan_->step);
  result_.clear();
  result_.step = ticket;
  const double ms = options_.fixed_ms + options_.row_ms * plan_->num_tokens();
  result_.elapsed_ns = static_cast<int64_t>(ms * 1e6);
  result_.failed = options_.fails && options_.fails(ticket);
  if (result_.failed) return;
  for (size_t i = 0; i < plan_->spans.size(); ++i) {
    const Span& span = plan_->spans[i];
    check_span(*plan_, span);
    const auto begin = static_cast<int32_t>(result_.tokens.size());
    write_span(*plan_, span);
    const auto end = static_cast<int32_t>(result_.tokens.size());
    result_.spans.push_back({begin, end - begin});
    if (end > begin && options_.not_finite && options_.not_finite(ticket, i)) {
      result_.tokens.back().not_finite = true;
    }
  }
}

const StepResult& FakeExecutor::wait(Ticket ticket) {
  CHECK(plan_ != nullptr && ticket == result_.step);
  plan_ = nullptr;
  return result_;
}

void FakeExecutor::release(SlotId slot) {
  CHECK(held_.at(static_cast<size_t>(slot)));
  held_[static_cast<size_t>(slot)] = false;
}

int FakeExecutor::num_held_slots() const {
  return static_cast<int>(std::count(held_.begin(), held_.end(), true));
}

}  // namespace sparrow
