#pragma once
// Test support: steps of sampling on a device beside the same steps of the CPU's sampler.

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/gpu_test_support.h"
#include "kernels/cuda/sampling/reference_test_support.h"
#include "sampling/gpu_sampler_slot.h"

namespace sparrow {

// A span's rows that are sampled.
struct TestSpan {
  int32_t slot = 0;
  int32_t first_position = 0;  // of the token that the first row gives
  int32_t num_rows = 1;        // with drafts: drafts.size() + 1
  int32_t mask_row = -1;       // of the first row; with drafts the next rows follow
  std::vector<TokenId> drafts;
};

struct TestStep {
  std::vector<TestSpan> spans;
  std::vector<float> logits;     // [rows][V]
  std::vector<uint32_t> masks;   // [mask rows][W]
  int32_t num_padding_rows = 0;  // behind the others
  int32_t rows_per_turn = 1 << 20;

  int32_t num_rows() const {
    int32_t rows = 0;
    for (const TestSpan& span : spans) rows += span.num_rows;
    return rows;
  }
};

// What came out of one row.
struct TestToken {
  bool is_valid = false;
  SampledToken token;
  std::vector<TokenLogprob> top;
  float scale = 0;  // the largest magnitude of a logit that was added to the others
};

class SamplingTest : public GpuTest {
 protected:
  // What a sequence brings into its slot; lives as long as the slot is its.
  struct Sequence {
    SamplingParams params;
    std::vector<TokenId> tokens = {0};
    int32_t num_prompt = 1;
    std::vector<TokenId> banned;
    int32_t min_tokens = 0;
  };

  void open(int32_t vocab_size, int32_t num_slots, std::vector<TokenId> disallowed = {}) {
    vocab_size_ = vocab_size;
    words_ = static_cast<size_t>(gpu_mask_words(vocab_size));
    const auto slots = static_cast<size_t>(num_slots);
    disallowed_ = upload(gpu_bit_set(disallowed, vocab_size));
    slots_ = make<GpuSamplerSlot>(slots);
    biases_ = make<GpuLogitBias>(slots * kGpuMaxLogitBias);
    banned_ = make<uint32_t>(slots * words_);
    counts_ = make<uint16_t>(slots * static_cast<size_t>(vocab_size));
    last_tokens_ = make<int32_t>(slots);
    num_generated_ = make<int32_t>(slots);
    states_ = {vocab_size,
               slots_.as<GpuSamplerSlot>(),
               biases_.as<GpuLogitBias>(),
               banned_.as<uint32_t>(),
               counts_.as<uint16_t>(),
               last_tokens_.as<int32_t>(),
               num_generated_.as<int32_t>()};
    reference_ = std::make_unique<SamplingReference>(vocab_size, std::move(disallowed));
    sequences_.clear();
    sequences_.resize(slots);
    cpu_states_.assign(slots, {});
    cpu_last_tokens_.assign(slots, -1);
  }

  void start(int32_t slot, Sequence sequence) {
    const auto index = static_cast<size_t>(slot);
    sequences_[index] = std::make_unique<Sequence>(std::move(sequence));
    const Sequence& own = *sequences_[index];
    SlotStart begin;
    begin.slot = slot;
    begin.params = &own.params;
    begin.tokens = own.tokens;
    begin.num_prompt_tokens = own.num_prompt;
    begin.banned_early = own.banned;
    begin.min_tokens = own.min_tokens;
    cpu_states_[index].start(begin);
    cpu_last_tokens_[index] = own.tokens.back();

    GpuSamplerUpload parts;
    make_gpu_sampler_upload(begin, vocab_size_, parts);
    write(slots_, index, std::vector<GpuSamplerSlot>{parts.slot});
    write(biases_, index * kGpuMaxLogitBias, parts.biases);
    write(banned_, index * words_, parts.banned);
    const GpuBuffer counts = upload(parts.counts);
    StartSamplerSlotArgs args;
    args.states = states_;
    args.slot = slot;
    args.last_token = parts.last_token;
    args.num_generated = parts.num_generated;
    args.uses_penalties = parts.slot.uses_penalties != 0;
    args.counts = counts.as<GpuTokenCount>();
    args.num_counts = static_cast<int32_t>(parts.counts.size());
    kernels().start_sampler_slot(stream(), args);
    sync();
  }

