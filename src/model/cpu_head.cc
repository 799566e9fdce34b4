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
      top_(static_cast<size_t>(sizes.max_logit_rows)) {
  rows_.reserve(static_cast<size_t>(sizes.max_rows));
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
  for (const Span& span : plan.spans) {
    const auto begin = static_cast<int32_t>(rows_.size());
    result.spans.push_back({begin, span.num_logit_rows});
    for (int32_t i = span.num_tokens - span.num_logit_rows; i < span.num_tokens; ++i) {
      rows_.push_back({&span, span.token_begin + i, span.first_position + i + 1});
    }
  }
  const std::span<const LogitRow> all(rows_);
  const auto turn = static_cast<size_t>(max_logit_rows_);
  for (size_t begin = 0; begin < all.size(); begin += turn) {
    const auto rows = all.subspan(begin, std::min(turn, all.size() - begin));
    compute_logits(rows, weights, workspace);
    sample_rows(rows, masks, workspace, result);
  }
  // Only now: the rows of a span that two turns share see the same state.
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (result.tokens[i].not_finite) continue;
    Slot& slot = slots_[static_cast<size_t>(rows_[i].span->slot)];
    slot.last_token = result.tokens[i].id;
    slot.sampler.record(slot.last_token);
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

void CpuHead::sample_rows(std::span<const LogitRow> rows, const TokenMasks& masks,
                          CpuWorkspace& workspace, StepResult& result) {
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  const auto logits_of = [&](size_t i) {
    return std::span<float>(workspace.logits.as<float>() + i * vocab, vocab);
  };
  if (probe_) {
    for (size_t i = 0; i < rows.size(); ++i) probe_(rows[i].row, logits_of(i));
  }
  pool_.parallel_for(static_cast<int64_t>(rows.size()), [&](int64_t index, int worker) {
    const auto i = static_cast<size_t>(index);
    const Span& span = *rows[i].span;
    Sampler::Row row;
    row.logits = logits_of(i);
    row.position = rows[i].position;
    if (span.mask_row >= 0) {
      const auto words = static_cast<size_t>(masks.words_per_row);
      row.mask = masks.words.subspan(static_cast<size_t>(span.mask_row) * words, words);
    }
    top_[i].clear();
    sampled_[i] = sampler_.sample(row, slots_[static_cast<size_t>(span.slot)].sampler,
                                  scratch_[static_cast<size_t>(worker)], top_[i]);
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    SampledToken token = sampled_[i];
    token.top_begin = static_cast<int32_t>(result.top_logprobs.size());
    token.num_top = static_cast<int32_t>(top_[i].size());
    result.top_logprobs.insert(result.top_logprobs.end(), top_[i].begin(), top_[i].end());
    result.tokens.push_back(token);
  }
}

}  // namespace sparrow
