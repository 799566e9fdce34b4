#include "sim_executor.h"

#include <fmt/format.h>

#include <algorithm>

namespace sparrow {
namespace {

constexpr double kLongStepMs = 10'000;
// More than any step here takes.
constexpr double kBackwardsMs = -1'000'000;

FakeExecutorOptions with_faults(const FakeExecutorOptions& options, const FaultPlan& faults,
                                FaultCounts& counts) {
  FakeExecutorOptions all = options;
  const auto strikes = [&faults, &counts](FaultKind kind, uint64_t at) {
    const bool hit = faults.hits(kind, at);
    counts[static_cast<size_t>(kind)] += hit ? 1 : 0;
    return hit;
  };
  all.fails = [=](uint64_t step) { return strikes(FaultKind::kFailedStep, step); };
  all.not_finite = [=](uint64_t step, size_t span) {
    return strikes(FaultKind::kNotFinite, step * 1000 + span);
  };
  all.extra_ms = [=](uint64_t step) {
    if (strikes(FaultKind::kInstantStep, step)) return kBackwardsMs;
    return strikes(FaultKind::kLongStep, step) ? kLongStepMs : 0.0;
  };
  return all;
}

}  // namespace

SimExecutor::SimExecutor(const FakeExecutorOptions& options, const FaultPlan& faults,
                         FaultCounts& counts)
    : fake_(with_faults(options, faults, counts)),
      block_tokens_(options.limits.block_tokens),
      held_(static_cast<size_t>(options.limits.num_slots)),
      blocks_(static_cast<size_t>(options.limits.num_blocks)) {}

void SimExecutor::expect(size_t tag, int num_choices, const std::string& cache_salt) {
  if (records_.size() <= tag) {
    records_.resize(tag + 1);
    salts_.resize(tag + 1);
  }
  records_[tag].resize(static_cast<size_t>(num_choices));
  salts_[tag] = std::hash<std::string>()(cache_salt);
}

const ChoiceRecord& SimExecutor::record(size_t tag, int choice) const {
  return records_.at(tag).at(static_cast<size_t>(choice));
}

ChoiceRecord& SimExecutor::record_of(const Held& held) {
  return records_.at(held.tag).at(static_cast<size_t>(held.choice));
}

SimExecutor::BlockState& SimExecutor::block_of(const BatchPlan& plan, const Span& span,
                                               int32_t index) {
  const BlockId block = plan.block_ids.at(static_cast<size_t>(span.block_begin + index));
  return blocks_.at(static_cast<size_t>(block));
}

void SimExecutor::forget_step() {
  step_failed_ = false;
  is_worthless_ = false;
  starts_.clear();
  held_tags_.clear();
  held_before_.clear();
  num_rows_ = 0;
}

Ticket SimExecutor::begin(const BatchPlan& plan) {
  if (!plan.slot_starts.empty()) {
    for (const Held& held : held_) {
      if (held.is_used) held_before_.push_back({held.tag, held.choice, held.num_computed});
    }
    for (const SlotStart& start : plan.slot_starts) note_start(plan, start);
    for (const Held& held : held_) {
      if (held.is_used) held_tags_.push_back(held.tag);
    }
  }
  for (const Span& span : plan.spans) note_span(plan, span);
  check_no_gap(plan);
  num_steps_ahead_ += on_way_.size();
  on_way_.push_back({.plan = &plan});
  return fake_.begin(plan);
}

void SimExecutor::note_start(const BatchPlan& plan, const SlotStart& start) {
  Held& held = held_.at(static_cast<size_t>(start.slot));
  held = {.tag = tag_of(*start.params),
          .choice = start.params->choice,
          .is_used = true,
          .first_step = plan.step};
  ChoiceRecord& record = record_of(held);
  if (record.is_held) violation_ = fmt::format("{} holds two slots", held.tag);
  record.is_held = true;
  const bool is_first = record.num_starts++ == 0;
  starts_.push_back({held.tag, held.choice, is_first});
  if (!is_first) return;
  for (Held& other : held_) {
    if (&other != &held && other.is_used) ++record_of(other).num_starts_of_others;
  }
}

void SimExecutor::note_span(const BatchPlan& plan, const Span& span) {
  Held& held = held_.at(static_cast<size_t>(span.slot));
  ChoiceRecord& record = record_of(held);
  if (!held.has_span && record.num_starts == 1) record.first_cached = span.first_position;
  held.has_span = true;
  held.last_step = plan.step;
  held.is_generating = span.num_logit_rows > 0;
  held.num_computed = span.first_position + span.num_tokens - span.num_drafts;
  const int32_t first_written = span.first_position / block_tokens_;
  for (int32_t index = 0; index < span.num_blocks; ++index) {
    BlockState& block = block_of(plan, span, index);
    if (index >= first_written) {
      block = {.salt = salts_[held.tag], .written_step = plan.step};
      continue;
    }
    if (block.salt != salts_[held.tag]) {
      violation_ = fmt::format("{} reads a block of another cache salt", held.tag);
    }
    if (block.poisoned_step > 0 && held.first_step > block.poisoned_step) {
      violation_ = fmt::format("{} reads a block of a sequence that was not finite", held.tag);
    }
  }
}

void SimExecutor::check_no_gap(const BatchPlan& plan) {
  for (Held& held : held_) {
    if (!held.is_used || !held.is_generating || held.last_step == plan.step) continue;
    if (on_way_.empty() || held.was_left_out) {
      violation_ = fmt::format("{} generates and was left out of a step", held.tag);
    }
    held.was_left_out = true;
  }
}

void SimExecutor::poison(const BatchPlan& plan, const Span& span) {
  for (int32_t index = 0; index < span.num_blocks; ++index) {
    BlockState& block = block_of(plan, span, index);
    // A block that was given back meanwhile may be another's already, in the step behind this one.
    if (block.written_step <= plan.step) block.poisoned_step = plan.step;
  }
}

const StepResult& SimExecutor::wait(Ticket ticket) {
  const OnWay step = on_way_.front();
  on_way_.pop_front();
  const BatchPlan& plan = *step.plan;
  const StepResult& result = fake_.wait(ticket);
  num_rows_ += plan.num_tokens();
  is_worthless_ = step.is_worthless;
  step_failed_ = result.failed;
  if ((result.failed || step.is_worthless) && !on_way_.empty()) on_way_.front().is_worthless = true;
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const Span& span = plan.spans[i];
    ChoiceRecord& record = record_of(held_[static_cast<size_t>(span.slot)]);
    record.saw_failed_step |= result.failed;
    if (result.failed) continue;
    const SpanResult& produced = result.spans[i];
    record.num_sampled += produced.num_tokens;
    for (int32_t at = 0; at < produced.num_tokens; ++at) {
      const auto index = static_cast<size_t>(produced.token_begin + at);
      record.saw_not_finite |= result.tokens[index].not_finite;
    }
    // With guesses the answer may have ended before the row that was not finite.
    if (record.saw_not_finite && produced.num_tokens == 1) poison(plan, span);
  }
  return result;
}

int SimExecutor::num_held_slots_if(
    const std::function<bool(size_t tag, int choice)>& is_wanted) const {
  int count = 0;
  for (size_t slot = 0; slot < held_.size(); ++slot) {
    const Held& held = held_[slot];
    const bool is_on_way = std::any_of(on_way_.begin(), on_way_.end(), [&](const OnWay& step) {
      return std::any_of(step.plan->spans.begin(), step.plan->spans.end(),
                         [&](const Span& span) { return span.slot == static_cast<SlotId>(slot); });
    });
    if (held.is_used && (!is_on_way || is_wanted(held.tag, held.choice))) ++count;
  }
  return count;
}

void SimExecutor::release(SlotId slot) {
  Held& held = held_.at(static_cast<size_t>(slot));
  ChoiceRecord& record = record_of(held);
  record.is_held = false;
  ++record.num_releases;
  held.is_used = false;
  fake_.release(slot);
}

}  // namespace sparrow
