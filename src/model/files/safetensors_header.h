#pragma once
// The header of a safetensors file (huggingface/safetensors README): which tensor lies where. All
// bytes are hostile; what is returned has been checked: the ranges are in the file, touch each
// other without gap or overlap from the header to the end, have the size that dtype and shape
// imply, and names are unique. Errors are one line: file, tensor, field, found, expected.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace sparrow {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;            // "BF16", one of those we know the size of
  std::vector<int64_t> shape;   // outermost first; may be empty or hold zeros
  uint64_t begin = 0, end = 0;  // bytes of the file
};

// The format's own limit, and a bound for what parsing may allocate.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

// `file` is the whole file; entries come in file order.
Result<std::vector<SafetensorsEntry>> parse_safetensors_header(std::span<const std::byte> file,
                                                               const std::string& path);

}  // namespace sparrow
