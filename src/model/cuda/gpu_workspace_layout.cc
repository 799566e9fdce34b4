#include "model/cuda/gpu_workspace_layout.h"

#include <algorithm>

#include "core/sampling_params.h"

namespace sparrow {
namespace {

constexpr int64_t kFloat = 4, kHalf = 2, kInt = 4;

struct NamedRegion {
  const char* name;
  GpuRegion* region;
};

// In the order they are placed.
std::vector<NamedRegion> all_regions(GpuWorkspaceLayout& layout) {
  return {{"x", &layout.x},
          {"hidden", &layout.hidden},
          {"qkv", &layout.qkv},
          {"attended", &layout.attended},
          {"gate_up", &layout.gate_up},
          {"attention_partials", &layout.attention_partials},
          {"cublas", &layout.cublas},
          {"logit_inputs", &layout.logit_inputs},
          {"logits", &layout.logits},
          {"token_masks", &layout.token_masks},
          {"sampler", &layout.sampler},
          {"logit_bias", &layout.logit_bias},
          {"token_counts", &layout.token_counts},
          {"last_tokens", &layout.last_tokens},
          {"step 0", &layout.step[0]},
          {"step 1", &layout.step[1]},
          {"attention 0", &layout.attention[0]},
          {"attention 1", &layout.attention[1]},
          {"sampled_rows 0", &layout.sampled_rows[0]},
          {"sampled_rows 1", &layout.sampled_rows[1]}};
}

void place(GpuWorkspaceLayout& layout) {
  int64_t offset = 0;
  for (const NamedRegion& named : all_regions(layout)) {
    named.region->offset = offset;
    offset += (named.region->bytes + kGpuAlignment - 1) / kGpuAlignment * kGpuAlignment;
  }
  layout.total_bytes = offset;
}

}  // namespace

std::vector<std::pair<const char*, GpuRegion>> GpuWorkspaceLayout::regions() const {
  GpuWorkspaceLayout copy = *this;
  std::vector<std::pair<const char*, GpuRegion>> out;
  for (const NamedRegion& named : all_regions(copy)) out.emplace_back(named.name, *named.region);
  return out;
}

int64_t step_metadata_bytes(const GpuWorkspaceSizes& sizes) {
  const int64_t blocks =
      (sizes.attention.max_context + kAttentionBlockTokens - 1) / kAttentionBlockTokens;
  return 4 * kInt * sizes.max_rows + sizes.num_slots * (kSpanRecordBytes + kInt * blocks);
}

GpuWorkspaceLayout make_gpu_workspace_layout(const ModelConfig& config,
                                             const GpuWorkspaceSizes& sizes) {
  const int64_t rows = sizes.max_rows, logit_rows = sizes.max_logit_rows, slots = sizes.num_slots;
  const int64_t hidden = config.hidden_size, vocab = config.vocab_size;
  const int64_t q_size = config.q_size(), kv_size = config.kv_size();
  GpuWorkspaceLayout layout;
  layout.x.bytes = rows * hidden * kFloat;
  layout.hidden.bytes = rows * std::max(hidden, q_size) * kHalf;
  layout.qkv.bytes = rows * (q_size + 2 * kv_size) * kFloat;
  layout.attended.bytes = rows * q_size * kHalf;
  layout.gate_up.bytes = rows * 2 * config.intermediate_size * kHalf;
  layout.attention_partials.bytes =
      sizes.attention.max_partials() * config.num_heads * (config.head_dim + 2) * kFloat;
  layout.cublas.bytes = sizes.cublas_bytes;
  layout.logit_inputs.bytes = logit_rows * hidden * kHalf;
  layout.logits.bytes = logit_rows * vocab * kFloat;
  layout.token_masks.bytes = (logit_rows + 1) * ((vocab + 31) / 32) * kInt;
  layout.sampler.bytes = slots * kSamplerRecordBytes;
  layout.logit_bias.bytes = slots * kMaxLogitBias * (kInt + kFloat);
  layout.token_counts.bytes = slots * vocab * static_cast<int64_t>(sizeof(int16_t));
  layout.last_tokens.bytes = slots * kInt;
  for (const int half : {0, 1}) {
    layout.step[half].bytes = step_metadata_bytes(sizes);
    layout.attention[half].bytes =
        sizes.attention.max_items() * static_cast<int64_t>(sizeof(AttentionItem)) +
        rows * static_cast<int64_t>(sizeof(AttentionCombine));
    layout.sampled_rows[half].bytes = rows * kSampledRecordBytes;
  }
  place(layout);
  return layout;
}

}  // namespace sparrow
