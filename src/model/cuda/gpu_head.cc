#include "model/cuda/gpu_head.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace sparrow {
namespace {

size_t as_size(int32_t value) { return static_cast<size_t>(value); }

// Every buffer of a head, by one description: what is allocated is what was counted.
struct HeadBytes {
  explicit HeadBytes(const GpuHeadSizes& sizes) {
    const size_t vocab = as_size(sizes.vocab_size), slots = as_size(sizes.num_slots);
    const size_t rows = as_size(sizes.max_rows), words = as_size(gpu_mask_words(sizes.vocab_size));
    slot_records = slots * sizeof(GpuSamplerSlot);
    biases = slots * kGpuMaxLogitBias * sizeof(GpuLogitBias);
    banned = slots * words * sizeof(uint32_t);
    token_counts = slots * vocab * sizeof(uint16_t);
    per_slot = slots * sizeof(int32_t);
    logits = as_size(sizes.max_logit_rows) * vocab * sizeof(float);
    bits = words * sizeof(uint32_t);
    masks = rows * bits;
    logit_rows = rows * sizeof(GpuLogitRow);
    row_of = rows * sizeof(int32_t);
    counts = vocab * sizeof(GpuTokenCount);
    scratch = gpu_sample_scratch_bytes(sizes.max_logit_rows, sizes.vocab_size);
    tokens = rows * sizeof(GpuSampledToken);
    tops = rows * kGpuMaxTopLogprobs * sizeof(GpuTokenLogprob);
  }
  size_t sum() const {
    return slot_records + biases + banned + token_counts + 2 * per_slot + logits + bits + masks +
           logit_rows + row_of + counts + scratch + tokens + tops;
  }

  size_t slot_records, biases, banned, token_counts, per_slot;
  size_t logits, bits, masks, logit_rows, row_of, counts, scratch, tokens, tops;
};

}  // namespace

int64_t GpuHead::bytes_of(const GpuHeadSizes& sizes) {
  return static_cast<int64_t>(HeadBytes(sizes).sum());
}

Result<GpuHead> GpuHead::create(GpuDevice& device, const GpuHeadSizes& sizes,
                                std::span<const TokenId> disallowed) {
  if (sizes.vocab_size > kGpuMaxVocab) {
    return unimplemented("the GPU sampler's vocabulary ends at 1,048,575 ids");
  }
  GpuHead head(device, sizes);
  RETURN_IF_ERROR(head.allocate(disallowed));
  return head;
}

Status GpuHead::allocate(std::span<const TokenId> disallowed) {
  const HeadBytes bytes(sizes_);
  const auto state = [&](size_t size) -> Result<void*> {
    ASSIGN_OR_RETURN(GpuBuffer buffer, GpuBuffer::create(*device_, size));
    void* memory = buffer.as<void>();
    memory_.push_back(std::move(buffer));
    return memory;
  };
  states_.vocab_size = sizes_.vocab_size;
  ASSIGN_OR_RETURN(void* slots, state(bytes.slot_records));
  states_.slots = static_cast<GpuSamplerSlot*>(slots);
  ASSIGN_OR_RETURN(void* biases, state(bytes.biases));
  states_.biases = static_cast<GpuLogitBias*>(biases);
  ASSIGN_OR_RETURN(void* banned, state(bytes.banned));
  states_.banned = static_cast<uint32_t*>(banned);
  ASSIGN_OR_RETURN(void* token_counts, state(bytes.token_counts));
  states_.counts = static_cast<uint16_t*>(token_counts);
  ASSIGN_OR_RETURN(void* last_tokens, state(bytes.per_slot));
  states_.last_tokens = static_cast<int32_t*>(last_tokens);
  ASSIGN_OR_RETURN(void* num_generated, state(bytes.per_slot));
  states_.num_generated = static_cast<int32_t*>(num_generated);
  device_->fill(states_.last_tokens, 0, bytes.per_slot);  // rows of padding name slot 0
  device_->fill(states_.num_generated, 0, bytes.per_slot);
  device_->fill(states_.slots, 0, bytes.slot_records);

  const std::pair<GpuBuffer*, size_t> buffers[] = {
      {&logits_, bytes.logits},   {&disallowed_, bytes.bits}, {&masks_, bytes.masks},
      {&rows_, bytes.logit_rows}, {&row_of_, bytes.row_of},   {&counts_, bytes.counts},
      {&scratch_, bytes.scratch}, {&tokens_, bytes.tokens},   {&tops_, bytes.tops},
  };
  for (const auto& [buffer, size] : buffers) {
    ASSIGN_OR_RETURN(*buffer, GpuBuffer::create(*device_, size));
  }
  for (Arrived& arrived : arrived_) {
    ASSIGN_OR_RETURN(arrived.tokens,
                     GpuBuffer::create(*device_, bytes.tokens, GpuBuffer::Kind::kPinned));
    ASSIGN_OR_RETURN(arrived.tops,
                     GpuBuffer::create(*device_, bytes.tops, GpuBuffer::Kind::kPinned));
  }
  is_held_.resize(as_size(sizes_.num_slots));
  wants_tops_.resize(as_size(sizes_.num_slots));
  list_.reserve(as_size(sizes_.max_rows));
  plan_rows_.reserve(as_size(sizes_.max_rows));

  const std::vector<uint32_t> bits = gpu_bit_set(disallowed, sizes_.vocab_size);
  ASSIGN_OR_RETURN(GpuStaging staging, GpuStaging::create(*device_, bytes.bits));
  RETURN_IF_ERROR(staging.upload(disallowed_.as<void>(), bits.data(), bytes.bits));
  return device_->synchronize();
}

