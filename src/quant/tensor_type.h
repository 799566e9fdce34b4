#pragma once
// TensorType: every element format a weight can have in a file, with its block geometry. Numeric
// values are GGML's type ids (ggml docs/gguf.md), which GGUF files store; from kFirstMemoryOnlyType
// on they are ours and stand in no file.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sparrow {

inline constexpr uint32_t kFirstMemoryOnlyType = 0x10000;

enum class TensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kBF16 = 30,
  // Grouped integers as quantized Hugging Face checkpoints are read (int_group_blocks.h).
  kI4G32 = kFirstMemoryOnlyType,
  kI4G64,
  kI4G128,
  kI8G32,
  kI8G64,
  kI8G128,
};

struct TensorTypeInfo {
  TensorType type;
  const char* name;        // "q8_0": the spelling of options and messages
  int32_t block_elements;  // elements of one block
  int32_t block_bytes;
};

const TensorTypeInfo& tensor_type_info(TensorType type);
// Case-insensitive; nothing for an unknown name or id. Ids are those a file may hold.
std::optional<TensorType> tensor_type_from_name(std::string_view name);
std::optional<TensorType> tensor_type_from_ggml_id(uint32_t id);
// "F32, F16, ..., Q4_K": what a GGUF file may hold, for messages.
std::string ggml_type_names();

// Bytes of one row; cols must be a multiple of the block.
size_t tensor_row_bytes(TensorType type, int64_t cols);
double bits_per_weight(TensorType type);

}  // namespace sparrow
