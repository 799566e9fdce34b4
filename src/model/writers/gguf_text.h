#pragma once
// The header of a GGUF 3 file as bytes: metadata, tensor infos and the padding before the data.

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/writers/model_writer.h"

namespace sparrow {

inline constexpr uint64_t kGgufAlignment = 32;

// Tensors follow in the given order, each padded to kGgufAlignment. Fails for a tokenizer that GGUF
// has no name for.
Result<std::string> gguf_header_text(const ModelDescription& description,
                                     const std::vector<PlannedTensor>& tensors);

}  // namespace sparrow