  // Does the step on the device and on the CPU, compares, and returns the rows.
  std::vector<TestToken> run(const TestStep& step) {
    const std::vector<TestToken> expected = run_cpu(step);
    const std::vector<TestToken> found = run_gpu(step);
    expect_same(expected, found);
    expect_same_states();
    return found;
  }

  std::vector<TestToken> run_gpu(const TestStep& step) {
    const StepBuffers buffers = make_buffers(step);
    queue(buffers);
    return results(buffers);
  }

  // A step's inputs and outputs on the device.
  struct StepBuffers {
    int32_t num_rows = 0;
    int32_t rows_per_turn = 0;
    GpuBuffer rows, drafts, logits, masks, scratch, out, tops;
  };
  StepBuffers make_buffers(const TestStep& step) {
    std::vector<int32_t> drafts;
    const std::vector<GpuLogitRow> rows = rows_of(step, drafts);
    StepBuffers buffers;
    buffers.num_rows = static_cast<int32_t>(rows.size());
    buffers.rows_per_turn = step.rows_per_turn;
    buffers.rows = upload(rows);
    buffers.drafts = upload(drafts);
    buffers.logits = make<float>(rows.size() * static_cast<size_t>(vocab_size_));
    write(buffers.logits, 0, step.logits);
    buffers.masks = upload(step.masks);
    buffers.scratch = make<std::byte>(gpu_sample_scratch_bytes(buffers.num_rows, vocab_size_));
    buffers.out = make<GpuSampledToken>(rows.size());
    buffers.tops = make<GpuTokenLogprob>(rows.size() * kGpuMaxTopLogprobs);
    return buffers;
  }
  // Another step of the same shape.
  void refill(const StepBuffers& buffers, const TestStep& step) {
    std::vector<int32_t> drafts;
    write(buffers.rows, 0, rows_of(step, drafts));
    write(buffers.drafts, 0, drafts);
    write(buffers.logits, 0, step.logits);
    write(buffers.masks, 0, step.masks);
  }
  void queue(const StepBuffers& buffers) {
    for (int32_t begin = 0; begin < buffers.num_rows; begin += buffers.rows_per_turn) {
      SampleArgs args;
      args.states = states_;
      args.rows = buffers.rows.as<GpuLogitRow>() + begin;
      args.num_rows = std::min(buffers.rows_per_turn, buffers.num_rows - begin);
      args.logits = buffers.logits.as<float>() + int64_t{begin} * vocab_size_;
      args.disallowed = disallowed_.as<uint32_t>();
      args.masks = buffers.masks.as<uint32_t>();
      args.draft_ids = buffers.drafts.as<int32_t>();
      args.scratch = buffers.scratch.as<void>();
      args.out = buffers.out.as<GpuSampledToken>() + begin;
      args.tops = buffers.tops.as<GpuTokenLogprob>() + begin * kGpuMaxTopLogprobs;
      kernels().sample(stream(), args);
    }
    kernels().record_samples(stream(),
                             {states_, buffers.rows.as<GpuLogitRow>(), buffers.num_rows,
                              buffers.drafts.as<int32_t>(), buffers.out.as<GpuSampledToken>()});
  }
  std::vector<TestToken> results(const StepBuffers& buffers) {
    const auto rows = static_cast<size_t>(buffers.num_rows);
    return tokens_of(download<GpuSampledToken>(buffers.out, rows),
                     download<GpuTokenLogprob>(buffers.tops, rows * kGpuMaxTopLogprobs));
  }

