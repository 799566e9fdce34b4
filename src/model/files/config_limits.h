#pragma once
// Bounds of a model's sizes, far above any Qwen2 relative and far below any overflow: every product
// of two of them fits into 64 bits, q and kv sizes fit into 32.

#include <string>

#include "base/status.h"
#include "model/model_config.h"

namespace sparrow {

inline constexpr int32_t kMaxHiddenSize = 1 << 16;
inline constexpr int32_t kMaxIntermediateSize = 1 << 20;
inline constexpr int32_t kMaxLayers = 1024;
inline constexpr int32_t kMaxHeads = 1024;
inline constexpr int32_t kMaxHeadDim = 1024;
inline constexpr int32_t kMaxVocabSize = 1 << 24;
inline constexpr int32_t kMaxPosition = 1 << 24;

// What single fields cannot show: divisions, evenness, sane floats, ids inside the vocabulary.
// `path` starts the message.
Status check_model_config(const ModelConfig& config, const std::string& path);

}  // namespace sparrow
