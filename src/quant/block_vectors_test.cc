// Every quantized type against blocks that a Python script decoded from the table of layouts
// (tests/golden/make_block_vectors.py): the same floats, bit for bit.

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "quant/block_codes.h"
#include "quant/convert_row.h"
#include "quant/random_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

struct Vector {
  std::vector<std::byte> block;
  std::vector<float> values;
};

std::vector<std::byte> from_hex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    const std::string pair(text.substr(i, 2));
    bytes.push_back(static_cast<std::byte>(std::stoi(pair, nullptr, 16)));
  }
  return bytes;
}

std::map<TensorType, std::vector<Vector>> read_vectors() {
  std::map<TensorType, std::vector<Vector>> vectors;
  const auto json = parse_json_file("tests/golden/block_vectors.json");
  if (!json.ok()) {
    ADD_FAILURE() << json.message();
    return vectors;
  }
  for (const auto& entry : json->as_object().at("types").as_object()) {
    const std::optional<TensorType> type = tensor_type_from_name(entry.key());
    EXPECT_TRUE(type.has_value()) << entry.key();
    if (!type) continue;
    for (const auto& one : entry.value().as_array()) {
      const std::vector<std::byte> bytes = from_hex(one.at("values").as_string());
      Vector vector{from_hex(one.at("block").as_string()), std::vector<float>(bytes.size() / 4)};
      std::memcpy(vector.values.data(), bytes.data(), bytes.size());
      vectors[*type].push_back(std::move(vector));
    }
  }
  return vectors;
}

TEST(BlockVectors, EveryType_DequantizesToTheExpectedBits) {
  const auto vectors = read_vectors();
  EXPECT_EQ(vectors.size(), 11u);
  for (const auto& [type, blocks] : vectors) {
    const TensorTypeInfo& info = tensor_type_info(type);
    EXPECT_TRUE(has_block_codes(type)) << info.name;
    EXPECT_EQ(block_geometry(type).num_elements, info.block_elements) << info.name;
    for (size_t index = 0; index < blocks.size(); ++index) {
      const Vector& one = blocks[index];
      ASSERT_EQ(one.block.size(), static_cast<size_t>(info.block_bytes)) << info.name;
      ASSERT_EQ(one.values.size(), static_cast<size_t>(info.block_elements)) << info.name;
      std::vector<std::byte> row = {std::byte{0}};  // rows need no alignment
      row.insert(row.end(), one.block.begin(), one.block.end());
      std::vector<float> found(one.values.size());
      dequantize_row(type, row.data() + 1, info.block_elements, found.data());
      for (size_t e = 0; e < found.size(); ++e) {
        // == and not the bits: the sign of a zero is not worth a rule.
        ASSERT_EQ(found[e], one.values[e]) << info.name << ", block " << index << ", element " << e;
      }
    }
  }
}

// A block is refused for each of its floating-point fields, and for nothing else.
TEST(BlockVectors, FirstNonFinite_LooksAtEveryScaleAndMinimum) {
  for (const auto& [type, blocks] : read_vectors()) {
    const auto size = static_cast<size_t>(tensor_type_info(type).block_bytes);
    for (const uint16_t bad : {uint16_t{0x7c00}, uint16_t{0xfc00}, uint16_t{0x7e01}}) {
      for (const size_t offset : f16_fields(type)) {
        std::vector<std::byte> row = blocks[1].block;  // all bits set but those of the exponents
        row.insert(row.end(), blocks[0].block.begin(), blocks[0].block.end());
        EXPECT_EQ(first_non_finite(type, row), -1) << tensor_type_info(type).name;
        std::memcpy(row.data() + size + offset, &bad, 2);
        EXPECT_EQ(first_non_finite(type, row), tensor_type_info(type).block_elements)
            << tensor_type_info(type).name << ", byte " << offset;
      }
    }
  }
}

}  // namespace
}  // namespace sparrow
