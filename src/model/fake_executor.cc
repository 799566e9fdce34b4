#include "model/fake_executor.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace sparrow {
namespace {

constexpr uint64_t kSeed = 0x53504152524f57;
// Draws before a mask is searched for its allowed tokens.
constexpr uint64_t kMaxDraws = 64;

bool is_allowed(std::span<const uint32_t> mask, TokenId id) {
  const auto index = static_cast<size_t>(id);
  return mask.empty() || ((mask[index / 32] >> (index % 32)) & 1u) != 0;
}

}  // namespace

FakeExecutor::FakeExecutor(FakeExecutorOptions options)
    : options_(std::move(options)),
      cells_(static_cast<size_t>(options_.limits.num_blocks) *
             static_cast<size_t>(options_.limits.block_tokens)),
      slots_(static_cast<size_t>(options_.limits.num_slots)),
      writer_(static_cast<size_t>(options_.limits.num_blocks), -1) {}

Status FakeExecutor::load(TensorSource&) { return ok_status(); }

TokenId FakeExecutor::draw(uint64_t bits) const {
  if (options_.eos_token >= 0 && bits % 1000 < static_cast<uint64_t>(options_.eos_per_mille)) {
    return options_.eos_token;
  }
  const auto index = (bits >> 10) % static_cast<uint64_t>(options_.num_tokens);
  return options_.first_token + static_cast<TokenId>(index);
}

void FakeExecutor::start_context(Context& context) const {
  context.hash = kSeed;
  context.tokens.clear();
}

void FakeExecutor::extend(Context& context, TokenId token) const {
  context.hash = mix64(context.hash ^ static_cast<uint64_t>(token));
  if (options_.script) context.tokens.push_back(token);
}

// -1 when nothing is allowed.
TokenId FakeExecutor::next_token(const Context& context, const SamplingParams& params,
                                 const Constraint& constraint) const {
  uint64_t base = context.hash ^ kSeed;
  if (!params.greedy()) base ^= mix64(mix64(params.seed) + static_cast<uint64_t>(params.choice));
  const auto fits = [&](TokenId id) {
    return is_allowed(constraint.mask, id) &&
           !std::binary_search(constraint.banned.begin(), constraint.banned.end(), id);
  };
  if (options_.script) {
    const std::optional<TokenId> scripted = options_.script(context.tokens);
    if (scripted && fits(*scripted)) return *scripted;
  }
  for (uint64_t attempt = 0; attempt < kMaxDraws; ++attempt) {
    const TokenId id = draw(mix64(base + attempt));
    if (fits(id)) return id;
  }
  for (TokenId id = 0; id < options_.limits.vocab_size; ++id) {
    if (fits(id)) return id;
  }
  return -1;
}

std::vector<TokenId> FakeExecutor::expected_tokens(const std::vector<TokenId>& prompt,
                                                   int count) const {
  return expected_tokens(prompt, count, SamplingParams{.temperature = 0});
}

std::vector<TokenId> FakeExecutor::expected_tokens(const std::vector<TokenId>& prompt, int count,
                                                   const SamplingParams& params,
                                                   std::span<const TokenId> banned_early,
                                                   int min_tokens, TokenMasker* masker) const {
  Context context;
  std::vector<uint32_t> mask(static_cast<size_t>(options_.limits.vocab_size + 31) / 32);
  start_context(context);
  for (const TokenId token : prompt) extend(context, token);
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) {
    const auto banned = i < min_tokens ? banned_early : std::span<const TokenId>();
    const bool is_masked = masker != nullptr && masker->fill(mask);
    const auto allowed = is_masked ? std::span<const uint32_t>(mask) : std::span<const uint32_t>();
    const TokenId id = next_token(context, params, {.mask = allowed, .banned = banned});
    if (id < 0 || (masker != nullptr && !masker->accept(id))) break;
    tokens.push_back(id);
    extend(context, id);
  }
  return tokens;
}

FakeExecutor::Cell& FakeExecutor::cell(const BatchPlan& plan, const Span& span, int32_t position) {
  const int32_t block_tokens = options_.limits.block_tokens;
  const int32_t index = span.block_begin + position / block_tokens;
  const BlockId block = plan.block_ids[static_cast<size_t>(index)];
  return cells_[static_cast<size_t>(block * block_tokens + position % block_tokens)];
}

