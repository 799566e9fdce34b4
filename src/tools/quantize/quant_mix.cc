#include "tools/quantize/quant_mix.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/check.h"
#include "model/writers/group_row_packer.h"
#include "quant/convert_int_groups.h"

namespace sparrow {
namespace {

struct MixInfo {
  QuantMix mix;
  const char* name;
  TensorType base;
  TensorType head;    // of lm_head, or of the embedding that is tied to it
  TensorType richer;  // of attn_v and ffn_down in the layers that matter more
};

constexpr std::array<MixInfo, 11> kMixes = {{
    {QuantMix::kF32, "f32", TensorType::kF32, TensorType::kF32, TensorType::kF32},
    {QuantMix::kBF16, "bf16", TensorType::kBF16, TensorType::kBF16, TensorType::kBF16},
    {QuantMix::kF16, "f16", TensorType::kF16, TensorType::kF16, TensorType::kF16},
    {QuantMix::kQ8_0, "q8_0", TensorType::kQ8_0, TensorType::kQ8_0, TensorType::kQ8_0},
    {QuantMix::kQ6_K, "q6_k", TensorType::kQ6_K, TensorType::kQ6_K, TensorType::kQ6_K},
    {QuantMix::kQ5_K_M, "q5_k_m", TensorType::kQ5_K, TensorType::kQ6_K, TensorType::kQ6_K},
    {QuantMix::kQ4_K_M, "q4_k_m", TensorType::kQ4_K, TensorType::kQ6_K, TensorType::kQ6_K},
    {QuantMix::kQ4_0, "q4_0", TensorType::kQ4_0, TensorType::kQ6_K, TensorType::kQ4_0},
    // Of these only the base counts, for the layers' matrices.
    {QuantMix::kW8, "w8", TensorType::kI8G32, TensorType::kBF16, TensorType::kI8G32},
    {QuantMix::kW4G32, "w4_g32", TensorType::kI4G32, TensorType::kBF16, TensorType::kI4G32},
    {QuantMix::kW4, "w4", TensorType::kI4G128, TensorType::kBF16, TensorType::kI4G128},
}};

constexpr QuantMix kGgufMixes[] = {QuantMix::kF32,    QuantMix::kBF16, QuantMix::kF16,
                                   QuantMix::kQ8_0,   QuantMix::kQ6_K, QuantMix::kQ5_K_M,
                                   QuantMix::kQ4_K_M, QuantMix::kQ4_0};
constexpr QuantMix kDirectoryMixes[] = {QuantMix::kF32, QuantMix::kBF16,  QuantMix::kF16,
                                        QuantMix::kW8,  QuantMix::kW4G32, QuantMix::kW4};

bool contains(std::span<const QuantMix> mixes, QuantMix mix) {
  return std::find(mixes.begin(), mixes.end(), mix) != mixes.end();
}

const MixInfo& info_of(QuantMix mix) {
  for (const MixInfo& info : kMixes) {
    if (info.mix == mix) return info;
  }
  CHECK(false && "unknown mix");
  return kMixes[0];
}

// "model.layers.12.mlp.down_proj.weight" -> 12; -1 outside the layers.
int layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!name.starts_with(kPrefix)) return -1;
  name.remove_prefix(kPrefix.size());
  int layer = -1;
  std::from_chars(name.data(), name.data() + name.size(), layer);
  return layer;
}

// The first eighth, the last eighth and every third between.
bool matters_more(int layer, int num_layers) {
  const int eighth = num_layers / 8;
  return layer < eighth || layer >= 7 * num_layers / 8 || (layer - eighth) % 3 == 2;
}

TensorType wanted_type(const MixInfo& info, const ModelConfig& config, const std::string& name) {
  if (name == "lm_head.weight") return info.head;
  if (name == "model.embed_tokens.weight") return config.tied_embeddings ? info.head : info.base;
  const bool rich = name.ends_with("self_attn.v_proj.weight") || name.ends_with("down_proj.weight");
  return rich && matters_more(layer_of(name), config.num_layers) ? info.richer : info.base;
}

bool fits(TensorType type, int64_t cols) {
  return cols % tensor_type_info(type).block_elements == 0;
}

TensorType with_smaller_blocks(TensorType type) {
  if (type == TensorType::kQ4_K) return TensorType::kQ5_0;
  if (type == TensorType::kQ5_K) return TensorType::kQ5_1;
  if (type == TensorType::kQ6_K) return TensorType::kQ8_0;
  return type;
}

}  // namespace

std::span<const QuantMix> gguf_mixes() { return kGgufMixes; }
std::span<const QuantMix> directory_mixes() { return kDirectoryMixes; }
bool fits_gguf(QuantMix mix) { return contains(kGgufMixes, mix); }
bool fits_directory(QuantMix mix) { return contains(kDirectoryMixes, mix); }

const char* quant_mix_name(QuantMix mix) { return info_of(mix).name; }

std::optional<QuantMix> quant_mix_from_name(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const MixInfo& info : kMixes) {
    if (lower == info.name) return info.mix;
  }
  return std::nullopt;
}

bool is_plain_mix(QuantMix mix) { return tensor_type_info(info_of(mix).base).block_elements == 1; }

TensorType mix_tensor_type(QuantMix mix, const ModelConfig& config, const LayoutTensor& tensor,
                           bool gguf, TensorType plain) {
  const MixInfo& info = info_of(mix);
  if (!gguf) {
    CHECK(fits_directory(mix));
    if (is_plain_mix(mix)) return info.base;
    const bool grouped = !tensor.is_vector && layer_of(tensor.name) >= 0;
    return grouped && fits(info.base, tensor.cols) ? info.base : plain;
  }
  CHECK(fits_gguf(mix));
  if (tensor.is_vector) return TensorType::kF32;
  const TensorType wanted = wanted_type(info, config, tensor.name);
  if (fits(wanted, tensor.cols)) return wanted;
  const TensorType smaller = with_smaller_blocks(wanted);
  return fits(smaller, tensor.cols) ? smaller : TensorType::kF16;
}

uint64_t stored_bytes(TensorType type, int64_t rows, int64_t cols, TensorType plain) {
  if (!is_int_group(type)) return tensor_row_bytes(type, cols) * static_cast<uint64_t>(rows);
  uint64_t bytes = 0;
  for (const SafetensorsPlan& part : packed_tensors("weight", type, rows, cols, plain)) {
    bytes += part.size_bytes;
  }
  return bytes;
}

int64_t mix_file_bytes(QuantMix mix, const ModelConfig& config, bool gguf) {
  uint64_t bytes = 0;
  for (const LayoutTensor& tensor : qwen2_tensor_layout(config)) {
    bytes += stored_bytes(mix_tensor_type(mix, config, tensor, gguf), tensor.rows, tensor.cols);
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace sparrow
