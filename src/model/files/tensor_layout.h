#pragma once
// Which tensors a Qwen2 model of given sizes has: names in both worlds and shapes
// (model_and_formats section 3). Readers check files against it, writers write it.

#include <cstdint>
#include <string>
#include <vector>

#include "model/model_config.h"

namespace sparrow {

struct LayoutTensor {
  std::string name;  // canonical: that of the Hugging Face checkpoint
  std::string gguf_name;
  int64_t rows = 1;        // outputs; 1 for vectors
  int64_t cols = 0;        // inputs: the row length
  bool is_vector = false;  // norms and biases
};

// In the order a forward pass needs them: embedding, layers, final norm, head (if it is not tied).
std::vector<LayoutTensor> qwen2_tensor_layout(const ModelConfig& config);

}  // namespace sparrow