void FakeExecutor::check_span(const BatchPlan& plan, const Span& span) {
  CHECK(span.slot >= 0 && span.slot < options_.limits.num_slots);
  Slot& slot = slots_[static_cast<size_t>(span.slot)];
  CHECK(slot.is_held);
  CHECK(span.num_tokens > 0 && span.num_logit_rows >= 0 && span.num_logit_rows <= span.num_tokens);
  CHECK(span.num_drafts == 0 || span.num_logit_rows == span.num_drafts + 1);
  CHECK(span.first_position >= 0);
  // Once started, a slot goes on where it stopped.
  CHECK(!slot.next_position || *slot.next_position == span.first_position);
  const int32_t end = span.first_position + span.num_tokens;
  slot.next_position = end - span.num_drafts;  // further when drafts turn out right
  CHECK(end <= options_.limits.max_context_tokens);
  CHECK(span.token_begin >= 0 && span.token_begin + span.num_tokens <= plan.num_tokens());
  CHECK(span.block_begin >= 0);
  CHECK(static_cast<size_t>(span.block_begin + span.num_blocks) <= plan.block_ids.size());
  CHECK(span.num_blocks * options_.limits.block_tokens >= end);
  for (int32_t i = 0; i < span.num_blocks; ++i) {
    const BlockId block = plan.block_ids[static_cast<size_t>(span.block_begin + i)];
    CHECK(block >= 0 && block < options_.limits.num_blocks);
  }
}

// A block that one span writes must not be in the table of another.
void FakeExecutor::check_no_foreign_writes(const BatchPlan& plan) {
  std::fill(writer_.begin(), writer_.end(), -1);
  const auto block_of = [&](const Span& span, int32_t index) {
    return static_cast<size_t>(plan.block_ids[static_cast<size_t>(span.block_begin + index)]);
  };
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const Span& span = plan.spans[i];
    for (int32_t at = span.first_position / options_.limits.block_tokens; at < span.num_blocks;
         ++at) {
      CHECK(writer_[block_of(span, at)] == -1);
      writer_[block_of(span, at)] = static_cast<int32_t>(i);
    }
  }
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const Span& span = plan.spans[i];
    for (int32_t at = 0; at < span.num_blocks; ++at) {
      const int32_t writer = writer_[block_of(span, at)];
      CHECK(writer == -1 || writer == static_cast<int32_t>(i));
    }
  }
}

void FakeExecutor::write_span(const BatchPlan& plan, const Span& span) {
  const Slot& slot = slots_[static_cast<size_t>(span.slot)];
  for (int32_t row = 0; row < span.num_tokens; ++row) {
    const auto position = static_cast<size_t>(span.first_position + row);
    TokenId token = plan.token_ids[static_cast<size_t>(span.token_begin + row)];
    if (row < span.num_tokens - span.num_drafts) {
      CHECK(position < slot.tokens.size());
      if (token == kPendingToken) token = slot.tokens[position];
      CHECK(token == slot.tokens[position]);
    } else {
      CHECK(token >= 0 && token < options_.limits.vocab_size);
    }
    cell(plan, span, span.first_position + row) = {token, span.first_position + row};
  }
}

void FakeExecutor::add_logprobs(SampledToken& token, uint64_t bits, int num_top) {
  token.logprob = -static_cast<float>(bits % 1000) * 0.001f;
  token.top_begin = static_cast<int32_t>(result_->top_logprobs.size());
  token.num_top = num_top;
  for (int i = 0; i < num_top; ++i) {
    const TokenId id = (token.id + i) % options_.limits.vocab_size;
    result_->top_logprobs.push_back({id, token.logprob - static_cast<float>(i)});
  }
}

// False when no token is allowed.
bool FakeExecutor::add_token(Slot& slot, const Constraint& constraint) {
  SampledToken sampled;
  const TokenId id = next_token(context_, *slot.params, constraint);
  sampled.not_finite = id < 0;  // a mask without any token leaves no finite logit
  sampled.id = std::max(id, 0);
  if (slot.params->num_top_logprobs >= 0) {
    add_logprobs(sampled, context_.hash, slot.params->num_top_logprobs);
  }
  slot.tokens.push_back(sampled.id);
  result_->tokens.push_back(sampled);
  return !sampled.not_finite;
}

