#pragma once
// ByteReader: a cursor over untrusted little-endian bytes. Nothing is read beyond the end; an error
// names file, field and offset. Does not own the bytes; strings are views into them. One thread.

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace sparrow {

class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string path)
      : bytes_(bytes), path_(std::move(path)) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }
  const std::string& path() const { return path_; }

  template <typename T>
  Result<T> read(const char* field) {
    if (remaining() < sizeof(T)) return truncated(field, sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  Result<std::span<const std::byte>> read_bytes(uint64_t count, const char* field) {
    if (remaining() < count) return truncated(field, count);
    const std::span<const std::byte> result = bytes_.subspan(offset_, count);
    offset_ += count;
    return result;
  }

  // A u64 length and that many bytes.
  Result<std::string_view> read_string(const char* field, uint64_t max_bytes) {
    ASSIGN_OR_RETURN(const uint64_t length, read<uint64_t>(field));
    if (length > max_bytes) {
      return data_loss(fmt::format("{}: {} at byte {}: length {}, expected at most {}", path_,
                                   field, offset_, length, max_bytes));
    }
    ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, read_bytes(length, field));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  Status truncated(const char* field, uint64_t wanted) const {
    return data_loss(fmt::format("{}: {} at byte {}: {} bytes wanted, {} left in the file", path_,
                                 field, offset_, wanted, remaining()));
  }

 private:
  std::span<const std::byte> bytes_;
  std::string path_;
  uint64_t offset_ = 0;
};

}  // namespace sparrow
