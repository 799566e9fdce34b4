#pragma once
// The header of a GGUF file, version 2 or 3 (ggml-org/ggml docs/gguf.md): metadata and which tensor
// lies where. All bytes are hostile; what is returned has been checked: counts and lengths against
// the bytes that are left, unique keys and names, known types, whole blocks, contiguous aligned
// offsets inside the file. Values are views into the file's bytes and live as long as those.
// Errors are one line: file, key or tensor, found, expected.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "quant/tensor_type.h"

namespace sparrow {

enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

struct GgufValue {
  GgufType type = GgufType::kU8;
  std::span<const std::byte> bytes;  // scalar: the value; string: its text; array: its elements
  GgufType element_type = GgufType::kU8;
  uint64_t count = 0;  // elements of an array

  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

struct GgufTensor {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> dims;  // innermost first: dims[0] is the row length
  uint64_t begin = 0;         // byte of the file
  uint64_t size_bytes = 0;
};

class GgufHeader {
 public:
  // `file` is the whole file and must outlive the header.
  static Result<GgufHeader> parse(std::span<const std::byte> file, const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  const GgufValue* find(std::string_view key) const;

  // Integers of any width and sign are accepted where a number is wanted.
  Result<uint64_t> get_uint(std::string_view key, uint64_t min, uint64_t max) const;
  Result<double> get_float(std::string_view key) const;
  Result<bool> get_bool(std::string_view key) const;
  Result<std::string_view> get_string(std::string_view key) const;
  Result<std::vector<std::string_view>> get_strings(std::string_view key) const;
  Result<std::vector<int32_t>> get_i32s(std::string_view key) const;

 private:
  friend class GgufParser;
  Result<const GgufValue*> require(std::string_view key) const;

  std::string path_;
  std::unordered_map<std::string_view, GgufValue> values_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace sparrow
