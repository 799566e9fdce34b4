#pragma once
// The two ways open_model() goes. Same contract: everything checked, errors in one line.

#include <string>

#include "base/status.h"
#include "model/model_files.h"

namespace sparrow {

Result<ModelFiles> open_hf_directory(const std::string& directory);
Result<ModelFiles> open_gguf_file(const std::string& path);

}  // namespace sparrow