Status GpuHead::start_slot(const SlotStart& start, GpuStaging& staging) {
  const size_t slot = as_size(start.slot);
  CHECK(!is_held_.at(slot) && start.params != nullptr && !start.tokens.empty());
  make_gpu_sampler_upload(start, sizes_.vocab_size, upload_);
  const size_t words = as_size(gpu_mask_words(sizes_.vocab_size));
  RETURN_IF_ERROR(
      staging.upload(states_.slots + slot, &upload_.slot, sizeof(GpuSamplerSlot)));
  RETURN_IF_ERROR(staging.upload(states_.biases + slot * kGpuMaxLogitBias, upload_.biases.data(),
                                 upload_.biases.size() * sizeof(GpuLogitBias)));
  RETURN_IF_ERROR(staging.upload(states_.banned + slot * words, upload_.banned.data(),
                                 upload_.banned.size() * sizeof(uint32_t)));
  RETURN_IF_ERROR(staging.upload(counts_.as<void>(), upload_.counts.data(),
                                 upload_.counts.size() * sizeof(GpuTokenCount)));
  StartSamplerSlotArgs args;
  args.states = states_;
  args.slot = start.slot;
  args.last_token = upload_.last_token;
  args.num_generated = upload_.num_generated;
  args.uses_penalties = upload_.slot.uses_penalties != 0;
  args.counts = counts_.as<GpuTokenCount>();
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
  const size_t words = as_size(gpu_mask_words(sizes_.vocab_size));
  int32_t num_used = 0;
  int32_t last_wanted = -1;
  for (GpuLogitRow& row : list_) {
    if (row.mask_row < 0) continue;
    if (row.mask_row != last_wanted) {
      last_wanted = row.mask_row;
      CHECK(as_size(masks.words_per_row) >= words);
      const size_t begin = as_size(row.mask_row) * as_size(masks.words_per_row);
      CHECK(begin + words <= masks.words.size());
      RETURN_IF_ERROR(staging.upload(masks_.as<uint32_t>() + as_size(num_used) * words,
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
  RETURN_IF_ERROR(
      staging.upload(rows_.as<void>(), list_.data(), list_.size() * sizeof(GpuLogitRow)));
  RETURN_IF_ERROR(
      staging.upload(row_of_.as<void>(), plan_rows_.data(), list_.size() * sizeof(int32_t)));
  const GpuKernels& kernels = device_->kernels();
  CHECK(!logits_done || num_rows <= sizes_.max_logit_rows);
  for (int32_t begin = 0; begin < num_rows; begin += sizes_.max_logit_rows) {
    const int32_t count = std::min(sizes_.max_logit_rows, num_rows - begin);
    if (!logits_done) forward.queue_logits(row_of_.as<int32_t>() + begin, count, logits());
    if (probe_) RETURN_IF_ERROR(show_logits(begin, count));
    SampleArgs sample;
    sample.states = states_;
    sample.rows = rows_.as<GpuLogitRow>() + begin;
    sample.num_rows = count;
    sample.logits = logits();
    sample.disallowed = disallowed_.as<uint32_t>();
    sample.masks = masks_.as<uint32_t>();
    sample.draft_ids = token_ids;
    sample.scratch = scratch_.as<void>();
    sample.out = tokens_.as<GpuSampledToken>() + begin;
    sample.tops = tops_.as<GpuTokenLogprob>() + as_size(begin) * kGpuMaxTopLogprobs;
    kernels.sample(device_->stream(), sample);
  }
  RecordSamplesArgs record;
  record.states = states_;
  record.rows = rows_.as<GpuLogitRow>();
  record.num_rows = num_rows;
  record.draft_ids = token_ids;
  record.tokens = tokens_.as<GpuSampledToken>();
  kernels.record_samples(device_->stream(), record);
  device_->copy_to_host(arrived.tokens.as<void>(), tokens_.as<void>(),
                        list_.size() * sizeof(GpuSampledToken));
  arrived.has_tops = std::any_of(list_.begin(), list_.end(), [&](const GpuLogitRow& row) {
    return wants_tops_[as_size(row.slot)];
  });
  if (arrived.has_tops) {
    device_->copy_to_host(arrived.tops.as<void>(), tops_.as<void>(),
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
  const size_t vocab = as_size(sizes_.vocab_size);
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
