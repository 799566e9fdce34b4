#pragma once
// StagedFile: a large file written from front to back under "NAME.partial" and renamed when it is
// complete. A killed process leaves the old file or none; the next attempt reuses the partial name.
// A lock keeps two processes apart. Move-only, one thread. Errors name path and cause.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace sparrow {

class StagedFile {
 public:
  // Fails early when the disk has not `expected_bytes` free.
  static Result<std::unique_ptr<StagedFile>> create(const std::string& path,
                                                    uint64_t expected_bytes);
  // Removes what commit() has not renamed.
  ~StagedFile();
  StagedFile(const StagedFile&) = delete;
  StagedFile& operator=(const StagedFile&) = delete;

  Status append(std::span<const std::byte> bytes);
  Status commit();

 private:
  StagedFile(std::string path, std::string partial_path, int file)
      : path_(std::move(path)), partial_path_(std::move(partial_path)), file_(file) {}

  const std::string path_;
  const std::string partial_path_;
  int file_;
};

}  // namespace sparrow
