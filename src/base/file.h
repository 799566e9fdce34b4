#pragma once
// Whole small files: bounded reading, a look at what they are, atomic writing. Stateless,
// thread-safe.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

// Refuses files above max_bytes before allocating. The error names path, cause and limit.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

// What tells one version of a file from the next, and who may read it.
struct FileStamp {
  int64_t modified_ns = 0;
  int64_t size = 0;
  uint64_t inode = 0;
  bool world_readable = false;

  bool operator==(const FileStamp&) const = default;
};
Result<FileStamp> file_stamp(const std::string& path);

// Writes beside the target, flushes to disk and renames: readers see the old or the new content,
// also after a crash.
Status write_file_atomically(const std::string& path, std::string_view content);

}  // namespace sparrow
