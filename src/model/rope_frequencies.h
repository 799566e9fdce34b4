#pragma once
// The rotation frequencies of rotary embeddings (Su et al. 2021), rounded where transformers rounds
// them: 1 / theta^(2i/D) and its product with the position are fp32 (model_and_formats section 4);
// cos and sin of that angle are accurate. Shared by the oracle and the executors. Stateless.

#include <cmath>
#include <cstdint>
#include <vector>

namespace sparrow {

inline std::vector<float> rope_frequencies(int32_t head_dim, float theta) {
  std::vector<float> frequencies(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const double power = std::pow(static_cast<double>(theta), static_cast<double>(exponent));
    frequencies[i] = 1.0f / static_cast<float>(power);
  }
  return frequencies;
}

inline double rope_angle(int32_t position, float frequency) {
  return static_cast<double>(static_cast<float>(position) * frequency);
}

}  // namespace sparrow
