#pragma once
// config.json and generation_config.json of a Hugging Face checkpoint -> checked numbers. What the
// Qwen2 forward pass does not do is refused by name, never ignored. Errors are one line: file,
// field, found, expected.

#include <boost/json/value.hpp>
#include <string>

#include "base/status.h"
#include "model/model_config.h"
#include "model/model_files.h"

namespace sparrow {

// `path` names the text in errors. quantization_config is hf_quantization.h's.
Result<ModelConfig> parse_hf_config(const boost::json::value& config, const std::string& path);
Result<boost::json::value> read_hf_config_json(const std::string& path);
Result<ModelConfig> read_hf_config(const std::string& path);

Result<GenerationDefaults> parse_generation_config(const boost::json::value& config,
                                                   const ModelConfig& model,
                                                   const std::string& path);

}  // namespace sparrow
