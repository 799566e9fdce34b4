#include "model/files/gguf_header.h"

#include <fmt/format.h>

#include <cstring>

#include "model/files/printable.h"

namespace sparrow {
namespace {

template <typename T>
T load(const GgufValue& value, uint64_t index = 0) {
  T result;
  std::memcpy(&result, value.bytes.data() + index * sizeof(T), sizeof(T));
  return result;
}

Status wrong_type(const std::string& path, std::string_view key, const GgufValue& value,
                  const char* expected) {
  return data_loss(fmt::format("{}: {}: found value type {}, expected {}", path, key,
                               static_cast<uint32_t>(value.type), expected));
}

}  // namespace

const GgufValue* GgufHeader::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

Result<const GgufValue*> GgufHeader::require(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return data_loss(fmt::format("{}: {}: the key is missing", path_, key));
  return value;
}

Result<uint64_t> GgufHeader::get_uint(std::string_view key, uint64_t min, uint64_t max) const {
  ASSIGN_OR_RETURN(const GgufValue* value, require(key));
  int64_t number = 0;
  switch (value->type) {
    case GgufType::kU8:
      number = load<uint8_t>(*value);
      break;
    case GgufType::kI8:
      number = load<int8_t>(*value);
      break;
    case GgufType::kU16:
      number = load<uint16_t>(*value);
      break;
    case GgufType::kI16:
      number = load<int16_t>(*value);
      break;
    case GgufType::kU32:
      number = load<uint32_t>(*value);
      break;
    case GgufType::kI32:
      number = load<int32_t>(*value);
      break;
    case GgufType::kI64:
      number = load<int64_t>(*value);
      break;
    case GgufType::kU64:
      // Above 2^63 it becomes negative and is refused below.
      number = static_cast<int64_t>(load<uint64_t>(*value));
      break;
    default:
      return wrong_type(path_, key, *value, "a whole number");
  }
  if (number < 0 || static_cast<uint64_t>(number) < min || static_cast<uint64_t>(number) > max) {
    return data_loss(
        fmt::format("{}: {}: found {}, expected {} to {}", path_, key, number, min, max));
  }
  return static_cast<uint64_t>(number);
}

Result<double> GgufHeader::get_float(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, require(key));
  if (value->type == GgufType::kF32) return static_cast<double>(load<float>(*value));
  if (value->type == GgufType::kF64) return load<double>(*value);
  return wrong_type(path_, key, *value, "a float");
}

Result<bool> GgufHeader::get_bool(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, require(key));
  if (value->type != GgufType::kBool) return wrong_type(path_, key, *value, "a boolean");
  return load<uint8_t>(*value) != 0;
}

Result<std::string_view> GgufHeader::get_string(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, require(key));
  if (value->type != GgufType::kString) return wrong_type(path_, key, *value, "a string");
  return value->text();
}

Result<std::vector<std::string_view>> GgufHeader::get_strings(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, require(key));
  if (value->type != GgufType::kArray || value->element_type != GgufType::kString) {
    return wrong_type(path_, key, *value, "an array of strings");
  }
  // parse() has walked the array: count strings, each with its length, fill `bytes` exactly.
  std::vector<std::string_view> texts;
  texts.reserve(value->count);
  const std::byte* cursor = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    uint64_t length;
    std::memcpy(&length, cursor, sizeof length);
    cursor += sizeof length;
    texts.emplace_back(reinterpret_cast<const char*>(cursor), length);
    cursor += length;
  }
  return texts;
}

Result<std::vector<int32_t>> GgufHeader::get_i32s(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, require(key));
  if (value->type != GgufType::kArray ||
      (value->element_type != GgufType::kI32 && value->element_type != GgufType::kU32)) {
    return wrong_type(path_, key, *value, "an array of 32-bit integers");
  }
  std::vector<int32_t> numbers(value->count);
  if (!numbers.empty()) std::memcpy(numbers.data(), value->bytes.data(), value->bytes.size());
  return numbers;
}

}  // namespace sparrow
