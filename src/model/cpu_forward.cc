#include "model/cpu_forward.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "model/cpu_products.h"
#include "model/rope_frequencies.h"

namespace sparrow {
namespace {

// Work on single rows (norms, rotation, quantizing) is shared out only when there are this many:
// waking the others costs about a microsecond, a row about as much.
constexpr int64_t kRowsWorthSharing = 4;

}  // namespace

CpuForward::CpuForward(const ModelConfig& config, const Kernels& kernels,
                       const WorkspaceSizes& sizes, ComputePool& pool)
    : config_(config),
      kernels_(kernels),
      pool_(pool),
      frequencies_(rope_frequencies(config.head_dim, config.rope_theta)),
      attention_(config, sizes) {
  rows_.reserve(static_cast<size_t>(sizes.max_rows));
}

template <typename Body>
void CpuForward::for_rows(Body&& body) {
  const auto num_rows = static_cast<int64_t>(rows_.size());
  if (num_rows < kRowsWorthSharing) {
    for (int64_t row = 0; row < num_rows; ++row) body(row);
  } else {
    pool_.parallel_for(num_rows, [&](int64_t row, int) { body(row); });
  }
}

void CpuForward::run(const BatchPlan& plan, std::span<const TokenId> tokens,
                     const CpuWeights& weights, CpuKvCache& cache, CpuWorkspace& workspace) {
  prepare(plan, workspace);
  int32_t num_positions = 0;
  for (const Row& row : rows_) num_positions = std::max(num_positions, row.position + 1);
  cache.key_bias().prepare(num_positions);
  // x = embedding of every token: [T][H]
  embed(tokens, weights, workspace);
  for (int32_t index = 0; index < config_.num_layers; ++index) {
    const CpuLayerWeights& layer = weights.layers[static_cast<size_t>(index)];
    run_attention(index, layer, cache, workspace);
    run_ffn(layer, workspace);
  }
}

void CpuForward::prepare(const BatchPlan& plan, CpuWorkspace& workspace) {
  rows_.clear();
  for (const Span& span : plan.spans) {
    for (int32_t row = 0; row < span.num_tokens; ++row) {
      const int32_t position = span.first_position + row;
      const auto index = static_cast<size_t>(span.block_begin + position / kKvBlockTokens);
      rows_.push_back({position, plan.block_ids[index]});
    }
  }
  attention_.prepare(plan);
  // Tables of the rotation: [T][D / 2]
  const size_t half = frequencies_.size();
  for_rows([&](int64_t row) {
    float* cosines = workspace.cos.as<float>() + static_cast<size_t>(row) * half;
    float* sines = workspace.sin.as<float>() + static_cast<size_t>(row) * half;
    for (size_t i = 0; i < half; ++i) {
      const double angle = rope_angle(rows_[static_cast<size_t>(row)].position, frequencies_[i]);
      cosines[i] = static_cast<float>(std::cos(angle));
      sines[i] = static_cast<float>(std::sin(angle));
    }
  });
}

void CpuForward::embed(std::span<const TokenId> tokens, const CpuWeights& weights,
                       CpuWorkspace& workspace) {
  for_rows([&](int64_t row) {
    weights.embedding.unpack_row(tokens[static_cast<size_t>(row)],
                                 workspace.x.as<float>() + row * config_.hidden_size);
  });
}

// hidden = rms(x, gain): [T][H]
void CpuForward::normalise(const std::vector<float>& gain, bool quantized,
                           CpuWorkspace& workspace) {
  const int64_t hidden = config_.hidden_size;
  for_rows([&](int64_t row) {
    kernels_.rms_norm(workspace.x.as<float>() + row * hidden, gain.data(), hidden,
                      config_.rms_norm_eps, workspace.hidden.plain.as<float>() + row * hidden);
    if (quantized) workspace.hidden.quantize(kernels_, row, row + 1, hidden);
  });
}

void CpuForward::run_attention(int32_t index, const CpuLayerWeights& layer, CpuKvCache& cache,
                               CpuWorkspace& workspace) {
  const auto num_rows = static_cast<int64_t>(rows_.size());
  const int64_t q_size = config_.q_size(), kv_size = config_.kv_size();
  const int32_t head_dim = config_.head_dim;
  normalise(layer.attention_norm,
            needs_quantized(layer.q) || needs_quantized(layer.k) || needs_quantized(layer.v),
            workspace);
  float *q = workspace.q.as<float>(), *k = workspace.k.as<float>(), *v = workspace.v.as<float>();
  // q = h Wq^T + bq: [T][Nq * D]; k, v: [T][Nk * D]
  const std::array<Product, 3> qkv = {Product{&layer.q, layer.q_bias.data(), q},
                                      Product{&layer.k, layer.k_bias.data(), k},
                                      Product{&layer.v, layer.v_bias.data(), v}};
  run_products(kernels_, pool_, workspace.hidden.view(num_rows, config_.hidden_size), qkv);
  // Rotate q and k, keep k and v.
  for_rows([&](int64_t row) {
    const Row& where = rows_[static_cast<size_t>(row)];
    const float* cosines = workspace.cos.as<float>() + row * (head_dim / 2);
    const float* sines = workspace.sin.as<float>() + row * (head_dim / 2);
    kernels_.rope(q + row * q_size, head_dim, config_.num_heads, head_dim, cosines, sines);
    kernels_.rope(k + row * kv_size, head_dim, config_.num_kv_heads, head_dim, cosines, sines);
    if (cache.key_bias().active()) {
      cache.key_bias().subtract(index, cosines, sines, k + row * kv_size);
    }
    cache.store(kernels_, index, where.block, where.position % kKvBlockTokens, k + row * kv_size,
                v + row * kv_size);
  });
  // attended = softmax(q k^T / sqrt(D)) v over the cache: [T][Nq * D]
  attention_.run(kernels_, pool_, cache, index, workspace);
  if (needs_quantized(layer.o)) {
    for_rows([&](int64_t row) { workspace.attended.quantize(kernels_, row, row + 1, q_size); });
  }
  // x = x + attended Wo^T
  const Product o{&layer.o, nullptr, workspace.x.as<float>(), true};
  run_products(kernels_, pool_, workspace.attended.view(num_rows, q_size), {&o, 1});
}

void CpuForward::run_ffn(const CpuLayerWeights& layer, CpuWorkspace& workspace) {
  const auto num_rows = static_cast<int64_t>(rows_.size());
  const int64_t intermediate = config_.intermediate_size;
  normalise(layer.ffn_norm, needs_quantized(layer.gate) || needs_quantized(layer.up), workspace);
  const ActivationsView hidden = workspace.hidden.view(num_rows, config_.hidden_size);
  float *gate = workspace.gate.plain.as<float>(), *up = workspace.up.as<float>();
  const Product gate_product{&layer.gate, nullptr, gate}, up_product{&layer.up, nullptr, up};
  // gate = silu(h Wgate^T) * (h Wup^T): [T][I], strip by strip while it is in the cache
  const int64_t num_strips = layer.gate.num_strips();
  const int64_t step = strips_per_piece(num_strips, pool_.num_threads());
  pool_.parallel_for((num_strips + step - 1) / step, [&](int64_t piece, int) {
    const int64_t begin = piece * step, end = std::min(begin + step, num_strips);
    run_product(kernels_, hidden, gate_product, begin, end);
    run_product(kernels_, hidden, up_product, begin, end);
    const int64_t column = begin * kStripRows;
    const int64_t num_columns = std::min(end * kStripRows, intermediate) - column;
    for (int64_t row = 0; row < num_rows; ++row) {
      float* values = gate + row * intermediate + column;
      kernels_.silu_mul(values, up + row * intermediate + column, num_columns, values);
    }
  });
  if (needs_quantized(layer.down)) {
    for_rows([&](int64_t row) { workspace.gate.quantize(kernels_, row, row + 1, intermediate); });
  }
  // x = x + gate Wdown^T
  const Product down{&layer.down, nullptr, workspace.x.as<float>(), true};
  run_products(kernels_, pool_, workspace.gate.view(num_rows, intermediate), {&down, 1});
}

}  // namespace sparrow
