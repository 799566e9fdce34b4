#include "tools/quantize/channel_scales.h"

#include <charconv>

#include "base/check.h"

namespace sparrow {
namespace {

const float* data_of(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

const char* layer_input_name(LayerInput input) {
  constexpr std::array<const char*, kNumLayerInputs> kNames = {"q k v", "o", "gate up", "down"};
  return kNames[static_cast<size_t>(input)];
}

int64_t layer_input_size(LayerInput input, const ModelConfig& config) {
  if (input == LayerInput::kO) return config.q_size();
  return input == LayerInput::kDown ? config.intermediate_size : config.hidden_size;
}

TensorFold::TensorFold(const ChannelScales* scales, const ModelConfig& config,
                       std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (scales == nullptr || !name.starts_with(kPrefix)) return;
  name.remove_prefix(kPrefix.size());
  int32_t layer = -1;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), layer);
  CHECK(layer >= 0 && static_cast<size_t>(layer) < scales->layers.size());
  name.remove_prefix(static_cast<size_t>(parsed.ptr - name.data()) + 1);
  const auto reads = [&](LayerInput input) {
    columns_ = data_of(scales->of(layer, input).factor);
    importance_ = data_of(scales->of(layer, input).importance);
  };
  const auto makes = [&](LayerInput input) {
    divisors_ = data_of(scales->of(layer, input).factor);
  };
  is_vector_ = name.ends_with(".bias") || name.ends_with("layernorm.weight");
  if (name == "input_layernorm.weight") makes(LayerInput::kQkv);
  if (name == "post_attention_layernorm.weight") makes(LayerInput::kGateUp);
  if (name == "self_attn.q_proj.weight" || name == "self_attn.k_proj.weight" ||
      name == "self_attn.v_proj.weight") {
    reads(LayerInput::kQkv);
  }
  if (name == "mlp.gate_proj.weight" || name == "mlp.up_proj.weight") reads(LayerInput::kGateUp);
  if (name == "self_attn.o_proj.weight") reads(LayerInput::kO);
  if (name == "mlp.down_proj.weight") reads(LayerInput::kDown);
  if (name == "mlp.up_proj.weight") makes(LayerInput::kDown);
  if (name == "self_attn.v_proj.weight" || name == "self_attn.v_proj.bias") {
    makes(LayerInput::kO);
    head_dim_ = config.head_dim;
    group_size_ = config.group_size();
  }
}

float TensorFold::divisor(int64_t row) const {
  if (head_dim_ == 0) return divisors_[row];
  // The first of the query heads that read this KV head: the others have the same factor.
  return divisors_[row / head_dim_ * group_size_ * head_dim_ + row % head_dim_];
}

void TensorFold::apply(int64_t row, std::span<float> values) const {
  if (is_vector_) {
    if (divisors_ == nullptr) return;
    for (size_t i = 0; i < values.size(); ++i) values[i] /= divisor(static_cast<int64_t>(i));
    return;
  }
  if (columns_ != nullptr) {
    for (size_t i = 0; i < values.size(); ++i) values[i] *= columns_[i];
  }
  if (divisors_ != nullptr) {
    const float inverse = 1.0f / divisor(row);
    for (float& value : values) value *= inverse;
  }
}

}  // namespace sparrow