void FakeExecutor::sample_span(const BatchPlan& plan, const Span& span, const TokenMasks& masks) {
  Slot& slot = slots_[static_cast<size_t>(span.slot)];
  const auto mask_of = [&](int32_t logit_row) {
    if (span.mask_row < 0) return std::span<const uint32_t>();
    const auto words = static_cast<size_t>(masks.words_per_row);
    const auto row = static_cast<size_t>(span.mask_row + (span.num_drafts > 0 ? logit_row : 0));
    return masks.words.subspan(row * words, words);
  };
  start_context(context_);
  const int32_t end = span.first_position + span.num_tokens;
  for (int32_t position = 0; position < end; ++position) {
    const Cell& read = cell(plan, span, position);
    CHECK(read.position == position);  // written before it is read
    const int32_t logit_row = position - (end - span.num_logit_rows);
    if (span.num_drafts > 0 && logit_row > 0) {
      if (read.token != slot.tokens.back()) break;  // a wrong draft
      ++*slot.next_position;
    }
    extend(context_, read.token);
    if (logit_row < 0) continue;
    const auto num_generated = static_cast<int32_t>(slot.tokens.size()) - slot.num_prompt_tokens;
    Constraint constraint{.mask = mask_of(logit_row)};
    if (num_generated < slot.min_tokens) constraint.banned = slot.banned_early;
    if (!add_token(slot, constraint) && span.num_drafts > 0) break;
  }
}

FakeExecutor::Step* FakeExecutor::other_in_flight(const Step& step) {
  Step& other = steps_[&step == &steps_[0] ? 1 : 0];
  return other.plan != nullptr ? &other : nullptr;
}

FakeExecutor::Step& FakeExecutor::step_of(Ticket ticket) {
  for (Step& step : steps_) {
    if (step.plan != nullptr && step.plan->step == ticket) return step;
  }
  CHECK(false && "no such step is in flight");
  return steps_[0];
}

bool FakeExecutor::has_slot(const Step& step, SlotId slot, bool is_sampled) {
  return std::any_of(step.plan->spans.begin(), step.plan->spans.end(), [&](const Span& span) {
    return span.slot == slot && (!is_sampled || span.num_logit_rows > 0);
  });
}

uint64_t FakeExecutor::fingerprint_of(const BatchPlan& plan) {
  uint64_t hash = kSeed ^ plan.step;
  const auto add = [&](int64_t value) { hash = mix64(hash ^ static_cast<uint64_t>(value)); };
  for (const Span& span : plan.spans) {
    for (const int32_t value :
         {span.slot, span.first_position, span.num_tokens, span.num_logit_rows, span.token_begin,
          span.block_begin, span.num_blocks, span.mask_row, span.num_drafts}) {
      add(value);
    }
  }
  for (const TokenId token : plan.token_ids) add(token);
  for (const BlockId block : plan.block_ids) add(block);
  return hash;
}

// The token that the other step is sampling for this slot is pending: nobody can know it. The first
// of a span may be in any case.
void FakeExecutor::check_pending(const Step& step, const Span& span) {
  const Step* const other = other_in_flight(step);
  const bool is_sampling = other != nullptr && has_slot(*other, span.slot, true);
  for (int32_t row = 0; row < span.num_tokens; ++row) {
    const TokenId token = step.plan->token_ids[static_cast<size_t>(span.token_begin + row)];
    CHECK(row == 0 ? !is_sampling || token == kPendingToken : token != kPendingToken);
  }
}

// What the step still reads is as it was.
void FakeExecutor::check_until_wait(const Step& step) const {
  CHECK(step.fingerprint == fingerprint_of(*step.plan));
  for (const Span& span : step.plan->spans) {
    const Slot& slot = slots_[static_cast<size_t>(span.slot)];
    CHECK(slot.is_held && slot.params->seed == slot.params_seed);
  }
}

// What the hook throws ends the step.
void FakeExecutor::enter(Step& step, StepPart part) {
  if (!options_.on_part) return;
  try {
    options_.on_part(step.plan->step, part);
  } catch (...) {
    step.plan = nullptr;
    throw;
  }
}

