#pragma once
// QuantMix: what `--type` names: a base type and the rules which tensor gets which. For GGUF files
// the rules are llama.cpp's (llama-quant.cpp; model_and_formats 9.4), so a "q4_k_m" file has the
// same types wherever it was made. Directories hold plain types, or compressed-tensors: the layers'
// matrices as integers (w8: a scale per row; w4: one per 128 or 32 inputs), the rest plain. Pure
// functions of the config.

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

enum class QuantMix { kF32, kBF16, kF16, kQ8_0, kQ6_K, kQ5_K_M, kQ4_K_M, kQ4_0, kW8, kW4G32, kW4 };

// Best first: what a GGUF file and what a directory can hold.
std::span<const QuantMix> gguf_mixes();
std::span<const QuantMix> directory_mixes();
bool fits_gguf(QuantMix mix);
bool fits_directory(QuantMix mix);
const char* quant_mix_name(QuantMix mix);  // "q4_k_m"
std::optional<QuantMix> quant_mix_from_name(std::string_view name);
bool is_plain_mix(QuantMix mix);  // f32, bf16, f16

// The type of one tensor of the layout.
//
// GGUF: norms and biases are F32. Rows that are no whole number of blocks fall back: Q4_K to Q5_0,
// Q5_K to Q5_1, Q6_K to Q8_0, and all of these to F16 where 32 does not divide either.
// Directories: everything plain has one type, in w8 and w4 `plain` (BF16 or F16); so have matrices
// whose rows are no whole number of groups.
TensorType mix_tensor_type(QuantMix mix, const ModelConfig& config, const LayoutTensor& tensor,
                           bool gguf, TensorType plain = TensorType::kBF16);

// Bytes of a matrix or vector in a file. Grouped integers are stored with scales of `plain`.
uint64_t stored_bytes(TensorType type, int64_t rows, int64_t cols,
                      TensorType plain = TensorType::kBF16);
// Of all tensors of this mix, metadata and padding aside.
int64_t mix_file_bytes(QuantMix mix, const ModelConfig& config, bool gguf);

}  // namespace sparrow
