#include "sim_executor.h"

#include <fmt/format.h>

#include <functional>

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
      num_readers_(static_cast<size_t>(options.limits.num_blocks), 0),
      block_salts_(static_cast<size_t>(options.limits.num_blocks), 0) {}

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

ChoiceRecord& SimExecutor::mutable_record(const Held& held) {
  return records_.at(held.tag).at(static_cast<size_t>(held.choice));
}

void SimExecutor::forget_step() {
  starts_.clear();
  num_rows_ = 0;
}

Ticket SimExecutor::begin(const BatchPlan& plan) {
  plan_ = &plan;
  num_rows_ = plan.num_tokens();
  for (const SlotStart& start : plan.slot_starts) note_start(start);
  for (const Span& span : plan.spans) watch_blocks(plan, span);
  check_no_gap(plan);
  return fake_.begin(plan);
}

void SimExecutor::note_start(const SlotStart& start) {
  Held& held = held_.at(static_cast<size_t>(start.slot));
  held = {.tag = tag_of(*start.params), .choice = start.params->choice, .is_used = true};
  ChoiceRecord& record = mutable_record(held);
  if (record.is_held)
    violation_ = fmt::format("choice {} of {} holds two slots", held.choice, held.tag);
  record.is_held = true;
  const bool is_first = record.num_starts++ == 0;
  starts_.push_back({held.tag, held.choice, is_first});
  if (!is_first) return;
  for (Held& other : held_) {
    if (&other != &held && other.is_used) ++mutable_record(other).num_starts_of_others;
  }
}

void SimExecutor::check_no_gap(const BatchPlan& plan) {
  for (const Span& span : plan.spans) {
    Held& held = held_[static_cast<size_t>(span.slot)];
    held.last_step = plan.step;
    held.is_generating = span.num_logit_rows > 0;
  }
  for (const Held& held : held_) {
    if (!held.is_used || !held.is_generating || held.last_step == plan.step) continue;
    violation_ = fmt::format("{} generates and was left out of a step", held.tag);
  }
}

void SimExecutor::drop_blocks(Held& held) {
  for (const BlockId block : held.blocks) --num_readers_[static_cast<size_t>(block)];
  held.blocks.clear();
}

void SimExecutor::watch_blocks(const BatchPlan& plan, const Span& span) {
  Held& held = held_.at(static_cast<size_t>(span.slot));
  ChoiceRecord& record = mutable_record(held);
  if (!held.has_span && record.num_starts == 1) record.first_cached = span.first_position;
  held.has_span = true;
  drop_blocks(held);
  const int32_t first_written = span.first_position / block_tokens_;
  const int32_t computed = span.first_position + span.num_tokens - span.num_drafts;
  for (int32_t at = 0; at < span.num_blocks; ++at) {
    const BlockId id = plan.block_ids.at(static_cast<size_t>(span.block_begin + at));
    const auto block = static_cast<size_t>(id);
    if (at < first_written) {
      if (block_salts_.at(block) != salts_[held.tag]) {
        violation_ = fmt::format("{} reads block {} of another cache salt", held.tag, id);
      }
    } else {
      if (num_readers_.at(block) > 0) {
        violation_ = fmt::format("{} writes block {} that another reads", held.tag, id);
      }
      block_salts_[block] = salts_[held.tag];
    }
    if (at * block_tokens_ >= computed) continue;
    held.blocks.push_back(id);
    ++num_readers_[block];
  }
}

const StepResult& SimExecutor::wait(Ticket ticket) {
  const StepResult& result = fake_.wait(ticket);
  for (size_t i = 0; i < plan_->spans.size(); ++i) {
    ChoiceRecord& record = mutable_record(held_[static_cast<size_t>(plan_->spans[i].slot)]);
    record.saw_failed_step |= result.failed;
    if (result.failed) continue;
    const SpanResult& span = result.spans[i];
    record.num_sampled += span.num_tokens;
    for (int32_t at = 0; at < span.num_tokens; ++at) {
      const auto index = static_cast<size_t>(span.token_begin + at);
      record.saw_not_finite |= result.tokens[index].not_finite;
    }
  }
  return result;
}

void SimExecutor::release(SlotId slot) {
  Held& held = held_.at(static_cast<size_t>(slot));
  ChoiceRecord& record = mutable_record(held);
  record.is_held = false;
  held.is_used = false;
  ++record.num_releases;
  drop_blocks(held);
  fake_.release(slot);
}

}  // namespace sparrow
