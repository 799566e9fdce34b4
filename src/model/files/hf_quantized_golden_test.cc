// Quantized Hugging Face matrices against files that a Python script packed and computed from the
// formats' definitions (tests/golden/make_hf_quantized_vectors.py): the same floats, bit for bit.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <cstring>

#include "base/json.h"
#include "model/files/quantized_checkpoint.h"
#include "model/model_files.h"
#include "quant/convert_row.h"
#include "tests/support/test_data.h"

namespace sparrow {
namespace {

constexpr char kModule[] = "model.layers.0.mlp.down_proj";

std::string from_base64(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text.substr(0, text.find('='))) {
    bits = bits << 6 | static_cast<uint32_t>(kAlphabet.find(c));
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    bytes += static_cast<char>(bits >> num_bits & 0xff);
  }
  return bytes;
}

// A model of one layer whose down_proj is the case's matrix; the rest is plain zeros.
Checkpoint checkpoint_of(const boost::json::object& one) {
  Checkpoint out;
  out.config.hidden_size = static_cast<int32_t>(one.at("rows").as_int64());
  out.config.intermediate_size = static_cast<int32_t>(one.at("cols").as_int64());
  out.config.num_layers = 1;
  out.config.num_heads = 2;
  out.config.num_kv_heads = 1;
  out.config.head_dim = out.config.hidden_size / 2;
  out.config.vocab_size = 8;
  out.config.tied_embeddings = true;
  out.config_json = fmt::format(
      R"({{"model_type": "qwen2", "hidden_size": {}, "intermediate_size": {},
           "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
           "vocab_size": 8, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
           "rope_theta": 10000.0, "tie_word_embeddings": true, "quantization_config": {}}})",
      out.config.hidden_size, out.config.intermediate_size,
      boost::json::serialize(one.at("quantization_config")));
  for (const LayoutTensor& tensor : qwen2_tensor_layout(out.config)) {
    if (tensor.name == std::string(kModule) + ".weight") continue;
    const auto size = static_cast<size_t>(tensor.rows * tensor.cols * 2);
    std::vector<int64_t> shape = {tensor.rows, tensor.cols};
    if (tensor.is_vector) shape = {tensor.cols};
    out.tensors[tensor.name] = {"BF16", shape, std::string(size, '\0')};
  }
  for (const auto& entry : one.at("tensors").as_object()) {
    CheckpointTensor tensor;
    tensor.dtype = std::string(entry.value().at("dtype").as_string());
    for (const auto& size : entry.value().at("shape").as_array()) {
      tensor.shape.push_back(size.as_int64());
    }
    tensor.bytes = from_base64(entry.value().at("data").as_string());
    out.tensors[std::string(kModule) + "." + std::string(entry.key())] = tensor;
  }
  return out;
}

class HfQuantizedGolden : public testing::TestWithParam<const char*> {};

TEST_P(HfQuantizedGolden, EveryCase_DequantizesToTheExpectedBits) {
  const auto json = parse_json_file(fmt::format("tests/golden/hf_{}_vectors.json", GetParam()));
  ASSERT_TRUE(json.ok()) << json.message();
  const auto& cases = json->as_object().at("cases").as_array();
  EXPECT_GE(cases.size(), 3u);
  for (const auto& entry : cases) {
    const boost::json::object& one = entry.as_object();
    SCOPED_TRACE(std::string(one.at("name").as_string()));
    const TemporaryDirectory temporary;
    checkpoint_of(one).write(temporary.path());
    const Result<ModelFiles> model = open_model(temporary.path());
    ASSERT_TRUE(model.ok()) << model.message();
    const SourceTensor tensor = model->weights->tensor(std::string(kModule) + ".weight").value();
    const std::string bytes = from_base64(one.at("values").as_string());
    std::vector<float> expected(bytes.size() / 4), found(static_cast<size_t>(tensor.cols));
    std::memcpy(expected.data(), bytes.data(), bytes.size());
    ASSERT_EQ(expected.size(), static_cast<size_t>(tensor.rows * tensor.cols));
    for (int64_t row = 0; row < tensor.rows; ++row) {
      dequantize_row(tensor.type, tensor.row_span(row, 1).data(), tensor.cols, found.data());
      for (int64_t col = 0; col < tensor.cols; ++col) {
        // == and not the bits: the sign of a zero is not worth a rule.
        ASSERT_EQ(found[static_cast<size_t>(col)],
                  expected[static_cast<size_t>(row * tensor.cols + col)])
            << "row " << row << ", column " << col;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, HfQuantizedGolden,
                         testing::Values("awq", "gptq", "compressed_tensors"),
                         [](const auto& format) { return std::string(format.param); });

}  // namespace
}  // namespace sparrow