Ticket FakeExecutor::begin(const BatchPlan& plan) {
  CHECK(!plan.empty() && plan.num_tokens() <= options_.limits.max_batch_tokens);
  const Step& newest = steps_[newest_];
  Step& step = steps_[1 - newest_];
  CHECK(step.plan == nullptr);
  CHECK(newest.plan == nullptr || (options_.limits.max_steps_in_flight == 2 && newest.is_sampled));
  step.plan = &plan;
  step.is_sampled = false;
  step.is_garbage = newest.plan != nullptr && (newest.result.failed || newest.is_garbage);
  enter(step, StepPart::kBegin);
  try {
    start_slots(plan);
  } catch (...) {
    for (const SlotStart& start : plan.slot_starts) {
      slots_.at(static_cast<size_t>(start.slot)).is_held = false;
    }
    step.plan = nullptr;
    throw;
  }
  for (const Span& span : plan.spans) {
    check_span(plan, span);
    check_pending(step, span);
  }
  check_no_foreign_writes(plan);
  step.fingerprint = fingerprint_of(plan);
  newest_ = 1 - newest_;
  return plan.step;
}

void FakeExecutor::start_slots(const BatchPlan& plan) {
  for (const SlotStart& start : plan.slot_starts) {
    Slot& slot = slots_.at(static_cast<size_t>(start.slot));
    CHECK(!slot.is_held);
    CHECK(start.params != nullptr && !start.tokens.empty());
    CHECK(static_cast<size_t>(start.num_prompt_tokens) <= start.tokens.size());
    slot.is_held = true;
    slot.next_position.reset();
    slot.tokens.assign(start.tokens.begin(), start.tokens.end());
    slot.params = start.params;
    slot.params_seed = start.params->seed;
    slot.banned_early = start.banned_early;
    slot.num_prompt_tokens = start.num_prompt_tokens;
    slot.min_tokens = start.min_tokens;
  }
}

void FakeExecutor::sample(Ticket ticket, const TokenMasks& masks) {
  Step& step = step_of(ticket);
  CHECK(&step == &steps_[newest_] && !step.is_sampled);
  enter(step, StepPart::kSample);
  step.is_sampled = true;
  step.result.clear();
  step.result.step = ticket;
  result_ = &step.result;
  try {
    compute(step, masks);
    if (options_.corrupt) options_.corrupt(step.result);
  } catch (...) {
    step.plan = nullptr;
    throw;
  }
}

void FakeExecutor::compute(Step& step, const TokenMasks& masks) {
  const BatchPlan& plan = *step.plan;
  StepResult& result = step.result;
  double ms = options_.fixed_ms + options_.row_ms * plan.num_tokens();
  if (options_.extra_ms) ms += options_.extra_ms(plan.step);
  result.elapsed_ns = static_cast<int64_t>(ms * 1e6);
  result.failed = options_.fails && options_.fails(plan.step);
  if (result.failed) return;
  if (step.is_garbage) return compute_garbage(step);
  for (const Span& span : plan.spans) write_span(plan, span);
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const auto begin = static_cast<int32_t>(result.tokens.size());
    sample_span(plan, plan.spans[i], masks);
    const auto end = static_cast<int32_t>(result.tokens.size());
    result.spans.push_back({begin, end - begin});
    if (end > begin && options_.not_finite && options_.not_finite(plan.step, i)) {
      result.tokens.back().not_finite = true;
      result.tokens.back().id = kPendingToken;  // meaningless: whoever uses it is found out
    }
  }
}

// Nothing in it shows that it is none.
void FakeExecutor::compute_garbage(Step& step) {
  for (const Span& span : step.plan->spans) {
    const auto begin = static_cast<int32_t>(step.result.tokens.size());
    const int32_t count = std::min(span.num_logit_rows, 1);
    if (count > 0) step.result.tokens.push_back({.id = options_.limits.vocab_size - 1});
    step.result.spans.push_back({begin, count});
  }
}

const StepResult& FakeExecutor::wait(Ticket ticket) {
  Step& step = step_of(ticket);
  CHECK(step.is_sampled);
  const Step* const other = other_in_flight(step);
  CHECK(other == nullptr || &step != &steps_[newest_]);  // the older one first
  check_until_wait(step);
  enter(step, StepPart::kWait);
  step.plan = nullptr;
  return step.result;
}

void FakeExecutor::release(SlotId slot) {
  CHECK(slots_.at(static_cast<size_t>(slot)).is_held);
  for (const Step& step : steps_) CHECK(step.plan == nullptr || !has_slot(step, slot, false));
  slots_[static_cast<size_t>(slot)].is_held = false;
}

int FakeExecutor::num_held_slots() const {
  return static_cast<int>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.is_held; }));
}

}  // namespace sparrow
