#pragma once
// Types a matrix may be given in memory, as options name them: those of the head and the embedding.

#include <optional>
#include <string>

#include "kernels/kernels.h"

namespace sparrow {

inline constexpr const char* kTensorTypes = "auto|bf16|q8_0|q6_k|q4_0";

// One of kTensorTypes; nothing for auto.
std::optional<WeightFormat> tensor_format_of(const std::string& type);

}  // namespace sparrow
