#include "model/cuda/gpu_head.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

size_t as_size(int32_t value) { return static_cast<size_t>(value); }

}  // namespace

GpuHead::GpuHead(GpuDevice& device, int32_t vocab_size, const GpuWorkspaceSizes& sizes,
                 const GpuWorkspaceLayout& layout, std::byte* base)
    : device_(&device),
      max_logit_rows_(sizes.max_logit_rows),
      is_held_(as_size(sizes.num_slots)),
      wants_tops_(as_size(sizes.num_slots)) {
  states_.vocab_size = vocab_size;
  states_.slots = layout.sampler_slots.in<GpuSamplerSlot>(base);
  states_.biases = layout.logit_biases.in<GpuLogitBias>(base);
  states_.banned = layout.banned.in<uint32_t>(base);
  states_.counts = layout.token_counts.in<uint16_t>(base);
  states_.last_tokens = layout.last_tokens.in<int32_t>(base);
  states_.num_generated = layout.num_generated.in<int32_t>(base);
  memory_.logits = layout.logits.in<float>(base);
  memory_.disallowed = layout.disallowed.in<uint32_t>(base);
  memory_.masks = layout.masks.in<uint32_t>(base);
  memory_.counts = layout.start_counts.in<GpuTokenCount>(base);
  memory_.rows = layout.logit_rows.in<GpuLogitRow>(base);
  memory_.row_of = layout.row_of.in<int32_t>(base);
  memory_.scratch = layout.sample_scratch.in<std::byte>(base);
  memory_.tokens = layout.sampled.in<GpuSampledToken>(base);
  memory_.tops = layout.tops.in<GpuTokenLogprob>(base);
  list_.reserve(as_size(sizes.max_rows));
  plan_rows_.reserve(as_size(sizes.max_rows));
}

Result<GpuHead> GpuHead::create(GpuDevice& device, const ModelConfig& config,
                                const GpuWorkspaceSizes& sizes, const GpuWorkspaceLayout& layout,
                                std::byte* base, GpuStaging& staging,
                                std::span<const TokenId> disallowed) {
  if (config.vocab_size > kGpuMaxVocab) {
    return unimplemented(fmt::format("a vocabulary of {} ids: the GPU's sampler takes at most {}",
                                     config.vocab_size, kGpuMaxVocab));
  }
  GpuHead head(device, config.vocab_size, sizes, layout, base);
  // Rows of padding name slot 0, held or not.
  device.fill(head.states_.slots, 0, static_cast<size_t>(layout.sampler_slots.bytes));
  device.fill(head.states_.last_tokens, 0, static_cast<size_t>(layout.last_tokens.bytes));
  device.fill(head.states_.num_generated, 0, static_cast<size_t>(layout.num_generated.bytes));
  const std::vector<uint32_t> bits = gpu_bit_set(disallowed, config.vocab_size);
  RETURN_IF_ERROR(
      staging.upload(head.memory_.disallowed, bits.data(), bits.size() * sizeof(uint32_t)));
  for (Arrived& arrived : head.arrived_) {
    ASSIGN_OR_RETURN(arrived.tokens,
                     GpuBuffer::create(device, static_cast<size_t>(layout.sampled.bytes),
                                       GpuBuffer::Kind::kPinned));
    ASSIGN_OR_RETURN(arrived.tops, GpuBuffer::create(device, static_cast<size_t>(layout.tops.bytes),
                                                     GpuBuffer::Kind::kPinned));
  }
  return head;
}

Status GpuHead::start_slot(const SlotStart& start, GpuStaging& staging) {
  const size_t slot = as_size(start.slot);
  CHECK(!is_held_.at(slot) && start.params != nullptr && !start.tokens.empty());
  make_gpu_sampler_upload(start, states_.vocab_size, upload_);
  const size_t words = mask_words();
  RETURN_IF_ERROR(staging.upload(states_.slots + slot, &upload_.slot, sizeof(GpuSamplerSlot)));
  RETURN_IF_ERROR(staging.upload(states_.biases + slot * kGpuMaxLogitBias, upload_.biases.data(),
                                 upload_.biases.size() * sizeof(GpuLogitBias)));
  RETURN_IF_ERROR(staging.upload(states_.banned + slot * words, upload_.banned.data(),
                                 upload_.banned.size() * sizeof(uint32_t)));
  RETURN_IF_ERROR(staging.upload(memory_.counts, upload_.counts.data(),
                                 upload_.counts.size() * sizeof(GpuTokenCount)));
  StartSamplerSlotArgs args;
  args.states = states_;
  args.slot = start.slot;
  args.last_token = upload_.last_token;
  args.num_generated = upload_.num_generated;
  args.uses_penalties = upload_.slot.uses_penalties != 0;
  args.counts = memory_.counts;
  args.num_counts = static_cast<int32_t>(upload_.counts.size());
  device_->kernels().start_sampler_slot(device_->stream(), args);
  is_held_[slot] = true;
  wants_tops_[slot] = start.params->num_top_logprobs > 0;
  return ok_status();
}

void GpuHead::release_slot(SlotId slot) {
  CHECK(is_held(slot));
  is_held_[as_size(slot)] = false;
}

void GpuHead::list_rows(const BatchPlan& plan) {
  list_.clear();
  plan_rows_.clear();
  for (const Span& span : plan.spans) {
    const int32_t first = span.num_tokens - span.num_logit_rows;
    for (int32_t index = 0; index < span.num_logit_rows; ++index) {
      GpuLogitRow row;
      row.slot = span.slot;
      row.position = span.first_position + first + index + 1;
      row.index = index;
      if (span.mask_row >= 0) {
        row.mask_row = span.mask_row + (span.num_drafts > 0 ? index : 0);
      }
      row.num_drafts = span.num_drafts;
      row.first_draft = span.token_begin + span.num_tokens - span.num_drafts;
      list_.push_back(row);
      plan_rows_.push_back(span.token_begin + first + index);
    }
  }
}

