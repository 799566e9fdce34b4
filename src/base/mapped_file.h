#pragma once
// MappedFile: a read-only memory mapping of a whole file. Owns the mapping; move-only.
// Spans handed out live as long as the object. Thread-safe for reading. Errors name the path and
// tell missing, unreadable and directory apart.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"

namespace sparrow {

class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }
  std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }

  // Tells the kernel that these pages will not be needed again (they stop counting as resident).
  void drop(std::span<const std::byte> range) const;

 private:
  MappedFile() = default;

  std::string path_;
  const std::byte* data_ = nullptr;
  uint64_t size_bytes_ = 0;
};

}  // namespace sparrow
