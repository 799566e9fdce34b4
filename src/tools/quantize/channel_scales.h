#pragma once
// ChannelScales: factors between the layers' tensors that change no output of the model, only how
// well its matrices quantize. Column i of every matrix that reads an input is multiplied by s[i],
// what makes that input is divided by it, so a checkpoint stays an ordinary one (SmoothQuant, Xiao
// et al. 2022, arXiv:2211.10438; AWQ, Lin et al. 2023, arXiv:2306.00978):
//
//   q k v      <- gain of input_layernorm            gate up <- gain of post_attention_layernorm
//   o          <- rows and bias of v: one factor     down    <- rows of up
//                 for all query heads of a KV head
//
// Plain data after calibrate_channels() made it (calibrate_channels.h); reading is thread-safe.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/model_config.h"

namespace sparrow {

// The matrices of a layer by what they read.
enum class LayerInput : uint8_t { kQkv, kO, kGateUp, kDown };
inline constexpr size_t kNumLayerInputs = 4;

const char* layer_input_name(LayerInput input);  // "q k v"
int64_t layer_input_size(LayerInput input, const ModelConfig& config);

struct InputScales {
  std::vector<float> factor;      // [inputs], positive and finite; empty: all 1
  std::vector<float> importance;  // [inputs]: mean square of the divided input; empty: all alike
  float alpha = 0;                // factor ~ (root mean square of the input) ^ alpha
  double error = 0;               // squared output error on the sample, over that of alpha 0
};

struct ChannelScales {
  std::vector<std::array<InputScales, kNumLayerInputs>> layers;
  int64_t num_tokens = 0;    // of the text that were used
  int64_t memory_bytes = 0;  // most that was held, pages of the source aside
  double seconds = 0;

  const InputScales& of(int32_t layer, LayerInput input) const {
    return layers[static_cast<size_t>(layer)][static_cast<size_t>(input)];
  }
};

// What one tensor has to do with them. Views: valid while the ChannelScales are.
class TensorFold {
 public:
  TensorFold() = default;  // does nothing
  // `name` is canonical; `scales` may be null.
  TensorFold(const ChannelScales* scales, const ModelConfig& config, std::string_view name);

  bool changes_values() const { return columns_ != nullptr || divisors_ != nullptr; }
  // Of the row's inputs, or null.
  const float* importance() const { return importance_; }
  // Values of one row of a matrix, or a whole vector (row 0).
  void apply(int64_t row, std::span<float> values) const;

 private:
  // Of output `row` of what makes an input.
  float divisor(int64_t row) const;

  const float* columns_ = nullptr;     // [cols]
  const float* divisors_ = nullptr;    // by output, through divisor()
  const float* importance_ = nullptr;  // [cols]
  int64_t head_dim_ = 0;               // of v: its outputs are used by group_size heads; else 0
  int64_t group_size_ = 1;
  bool is_vector_ = false;
};

}  // namespace sparrow
