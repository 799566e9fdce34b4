#pragma once
// Whole small files: bounded reading and atomic writing. Stateless, thread-safe.

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

// Refuses files above max_bytes before allocating. The error names path, cause and limit.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

// Writes beside the target, flushes to disk and renames: readers see the old or the new content,
// also after a crash.
Status write_file_atomically(const std::string& path, std::string_view content);

}  // namespace sparrow
