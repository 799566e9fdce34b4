#pragma once
// The trained model stories260K (karpathy/tinyllamas) as a Qwen2 checkpoint: pairs of rotated rows
// brought into the rotate-half order, zero biases, its tokenizer as byte-level BPE with the same
// ids (model_and_formats section 12). For tests that want real weights.

#include <string>

#include "base/status.h"
#include "quant/tensor_type.h"

namespace sparrow {

// `data_dir` is .../tinyllamas-stories260k. A path that ends in .gguf becomes a GGUF file, any
// other a new directory. Matrices whose rows are no whole number of blocks (ffn_down: 172) are F32.
Status convert_stories260k(const std::string& data_dir, const std::string& out_path,
                           TensorType type);

}  // namespace sparrow
