#include "model/cuda/trial_values.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "tensor/half.h"

namespace sparrow {

std::vector<uint16_t> trial_pattern(GpuFloat type) {
  constexpr size_t kNumValues = 65521;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> pattern(kNumValues);
  for (uint16_t& bits : pattern) {
    const float value = normal(random);
    bits = type == GpuFloat::kBF16 ? bf16_from_float(value) : f16_from_float(value);
  }
  return pattern;
}

Status repeat_pattern(GpuStaging& staging, void* to, std::span<const std::byte> pattern,
                      size_t total) {
  auto* memory = static_cast<std::byte*>(to);
  for (size_t begin = 0; begin < total; begin += pattern.size()) {
    const size_t bytes = std::min(pattern.size(), total - begin);
    RETURN_IF_ERROR(staging.upload(memory + begin, pattern.data(), bytes));
  }
  return ok_status();
}

double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = double{a[i]} - double{b[i]};
    difference += d * d;
    norm += double{b[i]} * double{b[i]};
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

}  // namespace sparrow
