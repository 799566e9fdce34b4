#include "model/cpu_workspace.h"

namespace sparrow {
namespace {

constexpr int64_t kFloat = sizeof(float);

int64_t num_groups(int64_t cols) { return (cols + kGroupSize - 1) / kGroupSize; }

}  // namespace

ActivationsView ProductInputs::view(int64_t num_rows, int64_t cols) const {
  ActivationsView result;
  result.num_tokens = num_rows;
  result.plain = plain.as<float>();
  result.plain_stride = cols;
  result.quantized = quantized.as<int8_t>();
  result.quantized_stride = num_groups(cols) * kGroupSize;
  result.scales = scales.as<float>();
  result.group_sums = group_sums.as<int32_t>();
  result.group_stride = num_groups(cols);
  result.half_sums = half_sums.as<int32_t>();
  return result;
}

void ProductInputs::quantize(const Kernels& kernels, int64_t row_begin, int64_t row_end,
                             int64_t cols) {
  QuantizeArgs args;
  args.x = plain.as<float>() + row_begin * cols;
  args.x_stride = cols;
  args.num_tokens = row_end - row_begin;
  args.cols = cols;
  args.quantized = quantized.as<int8_t>() + row_begin * cols;
  args.quantized_stride = cols;
  args.scales = scales.as<float>() + row_begin;
  args.group_stride = num_groups(cols);
  args.group_sums = group_sums.as<int32_t>() + row_begin * args.group_stride;
  args.half_sums = half_sums.as<int32_t>() + 2 * row_begin * args.group_stride;
  kernels.quantize(args);
}

std::vector<std::pair<AlignedBuffer*, int64_t>> CpuWorkspace::layout(const ModelConfig& config,
                                                                     const WorkspaceSizes& sizes) {
  const int64_t rows = sizes.max_rows, partial = attention_partial_floats(config.head_dim) * kFloat;
  std::vector<std::pair<AlignedBuffer*, int64_t>> buffers = {
      {&x, rows * config.hidden_size * kFloat},
      {&q, rows * config.q_size() * kFloat},
      {&k, rows * config.kv_size() * kFloat},
      {&v, rows * config.kv_size() * kFloat},
      {&up, rows * config.intermediate_size * kFloat},
      {&cos, rows * config.head_dim / 2 * kFloat},
      {&sin, rows * config.head_dim / 2 * kFloat},
      {&tile_partials, sizes.num_threads * 2 * kAttentionTileRows * config.group_size() * partial},
      {&score_bias, sizes.num_threads * config.group_size() * kAttentionChunk * kFloat},
      {&split_partials, sizes.max_split_chunks * config.num_heads * partial},
      {&logits, sizes.max_logit_rows * config.vocab_size * kFloat},
  };
  const auto add_inputs = [&](ProductInputs& inputs, int64_t num_rows, int64_t cols) {
    buffers.emplace_back(&inputs.plain, num_rows * cols * kFloat);
    buffers.emplace_back(&inputs.quantized, num_rows * num_groups(cols) * kGroupSize);
    buffers.emplace_back(&inputs.scales, num_rows * kFloat);
    buffers.emplace_back(&inputs.group_sums, num_rows * num_groups(cols) * kFloat);
    buffers.emplace_back(&inputs.half_sums, 2 * num_rows * num_groups(cols) * kFloat);
  };
  add_inputs(hidden, rows, config.hidden_size);
  add_inputs(attended, rows, config.q_size());
  add_inputs(gate, rows, config.intermediate_size);
  add_inputs(logit_inputs, sizes.max_logit_rows, config.hidden_size);
  return buffers;
}

Status CpuWorkspace::allocate(const ModelConfig& config, const WorkspaceSizes& sizes) {
  for (const auto& [buffer, num_bytes] : layout(config, sizes)) {
    ASSIGN_OR_RETURN(*buffer, AlignedBuffer::try_allocate(static_cast<size_t>(num_bytes),
                                                          "the buffers of a step"));
  }
  return ok_status();
}

int64_t CpuWorkspace::total_bytes(const ModelConfig& config, const WorkspaceSizes& sizes) {
  CpuWorkspace empty;
  int64_t total = 0;
  for (const auto& [buffer, num_bytes] : empty.layout(config, sizes)) total += num_bytes;
  return total;
}

}  // namespace sparrow