  // As model/cpu_head.cc does it.
  std::vector<TestToken> run_cpu(const TestStep& step) {
    std::vector<TestToken> found;
    for (const TestSpan& span : step.spans) {
      const auto slot = static_cast<size_t>(span.slot);
      const size_t first = found.size();
      bool is_valid = true;
      for (int32_t i = 0; i < span.num_rows; ++i) {
        TestToken& out = found.emplace_back();
        out.is_valid = is_valid;
        if (!is_valid) continue;
        sample_cpu(step, span, i, found.size() - 1, out);
        if (span.drafts.empty()) continue;
        if (!out.token.not_finite) record_cpu(slot, out.token.id);
        const auto draft = static_cast<size_t>(i);
        is_valid = !out.token.not_finite && draft < span.drafts.size() &&
                   span.drafts[draft] == out.token.id;
      }
      if (!span.drafts.empty()) continue;
      for (size_t i = first; i < found.size(); ++i) {
        if (!found[i].token.not_finite) record_cpu(slot, found[i].token.id);
      }
    }
    found.resize(found.size() + static_cast<size_t>(step.num_padding_rows));
    return found;
  }

  void expect_same(const std::vector<TestToken>& expected, const std::vector<TestToken>& found) {
    ASSERT_EQ(expected.size(), found.size());
    for (size_t row = 0; row < expected.size(); ++row) {
      const TestToken& want = expected[row];
      const TestToken& got = found[row];
      ASSERT_EQ(got.is_valid, want.is_valid) << "row " << row;
      if (!want.is_valid) continue;
      ASSERT_EQ(got.token.not_finite, want.token.not_finite) << "row " << row;
      if (want.token.not_finite) continue;
      ASSERT_EQ(got.token.id, want.token.id) << "row " << row;
      expect_near_logprob(got.token.logprob, want.token.logprob, want.scale);
      ASSERT_EQ(got.top.size(), want.top.size()) << "row " << row;
      for (size_t i = 0; i < want.top.size(); ++i) {
        ASSERT_EQ(got.top[i].id, want.top[i].id) << "row " << row << ", place " << i;
        expect_near_logprob(got.top[i].logprob, want.top[i].logprob, want.scale);
      }
    }
  }

