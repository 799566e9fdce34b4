#include "model/cuda/plans/gpu_workspace_layout.h"

#include <algorithm>

#include "kernels/cuda/gpu_sampling.h"
#include "model/cuda/plans/gpu_step_data.h"

namespace sparrow {
namespace {

constexpr int64_t kFloat = 4, kHalf = 2, kInt = 4;

struct NamedRegion {
  const char* name;
  GpuRegion* region;
};

// In the order they are placed.
std::vector<NamedRegion> all_regions(GpuWorkspaceLayout& layout) {
  return {{"rope", &layout.rope},
          {"x", &layout.x},
          {"hidden", &layout.hidden},
          {"qkv", &layout.qkv},
          {"q", &layout.q},
          {"attended", &layout.attended},
          {"activated", &layout.activated},
          {"gate_up", &layout.gate_up},
          {"expanded", &layout.expanded},
          {"product_workspace", &layout.product_workspace},
          {"partial_out", &layout.partial_out},
          {"partial_max", &layout.partial_max},
          {"partial_sum", &layout.partial_sum},
          {"arrivals", &layout.arrivals},
          {"step_data", &layout.step_data},
          {"logit_inputs", &layout.logit_inputs},
          {"logits", &layout.logits},
          {"disallowed", &layout.disallowed},
          {"masks", &layout.masks},
          {"sampler_slots", &layout.sampler_slots},
          {"logit_biases", &layout.logit_biases},
          {"banned", &layout.banned},
          {"token_counts", &layout.token_counts},
          {"last_tokens", &layout.last_tokens},
          {"num_generated", &layout.num_generated},
          {"start_counts", &layout.start_counts},
          {"logit_rows", &layout.logit_rows},
          {"row_of", &layout.row_of},
          {"sample_scratch", &layout.sample_scratch},
          {"sampled", &layout.sampled},
          {"tops", &layout.tops}};
}

void place(GpuWorkspaceLayout& layout) {
  int64_t offset = 0;
  for (const NamedRegion& named : all_regions(layout)) {
    named.region->offset = offset;
    offset += (named.region->bytes + kGpuAlignment - 1) / kGpuAlignment * kGpuAlignment;
  }
  layout.total_bytes = offset;
}

template <typename T>
int64_t bytes_of(int64_t count) {
  return count * static_cast<int64_t>(sizeof(T));
}

// Of any step: one by one, or as the largest graph.
int64_t step_data_bytes(const GpuWorkspaceSizes& sizes) {
  const auto num_ids = static_cast<size_t>(sizes.max_block_ids());
  const GpuStepShape eager{sizes.max_rows, static_cast<int32_t>(sizes.attention.max_items()),
                           sizes.max_rows};
  const GpuStepShape graph{
      sizes.max_graph_rows,
      static_cast<int32_t>(sizes.attention.items_for_bucket(sizes.max_graph_rows)),
      sizes.max_graph_rows};
  return static_cast<int64_t>(
      std::max(GpuStepData::bytes_of(eager, num_ids), GpuStepData::bytes_of(graph, num_ids)));
}

}  // namespace

int64_t GpuWorkspaceSizes::max_block_ids() const {
  const int64_t blocks = (attention.max_context + kGpuBlockTokens - 1) / kGpuBlockTokens;
  return std::min(num_slots, max_rows) * blocks;
}

std::vector<std::pair<const char*, GpuRegion>> GpuWorkspaceLayout::regions() const {
  GpuWorkspaceLayout copy = *this;
  std::vector<std::pair<const char*, GpuRegion>> out;
  for (const NamedRegion& named : all_regions(copy)) out.emplace_back(named.name, *named.region);
  return out;
}

GpuWorkspaceLayout make_gpu_workspace_layout(const ModelConfig& config,
                                             const GpuWorkspaceSizes& sizes) {
  const int64_t rows = sizes.max_rows, logit_rows = sizes.max_logit_rows, slots = sizes.num_slots;
  const int64_t hidden = config.hidden_size, vocab = config.vocab_size;
  const int64_t q_size = config.q_size(), kv_size = config.kv_size();
  const int64_t partials = sizes.attention.max_partials();
  const int64_t words = gpu_mask_words(config.vocab_size);
  GpuWorkspaceLayout layout;
  layout.rope.bytes = int64_t{sizes.attention.max_context} * config.head_dim * kFloat;
  layout.x.bytes = rows * hidden * kFloat;
  layout.hidden.bytes = rows * hidden * kHalf;
  layout.qkv.bytes = rows * (q_size + 2 * kv_size) * kFloat;
  layout.q.bytes = rows * q_size * kHalf;
  layout.attended.bytes = rows * q_size * kHalf;
  layout.activated.bytes = rows * config.intermediate_size * kHalf;
  if (sizes.product_workspace_bytes > 0) {
    const int64_t gate_up = int64_t{2} * config.intermediate_size;
    layout.gate_up.bytes = rows * gate_up * kHalf;
    if (sizes.expands_matrices) {
      layout.expanded.bytes = std::max(gate_up, q_size + 2 * kv_size) * hidden * kHalf;
    }
    layout.product_workspace.bytes = sizes.product_workspace_bytes;
  }
  layout.partial_out.bytes = partials * q_size * kFloat;
  layout.partial_max.bytes = partials * config.num_heads * kFloat;
  layout.partial_sum.bytes = partials * config.num_heads * kFloat;
  layout.arrivals.bytes = partials * config.num_heads * kInt;
  layout.step_data.bytes = step_data_bytes(sizes);
  layout.logit_inputs.bytes = logit_rows * hidden * kHalf;
  layout.logits.bytes = logit_rows * vocab * kFloat;
  layout.disallowed.bytes = words * kInt;
  layout.masks.bytes = rows * words * kInt;
  layout.sampler_slots.bytes = bytes_of<GpuSamplerSlot>(slots);
  layout.logit_biases.bytes = bytes_of<GpuLogitBias>(slots * kGpuMaxLogitBias);
  layout.banned.bytes = slots * words * kInt;
  layout.token_counts.bytes = bytes_of<uint16_t>(slots * vocab);
  layout.last_tokens.bytes = slots * kInt;
  layout.num_generated.bytes = slots * kInt;
  layout.start_counts.bytes = bytes_of<GpuTokenCount>(vocab);
  layout.logit_rows.bytes = bytes_of<GpuLogitRow>(rows);
  layout.row_of.bytes = rows * kInt;
  layout.sample_scratch.bytes =
      static_cast<int64_t>(gpu_sample_scratch_bytes(sizes.max_logit_rows, config.vocab_size));
  layout.sampled.bytes = bytes_of<GpuSampledToken>(rows);
  layout.tops.bytes = bytes_of<GpuTokenLogprob>(rows * kGpuMaxTopLogprobs);
  place(layout);
  return layout;
}

}  // namespace sparrow
