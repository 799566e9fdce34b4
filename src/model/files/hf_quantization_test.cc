#include "model/files/hf_quantization.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace sparrow {
namespace {

Result<std::optional<QuantizationScheme>> parse(const std::string& quantization) {
  const auto config = parse_json("{\"quantization_config\": " + quantization + "}", "config.json");
  return parse_hf_quantization(*config, "config.json");
}

std::string text_of(const std::string& quantization) {
  const auto scheme = parse(quantization);
  return scheme.ok() ? (*scheme)->text() : scheme.message();
}

std::string compressed(const std::string& weights, const std::string& rest = "",
                       const std::string& format = "pack-quantized") {
  return "{\"quant_method\": \"compressed-tensors\", \"format\": \"" + format +
         "\", \"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \"weights\": {" +
         weights + "}}}" + rest + "}";
}

constexpr char kW4[] = R"("num_bits": 4, "type": "int", "strategy": "group", "group_size": 128)";
constexpr char kW8[] = R"("num_bits": 8, "type": "int", "strategy": "channel")";

TEST(HfQuantization, NoneOrNull_IsNone) {
  const auto none = parse_hf_quantization(*parse_json("{\"a\": 1}", "c"), "c");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
  ASSERT_TRUE(parse("null").ok());
  EXPECT_FALSE(parse("null")->has_value());
}

TEST(HfQuantization, WhatExportersWrite_IsRead) {
  EXPECT_EQ(text_of(R"({"bits": 4, "group_size": 128, "modules_to_not_convert": null,
                        "quant_method": "awq", "version": "GEMM", "zero_point": true})"),
            "AWQ int4 g128");
  EXPECT_EQ(text_of(R"({"bits": 4, "damp_percent": 0.01, "desc_act": true, "group_size": -1,
                        "model_file_base_name": "model", "quant_method": "gptq", "sym": true,
                        "static_groups": false, "true_sequential": true, "dynamic": {"-:x": {}},
                        "meta": {"quantizer": ["gptqmodel:1.4.0"]}, "lm_head": false,
                        "checkpoint_format": "gptq", "pack_dtype": "int32"})"),
            "GPTQ int4 per channel");
  EXPECT_EQ(text_of(compressed(
                R"("num_bits": 4, "type": "int", "symmetric": false, "strategy": "group",
                   "group_size": 32, "block_structure": null, "dynamic": false,
                   "actorder": "weight",
                   "observer": "minmax", "observer_kwargs": {})",
                R"(, "ignore": ["lm_head"], "kv_cache_scheme": null, "sparsity_config": {},
                   "transform_config": {}, "global_compression_ratio": 1.5, "version": "0.9.4",
                   "quantization_status": "compressed")")),
            "compressed-tensors int4 g32");
  // W8A8: activations are quantized per token on the fly, as they are here anyway.
  EXPECT_EQ(text_of(R"({"quant_method": "compressed-tensors", "format": "int-quantized",
                        "config_groups": {"group_0": {"targets": ["Linear"],
                        "input_activations": {"num_bits": 8, "type": "int", "strategy": "token",
                          "symmetric": true, "dynamic": true},
                        "weights": {"num_bits": 8, "type": "int", "symmetric": true,
                          "strategy": "channel", "group_size": null, "dynamic": false}}}})"),
            "compressed-tensors int8 per channel");
}

TEST(HfQuantization, Fields_DecideTheLayout) {
  EXPECT_TRUE((*parse(R"({"quant_method": "gptq", "bits": 4})"))->zeros_minus_one);
  EXPECT_EQ(text_of(R"({"quant_method": "gptq", "bits": 8, "group_size": 128, "sym": true})"),
            "GPTQ int8 g128");
  const auto v2 = parse(R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"})");
  EXPECT_FALSE((*v2)->zeros_minus_one);
  EXPECT_FALSE((*parse(compressed(kW4)))->has_zero_points);
  EXPECT_TRUE((*parse(compressed(std::string(kW4) + ", \"symmetric\": false")))->has_zero_points);
  EXPECT_EQ((*parse(compressed(kW8, "", "int-quantized")))->layout, QuantizationLayout::kInt8);
  EXPECT_EQ((*parse(compressed(kW8)))->layout, QuantizationLayout::kPacked);
  const auto awq = parse(R"({"quant_method": "awq", "bits": 4,
                            "modules_to_not_convert": ["mlp.up"]})");
  EXPECT_TRUE((*awq)->lists_as_plain("model.layers.0.mlp.up_proj"));
  EXPECT_FALSE((*awq)->lists_as_plain("model.layers.0.mlp.down_proj"));
}

