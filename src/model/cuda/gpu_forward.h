#pragma once
// GpuForward: the Qwen2 forward pass as launches on a card's stream. Each call queues work and
// returns; what it reads and writes must stay until the stream has passed it. The same calls run
// when a CUDA graph is captured.
//
// Arithmetic (docs/architecture.md): residual stream, norms, scores, sums and logits in fp32;
// inputs of matrices and of attention in bf16 (fp16 where the card has no bf16 units).
//
//   forward.queue_layers(data);                          // x = residual stream of all rows
//   forward.queue_logits(row_of, num_rows, logits);      // of chosen rows

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "kernels/cuda/gpu_buffer.h"
#include "kernels/cuda/gpu_kernels.h"
#include "model/cuda/gpu_kv_cache.h"
#include "model/cuda/gpu_products.h"
#include "model/cuda/gpu_weights.h"
#include "model/cuda/plans/gpu_forward_choices.h"
#include "model/cuda/plans/gpu_step_data.h"
#include "model/model_config.h"

namespace sparrow {

// Device memory of one step; T rows, R logit rows. Sizes: gpu_workspace_layout.h.
struct GpuWorkspace {
  float* x = nullptr;         // [T][H]: the residual stream
  void* hidden = nullptr;     // [T][H] 16 bits: normalised x
  float* qkv = nullptr;       // [T][(Nq + 2 Nk) * D]
  void* q = nullptr;          // [T][Nq * D] 16 bits: rotated
  void* attended = nullptr;   // [T][Nq * D] 16 bits
  void* activated = nullptr;  // [T][I] 16 bits: silu(gate) * up
  float* partial_out = nullptr;
  float* partial_max = nullptr;
  float* partial_sum = nullptr;
  int32_t* arrivals = nullptr;   // zeros before and after a step
  void* logit_inputs = nullptr;  // [R][H] 16 bits
};

class GpuForward {
 public:
  // The references outlive it. last_tokens: what a pending token stands for, by slot.
  GpuForward(const ModelConfig& config, GpuDevice& device, const GpuWeights& weights,
             const GpuKvCache& cache, GpuProducts& products, const GpuWorkspace& workspace,
             const float* rope, const int32_t* last_tokens, const GpuForwardChoices& choices);

  // Of activations: that of the weights where they have one, products of two types are slow.
  static GpuFloat activation_type(const GpuWeights& weights, const GpuDevice& device);

  // Between steps; graphs that were captured keep what was chosen then.
  void set_choices(const GpuForwardChoices& choices);
  // Does attention read GpuStepData::combine?
  bool wants_combine() const { return !choices_.merge_in_attention; }
  // max_item_rows: of any attention item of the step.
  void queue_layers(const GpuStepData& data, int32_t max_item_rows);
  // row_of (device memory): rows of the residual stream; null: the first num_rows. At most R rows.
  void queue_logits(const int32_t* row_of, int32_t num_rows, float* logits);

  // [num_positions][D] for RopeStoreArgs::rope: cosines and sines as transformers computes them.
  static std::vector<float> rope_table(const ModelConfig& config, int32_t first_position,
                                       int32_t num_positions);

 private:
  void queue_attention(const GpuLayerWeights& layer, const GpuKvLayer& cache,
                       const GpuStepData& data, int32_t max_item_rows);
  void queue_qkv(const GpuLayerWeights& layer, const RopeStoreArgs& rope);
  void queue_ffn(const GpuLayerWeights& layer, int32_t num_rows);
  // rms(x[row_of[i]]) * gain as 16 bits, in `out`.
  void queue_norm(const InputNorm& norm, int32_t num_rows, void* out);
  GpuStream launch_stream() const;
  InputNorm norm_of_x(const float* gain) const;
  bool takes_norm(const LinearArgs& args) const;
  bool takes_norm(const GatedLinearArgs& args) const;

  const ModelConfig& config_;
  GpuDevice& device_;
  const GpuKernels& kernels_;
  const GpuWeights& weights_;
  const GpuKvCache& cache_;
  GpuProducts& products_;
  const GpuWorkspace workspace_;
  const float* rope_;
  const int32_t* last_tokens_;
  GpuForwardChoices choices_;
  const bool has_matrix_units_;  // sm_75 takes the kernels without
  const GpuFloat float_;         // of activations
  LinearCard card_;
  bool is_decode_ = false;  // the step at hand: one row an item
};

}  // namespace sparrow