// Only the rows that are used travel, and their numbers become those of the card's buffer.
Status GpuHead::upload_masks(const TokenMasks& masks, GpuStaging& staging) {
  const size_t words = mask_words();
  int32_t num_used = 0;
  int32_t last_wanted = -1;
  for (GpuLogitRow& row : list_) {
    if (row.mask_row < 0) continue;
    if (row.mask_row != last_wanted) {
      last_wanted = row.mask_row;
      CHECK(as_size(masks.words_per_row) >= words);
      const size_t begin = as_size(row.mask_row) * as_size(masks.words_per_row);
      CHECK(begin + words <= masks.words.size());
      RETURN_IF_ERROR(staging.upload(memory_.masks + as_size(num_used) * words,
                                     masks.words.data() + begin, words * sizeof(uint32_t)));
      ++num_used;
    }
    row.mask_row = num_used - 1;
  }
  return ok_status();
}

Status GpuHead::queue(const BatchPlan& plan, const int32_t* token_ids, const TokenMasks& masks,
                      bool logits_done, GpuForward& forward, GpuStaging& staging, size_t turn) {
  list_rows(plan);
  Arrived& arrived = arrived_[turn];
  arrived.has_tops = false;
  const auto num_rows = static_cast<int32_t>(list_.size());
  if (num_rows == 0) return ok_status();
  RETURN_IF_ERROR(upload_masks(masks, staging));
  RETURN_IF_ERROR(staging.upload(memory_.rows, list_.data(), list_.size() * sizeof(GpuLogitRow)));
  RETURN_IF_ERROR(
      staging.upload(memory_.row_of, plan_rows_.data(), list_.size() * sizeof(int32_t)));
  const GpuKernels& kernels = device_->kernels();
  CHECK(!logits_done || num_rows <= max_logit_rows_);
  for (int32_t begin = 0; begin < num_rows; begin += max_logit_rows_) {
    const int32_t count = std::min(max_logit_rows_, num_rows - begin);
    if (!logits_done) forward.queue_logits(memory_.row_of + begin, count, logits());
    if (probe_) RETURN_IF_ERROR(show_logits(begin, count));
    SampleArgs sample;
    sample.states = states_;
    sample.rows = memory_.rows + begin;
    sample.num_rows = count;
    sample.logits = logits();
    sample.disallowed = memory_.disallowed;
    sample.masks = memory_.masks;
    sample.draft_ids = token_ids;
    sample.scratch = memory_.scratch;
    sample.out = memory_.tokens + begin;
    sample.tops = memory_.tops + as_size(begin) * kGpuMaxTopLogprobs;
    kernels.sample(device_->stream(), sample);
  }
  RecordSamplesArgs record;
  record.states = states_;
  record.rows = memory_.rows;
  record.num_rows = num_rows;
  record.draft_ids = token_ids;
  record.tokens = memory_.tokens;
  kernels.record_samples(device_->stream(), record);
  device_->copy_to_host(arrived.tokens.as<void>(), memory_.tokens,
                        list_.size() * sizeof(GpuSampledToken));
  arrived.has_tops = std::any_of(list_.begin(), list_.end(), [&](const GpuLogitRow& row) {
    return wants_tops_[as_size(row.slot)];
  });
  if (arrived.has_tops) {
    device_->copy_to_host(arrived.tops.as<void>(), memory_.tops,
                          list_.size() * kGpuMaxTopLogprobs * sizeof(GpuTokenLogprob));
  }
  return ok_status();
}

void GpuHead::read_result(const BatchPlan& plan, size_t turn, StepResult& result) const {
  const Arrived& arrived = arrived_[turn];
  const auto* tokens = arrived.tokens.as<GpuSampledToken>();
  const auto* tops = arrived.tops.as<GpuTokenLogprob>();
  size_t row = 0;
  for (const Span& span : plan.spans) {
    SpanResult found;
    found.token_begin = static_cast<int32_t>(result.tokens.size());
    for (int32_t i = 0; i < span.num_logit_rows; ++i, ++row) {
      const GpuSampledToken& sampled = tokens[row];
      if (sampled.is_valid == 0) continue;
      SampledToken token;
      token.id = sampled.id;
      token.logprob = sampled.logprob;
      token.not_finite = sampled.not_finite != 0;
      token.top_begin = static_cast<int32_t>(result.top_logprobs.size());
      token.num_top = arrived.has_tops ? sampled.num_top : 0;
      for (int32_t top = 0; top < token.num_top; ++top) {
        const GpuTokenLogprob& entry = tops[row * kGpuMaxTopLogprobs + as_size(top)];
        result.top_logprobs.push_back({entry.id, entry.logprob});
      }
      result.tokens.push_back(token);
      ++found.num_tokens;
    }
    result.spans.push_back(found);
  }
}

Status GpuHead::show_logits(int32_t begin, int32_t count) {
  const size_t vocab = as_size(states_.vocab_size);
  ASSIGN_OR_RETURN(const GpuBuffer pinned,
                   GpuBuffer::create(*device_, as_size(count) * vocab * sizeof(float),
                                     GpuBuffer::Kind::kPinned));
  device_->copy_to_host(pinned.as<void>(), logits(), pinned.size_bytes());
  RETURN_IF_ERROR(device_->synchronize());
  for (size_t i = 0; i < as_size(count); ++i) {
    probe_(plan_rows_[as_size(begin) + i],
           std::span<const float>(pinned.as<float>() + i * vocab, vocab));
  }
  return ok_status();
}

}  // namespace sparrow
