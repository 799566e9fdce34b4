#pragma once
// quantization_config of a Hugging Face config.json -> how the matrices lie in the file
// (model_and_formats.md 9.5). What is not read exactly as written is refused by name, with what is
// supported. Stateless. Errors are one line: file, field, found, expected.

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sparrow {

enum class QuantizationLayout {
  kAwq,     // qweight [in, out/8], interleaved nibbles
  kGptq,    // qweight [in * bits / 32, out]
  kPacked,  // weight_packed [out, in * bits / 32]
  kInt8,    // weight int8 [out, in]
};

struct QuantizationScheme {
  std::string method;  // "awq", "gptq", "compressed-tensors": as --quantization names it
  QuantizationLayout layout = QuantizationLayout::kAwq;
  int bits = 4;             // 4 or 8
  int64_t group_size = -1;  // inputs that share a scale; -1: all of a row
  // A tensor of zero points exists; without one they are the middle of the range.
  bool has_zero_points = true;
  bool zeros_minus_one = false;  // GPTQ version 1 stores zero points less one
  bool act_order = false;        // the file must say which group each input belongs to
  // Modules the config calls plain: whole names, or parts of names in AWQ. Which modules are plain
  // is read from the tensors; a quantized one of this list is a contradiction.
  std::vector<std::string> plain_modules;

  bool lists_as_plain(std::string_view module) const;
  std::string text() const;  // "AWQ int4 g128"
};

// Nothing if the config has no quantization_config. `path` names the config in errors.
Result<std::optional<QuantizationScheme>> parse_hf_quantization(const boost::json::value& config,
                                                                const std::string& path);

}  // namespace sparrow