  // Counts, last tokens and lengths of all slots in use.
  void expect_same_states() {
    const auto vocab = static_cast<size_t>(vocab_size_);
    const auto counts = download<uint16_t>(counts_, sequences_.size() * vocab);
    const auto last_tokens = download<int32_t>(last_tokens_, sequences_.size());
    for (size_t slot = 0; slot < sequences_.size(); ++slot) {
      if (sequences_[slot] == nullptr) continue;
      ASSERT_EQ(last_tokens[slot], cpu_last_tokens_[slot]) << "slot " << slot;
      if (!sequences_[slot]->params.uses_penalties()) continue;
      std::vector<uint16_t> expected(vocab);
      for (const TokenCounts::Entry& entry : cpu_states_[slot].counts().entries()) {
        if (entry.id < 0) continue;
        const int count = std::min<int>(entry.num_generated, kGpuMaxTokenCount);
        expected[static_cast<size_t>(entry.id)] =
            static_cast<uint16_t>(count | (entry.in_prompt ? kGpuInPrompt : 0));
      }
      const auto begin = counts.begin() + static_cast<ptrdiff_t>(slot * vocab);
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), begin)) << "slot " << slot;
    }
  }

  std::vector<GpuLogitRow> rows_of(const TestStep& step, std::vector<int32_t>& drafts) const {
    std::vector<GpuLogitRow> rows;
    for (const TestSpan& span : step.spans) {
      for (int32_t i = 0; i < span.num_rows; ++i) {
        GpuLogitRow row;
        row.slot = span.slot;
        row.position = span.first_position + i;
        row.index = i;
        row.mask_row = span.mask_row;
        if (span.mask_row >= 0 && !span.drafts.empty()) row.mask_row += i;
        row.num_drafts = static_cast<int32_t>(span.drafts.size());
        row.first_draft = static_cast<int32_t>(drafts.size());
        rows.push_back(row);
      }
      drafts.insert(drafts.end(), span.drafts.begin(), span.drafts.end());
    }
    rows.resize(rows.size() + static_cast<size_t>(step.num_padding_rows));
    return rows;
  }

  static std::vector<TestToken> tokens_of(const std::vector<GpuSampledToken>& tokens,
                                          const std::vector<GpuTokenLogprob>& tops) {
    std::vector<TestToken> found(tokens.size());
    for (size_t row = 0; row < tokens.size(); ++row) {
      found[row].is_valid = tokens[row].is_valid == 1;
      found[row].token.id = tokens[row].id;
      found[row].token.logprob = tokens[row].logprob;
      found[row].token.not_finite = tokens[row].not_finite == 1;
      if (!found[row].is_valid) continue;
      for (int32_t i = 0; i < tokens[row].num_top; ++i) {
        const GpuTokenLogprob& one = tops[row * kGpuMaxTopLogprobs + static_cast<size_t>(i)];
        found[row].top.push_back({one.id, one.logprob});
      }
    }
    return found;
  }

  template <typename T>
  void write(const GpuBuffer& buffer, size_t index, const std::vector<T>& values) {
    if (values.empty()) return;
    Result<GpuBuffer> pinned =
        GpuBuffer::create(device(), values.size() * sizeof(T), GpuBuffer::Kind::kPinned);
    ASSERT_TRUE(pinned.ok());
    std::memcpy(pinned->as<T>(), values.data(), values.size() * sizeof(T));
    device().copy_to_device(buffer.as<T>() + index, pinned->as<T>(), values.size() * sizeof(T));
    sync();
  }

  int32_t vocab_size_ = 0;
  size_t words_ = 0;
  GpuSamplerStates states_;
  GpuBuffer disallowed_, slots_, biases_, banned_, counts_, last_tokens_, num_generated_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // by slot
  std::vector<SamplerState> cpu_states_;
  std::vector<TokenId> cpu_last_tokens_;

 private:
  void sample_cpu(const TestStep& step, const TestSpan& span, int32_t index, size_t row,
                  TestToken& out) {
    const auto vocab = static_cast<size_t>(vocab_size_);
    const auto begin = step.logits.begin() + static_cast<ptrdiff_t>(row * vocab);
    std::vector<float> logits(begin, begin + vocab_size_);
    std::span<const uint32_t> mask;
    if (span.mask_row >= 0) {
      const auto mask_row = static_cast<size_t>(span.mask_row + (span.drafts.empty() ? 0 : index));
      mask = std::span(step.masks).subspan(mask_row * words_, words_);
    }
    out.token = reference_->sample(logits, span.first_position + index, mask,
                                   cpu_states_[static_cast<size_t>(span.slot)], out.top);
    for (const float logit : logits) {
      if (std::isfinite(logit)) out.scale = std::max(out.scale, std::abs(logit));
    }
  }

  void record_cpu(size_t slot, TokenId id) {
    cpu_last_tokens_[slot] = id;
    cpu_states_[slot].record(id);
  }

  // The CPU's sum is fp32 in 16 partial sums: each of its V / 16 + 4 additions errs by 2^-24 at
  // most. The logarithm and two differences round to the logits' magnitude.
  void expect_near_logprob(float found, float expected, float scale) const {
    if (found == expected) return;  // also infinite ones
    const double sum_error = (vocab_size_ / 16 + 4) * 0x1p-24;
    EXPECT_NEAR(found, expected, sum_error + (static_cast<double>(scale) + 20) * 0x1p-21);
  }

  std::unique_ptr<SamplingReference> reference_;
};

}  // namespace sparrow
