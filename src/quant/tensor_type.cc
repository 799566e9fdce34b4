#include "quant/tensor_type.h"

#include <array>
#include <cctype>
#include <string>

#include "base/check.h"

namespace sparrow {
namespace {

// The order of listings in messages: plain types, then from many bits to few.
constexpr std::array<TensorTypeInfo, 20> kTypes = {{
    {TensorType::kF32, "f32", 1, 4},          {TensorType::kF16, "f16", 1, 2},
    {TensorType::kBF16, "bf16", 1, 2},        {TensorType::kQ8_0, "q8_0", 32, 34},
    {TensorType::kQ6_K, "q6_k", 256, 210},    {TensorType::kQ5_K, "q5_k", 256, 176},
    {TensorType::kQ5_1, "q5_1", 32, 24},      {TensorType::kQ5_0, "q5_0", 32, 22},
    {TensorType::kQ4_K, "q4_k", 256, 144},    {TensorType::kQ4_1, "q4_1", 32, 20},
    {TensorType::kQ4_0, "q4_0", 32, 18},      {TensorType::kIQ4_NL, "iq4_nl", 32, 18},
    {TensorType::kQ3_K, "q3_k", 256, 110},    {TensorType::kQ2_K, "q2_k", 256, 84},
    {TensorType::kI4G32, "i4g32", 32, 24},    {TensorType::kI4G64, "i4g64", 64, 40},
    {TensorType::kI4G128, "i4g128", 128, 72}, {TensorType::kI8G32, "i8g32", 32, 36},
    {TensorType::kI8G64, "i8g64", 64, 68},    {TensorType::kI8G128, "i8g128", 128, 132},
}};

}  // namespace

const TensorTypeInfo& tensor_type_info(TensorType type) {
  for (const TensorTypeInfo& info : kTypes) {
    if (info.type == type) return info;
  }
  CHECK(false && "unknown tensor type");
  return kTypes[0];
}

std::optional<TensorType> tensor_type_from_name(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const TensorTypeInfo& info : kTypes) {
    if (lower == info.name) return info.type;
  }
  return std::nullopt;
}

std::optional<TensorType> tensor_type_from_ggml_id(uint32_t id) {
  if (id >= kFirstMemoryOnlyType) return std::nullopt;
  for (const TensorTypeInfo& info : kTypes) {
    if (static_cast<uint32_t>(info.type) == id) return info.type;
  }
  return std::nullopt;
}

std::string ggml_type_names() {
  std::string names;
  for (const TensorTypeInfo& info : kTypes) {
    if (!tensor_type_from_ggml_id(static_cast<uint32_t>(info.type))) continue;
    if (!names.empty()) names += ", ";
    for (const char* c = info.name; *c != 0; ++c) {
      names += static_cast<char>(std::toupper(static_cast<unsigned char>(*c)));
    }
  }
  return names;
}

size_t tensor_row_bytes(TensorType type, int64_t cols) {
  const TensorTypeInfo& info = tensor_type_info(type);
  CHECK(cols >= 0 && cols % info.block_elements == 0);
  return static_cast<size_t>(cols / info.block_elements) * static_cast<size_t>(info.block_bytes);
}

double bits_per_weight(TensorType type) {
  const TensorTypeInfo& info = tensor_type_info(type);
  return 8.0 * info.block_bytes / info.block_elements;
}

}  // namespace sparrow
