#pragma once
// The text files and the safetensors header of a Hugging Face directory, as strings. Stateless.

#include <string>
#include <vector>

#include "model/writers/model_writer.h"

namespace sparrow {

// Size, JSON padded with spaces to a multiple of 8; data follows in the order of `tensors`.
std::string safetensors_header_text(const std::vector<PlannedTensor>& tensors);
std::string hf_config_text(const ModelConfig& config, TensorType type);
std::string hf_generation_text(const ModelDescription& description);
std::string hf_tokenizer_text(const TokenizerSpec& spec);
std::string hf_tokenizer_config_text(const TokenizerSpec& spec, const std::string& chat_template);

}  // namespace sparrow
