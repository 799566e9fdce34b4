#include "model/cpu_head.h"

#include <algorithm>

#include "model/cpu_products.h"

namespace sparrow {

CpuHead::CpuHead(const ModelConfig& config, const Kernels& kernels, const WorkspaceSizes& sizes,
                 int32_t num_slots, std::vector<TokenId> disallowed, ComputePool& pool)
    : config_(config),
      kernels_(kernels),
      max_logit_rows_(sizes.max_logit_rows),
      pool_(pool),
      sampler_(kernels, config.vocab_size, std::move(disallowed)),
      slots_(static_cast<size_t>(num_slots)),
      scratch_(static_cast<size_t>(sizes.num_threads)),
      sampled_(static_cast<size_t>(sizes.max_logit_rows)),
      top_(static_cast<size_t>(sizes.max_logit_rows)),
      is_valid_(static_cast<size_t>(sizes.max_logit_rows)) {
  rows_.reserve(static_cast<size_t>(sizes.max_rows));
  groups_.reserve(static_cast<size_t>(sizes.max_logit_rows));
  for (std::vector<TokenLogprob>& top : top_) top.reserve(kMaxTopLogprobs);
}

void CpuHead::start_slot(const SlotStart& start) {
  Slot& slot = slots_.at(static_cast<size_t>(start.slot));
  CHECK(!slot.held && start.params != nullptr && !start.tokens.empty());
  slot.held = true;
  slot.last_token = start.tokens.back();
  slot.sampler.start(start);
}

void CpuHead::release_slot(SlotId slot) {
  CHECK(is_held(slot));
  slots_[static_cast<size_t>(slot)].held = false;
}

void CpuHead::sample(const BatchPlan& plan, const TokenMasks& masks, const CpuWeights& weights,
                     CpuWorkspace& workspace, StepResult& result) {
  rows_.clear();
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const Span& span = plan.spans[i];
    slots_[static_cast<size_t>(span.slot)].draft_failed = false;
    const int32_t first = span.num_tokens - span.num_logit_rows;
    for (int32_t index = 0; index < span.num_logit_rows; ++index) {
      const int32_t row = first + index;
      rows_.push_back({&span, span.token_begin + row, span.first_position + row + 1, index, i});
    }
  }
  result.spans.resize(plan.spans.size());
  const std::span<const LogitRow> all(rows_);
  const auto turn = static_cast<size_t>(max_logit_rows_);
  for (size_t begin = 0; begin < all.size(); begin += turn) {
    const auto rows = all.subspan(begin, std::min(turn, all.size() - begin));
    compute_logits(rows, weights, workspace);
    sample_rows(plan, rows, masks, workspace, result);
  }
  int32_t token_begin = 0;
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    SpanResult& found = result.spans[i];
    found.token_begin = token_begin;
    token_begin += found.num_tokens;
    if (plan.spans[i].num_drafts > 0) continue;
    // Only now: the rows of a span that two turns share see the same state.
    Slot& slot = slots_[static_cast<size_t>(plan.spans[i].slot)];
    for (int32_t at = found.token_begin; at < token_begin; ++at) {
      const SampledToken& token = result.tokens[static_cast<size_t>(at)];
      if (token.not_finite) continue;
      slot.last_token = token.id;
      slot.sampler.record(token.id);
    }
  }
}

// logits = rms(x, g) Wlm^T: [R][V]
void CpuHead::compute_logits(std::span<const LogitRow> rows, const CpuWeights& weights,
                             CpuWorkspace& workspace) {
  const int64_t hidden = config_.hidden_size;
  const auto num_rows = static_cast<int64_t>(rows.size());
  for (int64_t i = 0; i < num_rows; ++i) {
    kernels_.rms_norm(workspace.x.as<float>() + rows[static_cast<size_t>(i)].row * hidden,
                      weights.final_norm.data(), hidden, config_.rms_norm_eps,
                      workspace.logit_inputs.plain.as<float>() + i * hidden);
  }
  if (needs_quantized(weights.head())) {
    workspace.logit_inputs.quantize(kernels_, 0, num_rows, hidden);
  }
  const Product head{&weights.head(), nullptr, workspace.logits.as<float>()};
  run_products(kernels_, pool_, workspace.logit_inputs.view(num_rows, hidden), {&head, 1});
}

void CpuHead::sample_rows(const BatchPlan& plan, std::span<const LogitRow> rows,
                          const TokenMasks& masks, CpuWorkspace& workspace, StepResult& result) {
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  const auto logits_of = [&](size_t i) {
    return std::span<float>(workspace.logits.as<float>() + i * vocab, vocab);
  };
  if (probe_) {
    for (size_t i = 0; i < rows.size(); ++i) probe_(rows[i].row, logits_of(i));
  }
  groups_.clear();
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool continues =
        i > 0 && rows[i].span == rows[i - 1].span && rows[i].span->num_drafts > 0;
    if (continues) {
      groups_.back().end = i + 1;
    } else {
      groups_.push_back({i, i + 1});
    }
  }
  pool_.parallel_for(static_cast<int64_t>(groups_.size()), [&](int64_t index, int worker) {
    const Group& group = groups_[static_cast<size_t>(index)];
    for (size_t i = group.begin; i < group.end; ++i) {
      const Span& span = *rows[i].span;
      is_valid_[i] = !slots_[static_cast<size_t>(span.slot)].draft_failed;
      if (!is_valid_[i]) continue;
      sample_row(rows[i], i, masks, logits_of(i), scratch_[static_cast<size_t>(worker)]);
      if (span.num_drafts > 0) judge_draft(plan, rows[i], sampled_[i]);
    }
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!is_valid_[i]) continue;
    SampledToken token = sampled_[i];
    token.top_begin = static_cast<int32_t>(result.top_logprobs.size());
    token.num_top = static_cast<int32_t>(top_[i].size());
    result.top_logprobs.insert(result.top_logprobs.end(), top_[i].begin(), top_[i].end());
    result.tokens.push_back(token);
    ++result.spans[rows[i].span_index].num_tokens;
  }
}

void CpuHead::sample_row(const LogitRow& row, size_t index, const TokenMasks& masks,
                         std::span<float> logits, Sampler::Scratch& scratch) {
  const Span& span = *row.span;
  Sampler::Row input;
  input.logits = logits;
  input.position = row.position;
  if (span.mask_row >= 0) {
    const auto words = static_cast<size_t>(masks.words_per_row);
    const int32_t mask_row = span.mask_row + (span.num_drafts > 0 ? row.index : 0);
    input.mask = masks.words.subspan(static_cast<size_t>(mask_row) * words, words);
  }
  top_[index].clear();
  sampled_[index] =
      sampler_.sample(input, slots_[static_cast<size_t>(span.slot)].sampler, scratch, top_[index]);
}

// Records the token; the row behind it counts only if its draft is this token.
void CpuHead::judge_draft(const BatchPlan& plan, const LogitRow& row, const SampledToken& token) {
  Slot& slot = slots_[static_cast<size_t>(row.span->slot)];
  if (!token.not_finite) {
    slot.last_token = token.id;
    slot.sampler.record(token.id);
  }
  const bool is_last = row.index == row.span->num_drafts;
  slot.draft_failed =
      token.not_finite || is_last || plan.token_ids[static_cast<size_t>(row.row) + 1] != token.id;
}

}  // namespace sparrow
