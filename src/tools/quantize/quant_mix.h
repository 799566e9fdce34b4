#pragma once
// QuantMix: what `--type` names: a base type and the rules which tensor gets which. The rules are
// llama.cpp's (llama-quant.cpp; model_and_formats 9.4), so a "q4_k_m" file has the same types
// wherever it was made. Pure functions of the config.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/files/tensor_layout.h"
#include "model/model_config.h"
#include "quant/tensor_type.h"

namespace sparrow {

enum class QuantMix { kF32, kBF16, kF16, kQ8_0, kQ6_K, kQ5_K_M, kQ4_K_M, kQ4_0 };

// Best first. Every mix that a GGUF file can have.
std::span<const QuantMix> all_quant_mixes();
const char* quant_mix_name(QuantMix mix);  // "q4_k_m"
std::optional<QuantMix> quant_mix_from_name(std::string_view name);
// f32, bf16 and f16: what a directory can hold, too.
bool is_plain_mix(QuantMix mix);

// The type of one tensor of the layout in a GGUF file. Norms and biases are F32. Rows that are no
// whole number of blocks fall back: Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0, and all of these to
// F16 where 32 does not divide either.
TensorType mix_tensor_type(QuantMix mix, const ModelConfig& config, const LayoutTensor& tensor);

// Bytes of all tensors in a file of this mix, metadata and padding aside.
int64_t mix_file_bytes(QuantMix mix, const ModelConfig& config);

}  // namespace sparrow