TEST(HfQuantization, EverythingElse_IsRefusedByName) {
  const std::string activations =
      R"({"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {"g": {
          "targets": ["Linear"], "weights": {"num_bits": 8, "strategy": "channel"}, )";
  const std::pair<std::string, std::vector<std::string>> cases[] = {
      {"3", {"quantization_config", "3", "an object"}},
      {"{}", {"quant_method", "nothing", "supported: awq", "compressed-tensors"}},
      {R"({"quant_method": "fp8"})", {"quant_method", "fp8", "supported: awq", "GGUF"}},
      {R"({"quant_method": 4})", {"quant_method", "4", "a string"}},
      {R"({"quant_method": "awq"})", {"bits", "nothing"}},
      {R"({"quant_method": "awq", "bits": 8})", {"bits", "found 8", "expected 4"}},
      {R"({"quant_method": "awq", "bits": 4, "version": "gemv"})", {"version", "gemv", "gemm"}},
      {R"({"quant_method": "awq", "bits": 4, "version": "marlin"})", {"version", "marlin"}},
      {R"({"quant_method": "awq", "bits": 4, "backend": "llm-awq"})", {"backend", "llm-awq"}},
      {R"({"quant_method": "awq", "bits": 4, "zero_point": false})", {"zero_point", "false"}},
      {R"({"quant_method": "awq", "bits": 4, "group_size": 16})", {"group_size", "found 16", "32"}},
      {R"({"quant_method": "awq", "bits": 4, "group_size": 0})", {"group_size", "found 0"}},
      {R"({"quant_method": "awq", "bits": 4, "group_size": -2})", {"group_size", "-2"}},
      {R"({"quant_method": "awq", "bits": 4, "modules_to_not_convert": "lm_head"})",
       {"modules_to_not_convert", "a list"}},
      {R"({"quant_method": "gptq", "bits": 3})", {"bits", "found 3", "4 or 8"}},
      {R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"})",
       {"checkpoint_format", "marlin", "gptq or gptq_v2"}},
      {R"({"quant_method": "gptq", "bits": 4, "is_marlin_format": true})", {"is_marlin_format"}},
      {R"({"quant_method": "gptq", "bits": 4, "pack_dtype": "int8"})", {"pack_dtype", "int8"}},
      {R"({"quant_method": "gptq", "bits": 4, "dynamic": {"+:x": {"bits": 8}}})",
       {"dynamic", "+:x"}},
      {R"({"quant_method": "gptq", "bits": 4, "desc_act": "yes"})", {"desc_act", "yes"}},
      {compressed(kW4, "", "float-quantized"), {"format", "float-quantized", "pack-quantized"}},
      {compressed(kW4, "", "marlin-24"), {"format", "marlin-24"}},
      {compressed(kW4, "", "int-quantized"), {"num_bits", "found 4", "expected 8"}},
      {compressed(kW4, R"(, "kv_cache_scheme": {"num_bits": 8})"), {"kv_cache_scheme"}},
      {compressed(kW4, R"(, "sparsity_config": {"format": "sparse-24"})"), {"sparsity_config"}},
      {compressed(kW4, R"(, "transform_config": {"a": 1})"), {"transform_config"}},
      {compressed(kW4, R"(, "quantization_status": "frozen")"), {"quantization_status", "frozen"}},
      {compressed(R"("num_bits": 8, "type": "float", "strategy": "channel")"), {"type", "float"}},
      {compressed(R"("num_bits": 8, "strategy": "tensor")"), {"strategy", "tensor"}},
      {compressed(R"("num_bits": 4, "strategy": "group")"), {"group_size", "nothing"}},
      {compressed(R"("num_bits": 2, "strategy": "channel")"), {"num_bits", "2", "4 or 8"}},
      {compressed(std::string(kW8) + ", \"symmetric\": false"), {"symmetric", "8 bit"}},
      {compressed(std::string(kW4) + ", \"actorder\": \"dynamic\""), {"actorder", "dynamic"}},
      {compressed(std::string(kW4) + ", \"dynamic\": true"), {"dynamic", "true"}},
      {R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})", {"config_groups"}},
      {R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups":
          {"g": {"targets": ["Embedding"], "weights": {}}}})",
       {"targets", "Embedding", "Linear"}},
      {R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {
          "a": {"weights": {"num_bits": 4, "strategy": "channel"}},
          "b": {"weights": {"num_bits": 8, "strategy": "channel"}}}})",
       {"\"b\"", "different weights"}},
      {activations + R"("input_activations": {"num_bits": 8, "strategy": "tensor"}}}})",
       {"input_activations", "strategy", "tensor", "token"}},
      {activations + R"("input_activations": {"num_bits": 8, "dynamic": false}}}})",
       {"input_activations", "dynamic"}},
      {activations + R"("input_activations": {"num_bits": 4, "dynamic": true}}}})",
       {"input_activations", "num_bits"}},
      {activations + R"("output_activations": {"num_bits": 8}}}})", {"output_activations"}},
  };
  for (const auto& [text, parts] : cases) {
    const auto scheme = parse(text);
    ASSERT_FALSE(scheme.ok()) << text;
    EXPECT_EQ(scheme.message().find('\n'), std::string::npos);
    for (const std::string& part : parts) {
      EXPECT_NE(scheme.message().find(part), std::string::npos) << scheme.message();
    }
  }
}

}  // namespace
}  // namespace sparrow
