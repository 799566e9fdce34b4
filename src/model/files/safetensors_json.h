#pragma once
// The JSON part of a safetensors header, read without building a tree: memory stays in proportion
// to the text, duplicate keys and unknown fields are seen. No check of offsets here.

#include <string>
#include <string_view>
#include <vector>

#include "model/files/safetensors_header.h"

namespace sparrow {

// begin and end of the entries are still relative to the data section.
Result<std::vector<SafetensorsEntry>> parse_safetensors_json(std::string_view text,
                                                             const std::string& path);

}  // namespace sparrow
