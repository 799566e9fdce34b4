#pragma once
// The two ways open_model() goes. Same contract: everything checked, errors in one line.

#include <string>

#include "base/status.h"
#include "model/model_files.h"

namespace sparrow {

Result<ModelFiles> open_hf_directory(const std::string& directory);
Result<ModelFiles> open_gguf_file(const std::string& path);

// chat_template.jinja, which wins as in transformers, or the field of tokenizer_config.json; empty
// when there is neither.
Result<std::string> read_hf_chat_template(const std::string& directory);

}  // namespace sparrow
