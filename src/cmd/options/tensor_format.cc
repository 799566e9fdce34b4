#include "cmd/options/tensor_format.h"

namespace sparrow {

std::optional<WeightFormat> tensor_format_of(const std::string& type) {
  if (type == "bf16") return WeightFormat::kBF16;
  if (type == "q8_0") return WeightFormat::kQ8_0;
  if (type == "q6_k") return WeightFormat::kQ6_K;
  if (type == "q4_0") return WeightFormat::kQ4_0;
  return {};
}

}  // namespace sparrow
