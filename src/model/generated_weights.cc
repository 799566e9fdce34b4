#include "model/generated_weights.h"

#include <fmt/format.h>

#include <cstring>

#include "base/random.h"
#include "model/files/tensor_layout.h"
#include "quant/convert_row.h"
#include "quant/random_blocks.h"

namespace sparrow {
namespace {

// FNV-1a (Fowler, Noll, Vo), 64 bit.
uint64_t stream_of(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char byte : name) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3u;
  return hash;
}

// Matrices: the largest power of two with scale^2 * columns <= 4 keeps about unit variance.
float scale_of(std::string_view name, int64_t cols) {
  if (name.ends_with("norm.weight")) return 0.25f;
  if (name.ends_with("k_proj.bias")) return 4.0f;
  if (name.ends_with(".bias")) return 0.5f;
  if (name == "model.embed_tokens.weight") return 1.0f;
  double scale = 1.0;
  while (scale * scale * static_cast<double>(cols) > 4.0) scale *= 0.5;
  return static_cast<float>(scale);
}

std::vector<float> values_of(std::string_view name, int64_t rows, int64_t cols, uint64_t seed) {
  const float offset = name.ends_with("norm.weight") ? 1.0f : 0.0f;
  const float scale = scale_of(name, cols);
  const uint64_t stream = stream_of(name);
  std::vector<float> values(static_cast<size_t>(rows * cols));
  for (size_t index = 0; index < values.size(); ++index) {
    const auto top = static_cast<int32_t>(random_bits(seed, stream, index) >> 40);
    const float unit = static_cast<float>(top - (1 << 23)) * 0x1.0p-23f;  // [-1, 1), exact
    values[index] = offset + scale * unit;
  }
  return values;
}

// Random bits as blocks of these types, with scales of deviation 1, have values of about this
// deviation; a uniform value between -1 and 1 has 1 / sqrt(3).
float block_scale(TensorType type) {
  const float deviation = type == TensorType::kIQ4_NL ? 70.0f
                          : type == TensorType::kQ2_K ? 18.7f
                          : type == TensorType::kQ3_K ? 43.5f
                                                      : 1.0f;
  return 0.577f / deviation;
}

}  // namespace

ModelConfig small_model_config() {
  ModelConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_layers = 2;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.vocab_size = 200;
  config.max_position = 2048;
  return config;
}

GeneratedWeights::GeneratedWeights(const ModelConfig& config, uint64_t seed, TensorType matrix_type,
                                   bool one_scale_per_row)
    : config_(config),
      seed_(seed),
      matrix_type_(matrix_type),
      one_scale_per_row_(one_scale_per_row) {
  for (const LayoutTensor& tensor : qwen2_tensor_layout(config)) {
    add(tensor.name, tensor.rows, tensor.cols, tensor.is_vector);
  }
}

void GeneratedWeights::add(const std::string& name, int64_t rows, int64_t cols, bool is_vector) {
  const std::vector<float> values = values_of(name, rows, cols, seed_);
  TensorType type = TensorType::kF32;
  if (!is_vector && cols % tensor_type_info(matrix_type_).block_elements == 0) type = matrix_type_;
  Owned& owned = tensors_[name];
  const size_t row_bytes = tensor_row_bytes(type, cols);
  owned.bytes.resize(row_bytes * static_cast<size_t>(rows));
  for (int64_t row = 0; can_quantize(type) && row < rows; ++row) {
    quantize_row(type, values.data() + row * cols, cols,
                 owned.bytes.data() + static_cast<size_t>(row) * row_bytes);
  }
  if (!can_quantize(type)) {
    const auto seed = static_cast<uint32_t>(random_bits(seed_, stream_of(name), 0));
    owned.bytes =
        random_block_rows(type, rows, cols, seed, scale_of(name, cols) * block_scale(type));
  }
  if (is_vector && matrix_type_ == TensorType::kBF16) {
    std::vector<std::byte> rounded(tensor_row_bytes(TensorType::kBF16, cols));
    quantize_row(TensorType::kBF16, values.data(), cols, rounded.data());
    std::vector<float> back(values.size());
    dequantize_row(TensorType::kBF16, rounded.data(), cols, back.data());
    std::memcpy(owned.bytes.data(), back.data(), owned.bytes.size());
  }
  const bool row_scales = one_scale_per_row_ && !is_vector;
  for (int64_t row = 0; row_scales && row < rows; ++row) {
    // Random bytes have a deviation of 74: values as large as those of other types, no two rows
    // alike.
    const float spread = 0.75f + 0.5f * static_cast<float>(row) / static_cast<float>(rows);
    set_all_scales(type,
                   std::span(owned.bytes).subspan(static_cast<size_t>(row) * row_bytes, row_bytes),
                   scale_of(name, cols) * 0.577f / 74.0f * spread);
  }
  owned.view = {type, rows, cols, owned.bytes, row_scales};
}

bool GeneratedWeights::contains(std::string_view name) const {
  return tensors_.find(name) != tensors_.end();
}

Result<SourceTensor> GeneratedWeights::tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return not_found(fmt::format("no tensor \"{}\"", name));
  return found->second.view;
}

void GeneratedWeights::release(const SourceTensor&) const {}

std::string GeneratedWeights::format_name() const {
  return fmt::format("generated {}", tensor_type_info(matrix_type_).name);
}

std::vector<TokenId> GeneratedWeights::token_ids(int num_tokens) const {
  std::vector<TokenId> ids(static_cast<size_t>(num_tokens));
  for (size_t index = 0; index < ids.size(); ++index) {
    ids[index] = static_cast<TokenId>(random_bits(seed_, stream_of("tokens"), index) %
                                      static_cast<uint64_t>(config_.vocab_size));
  }
  return ids;
}

}  // namespace sparrow
