#pragma once
// The text files and the safetensors header of a Hugging Face directory, as strings. Stateless.

#include <string>
#include <vector>

#include "model/writers/group_row_packer.h"
#include "model/writers/model_writer.h"

namespace sparrow {

// What the file holds for these tensors: a tensor each, for grouped integers three (scales are of
// `scale_type`).
std::vector<SafetensorsPlan> safetensors_plan(const std::vector<PlannedTensor>& tensors,
                                              TensorType scale_type);
// Size, JSON padded with spaces to a multiple of 8; data follows in the order of `tensors`.
std::string safetensors_header_text(const std::vector<SafetensorsPlan>& tensors);
// `plain_type` is that of the tensors that are not quantized. Grouped integers among the matrices
// give a quantization_config; they must all be of one type.
std::string hf_config_text(const ModelConfig& config, const std::vector<PlannedTensor>& tensors,
                           TensorType plain_type);
std::string hf_generation_text(const ModelDescription& description);
std::string hf_tokenizer_text(const TokenizerSpec& spec);
std::string hf_tokenizer_config_text(const TokenizerSpec& spec, const std::string& chat_template);

}  // namespace sparrow
