#include "tools/quantize/quantize_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/search_int_groups.h"
#include "tests/support/stories260k.h"
#include "tests/support/test_data.h"
#include "tools/synth/synth_model.h"

namespace sparrow {
namespace {

namespace fs = std::filesystem;

// Rows of 256 and 512 (hidden, intermediate), and rows that only 32 divides.
constexpr char kWide[] = R"({
  "model_type": "qwen2", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3,
  "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "rope_theta": 10000.0,
  "max_position_embeddings": 256, "tie_word_embeddings": false, "rms_norm_eps": 1e-6})";
constexpr char kNarrow[] = R"({
  "model_type": "qwen2", "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2,
  "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 320, "rope_theta": 10000.0,
  "max_position_embeddings": 256, "tie_word_embeddings": true, "rms_norm_eps": 1e-6})";

class QuantizeModelTest : public testing::Test {
 protected:
  std::string synth(const char* config, const std::string& name, TensorType type) {
    EXPECT_TRUE(write_file_atomically(temporary_.path("config.json"), config).ok());
    SynthOptions options;
    options.config = temporary_.path("config.json");
    options.type = type;
    options.out_path = temporary_.path(name);
    options.num_threads = 1;
    const Status status = synth_model(options, nullptr);
    EXPECT_TRUE(status.ok()) << status.message();
    return options.out_path;
  }

  Result<QuantizeReport> quantize(const std::string& from, const std::string& to, QuantMix mix,
                                  bool overwrite = false, int threads = 2) {
    ASSIGN_OR_RETURN(const ModelFiles source, open_model(from));
    QuantizeOptions options;
    options.mix = mix;
    options.out_path = to;
    options.overwrite = overwrite;
    options.num_threads = threads;
    return quantize_model(source, options, nullptr);
  }

  TemporaryDirectory temporary_;
};

std::vector<float> values_of(const SourceTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.cols));
  for (int64_t row = 0; row < tensor.rows; ++row) {
    dequantize_row(tensor.type, tensor.bytes.data() + row * tensor.row_bytes(), tensor.cols,
                   values.data() + row * tensor.cols);
  }
  return values;
}

// What the result should hold: each row of the source quantized and back. Grouped integers have
// scales in the type of the file (bf16 here): one a block, or in w8 one a row.
std::vector<float> expected_values(const SourceTensor& source, TensorType type) {
  std::vector<float> values = values_of(source);
  std::vector<std::byte> row(tensor_row_bytes(type, source.cols));
  for (int64_t i = 0; i < source.rows; ++i) {
    const float* in = values.data() + i * source.cols;
    if (is_int4_group(type)) {
      search_int4_groups(type, TensorType::kBF16, in, nullptr, source.cols, row.data());
    } else if (is_int_group(type)) {
      quantize_int_channel(type, TensorType::kBF16, in, source.cols, row.data());
    } else {
      quantize_row(type, in, source.cols, row.data());
    }
    dequantize_row(type, row.data(), source.cols, values.data() + i * source.cols);
  }
  return values;
}

// Opens both, compares all values, and holds the report against its definition.
void expect_faithful(const std::string& from, const std::string& to, QuantMix mix,
                     const QuantizeReport& report) {
  const Result<ModelFiles> source = open_model(from), result = open_model(to);
  ASSERT_TRUE(source.ok()) << source.message();
  ASSERT_TRUE(result.ok()) << result.message();
  EXPECT_EQ(result->has_tokenizer, source->has_tokenizer);
  EXPECT_EQ(result->tokenizer.merges, source->tokenizer.merges);
  EXPECT_EQ(result->tokenizer.bos_token_id, source->tokenizer.bos_token_id);
  EXPECT_EQ(result->chat_template, source->chat_template);
  EXPECT_EQ(result->generation.temperature, source->generation.temperature);
  EXPECT_EQ(result->generation.top_p, source->generation.top_p);
  EXPECT_EQ(result->generation.top_k, source->generation.top_k);
  EXPECT_EQ(result->config.eos_token_ids, source->config.eos_token_ids);
  EXPECT_EQ(result->config.tied_embeddings, source->config.tied_embeddings);
  const std::vector<LayoutTensor> layout = qwen2_tensor_layout(source->config);
  ASSERT_EQ(report.tensors.size(), layout.size());
  uint64_t bytes = 0;
  for (const TensorReport& tensor : report.tensors) {
    SCOPED_TRACE(tensor.name);
    const SourceTensor before = source->weights->tensor(tensor.name).value();
    const SourceTensor after = result->weights->tensor(tensor.name).value();
    EXPECT_EQ(tensor.from, before.type);
    if (!is_int_group(tensor.to)) {  // other blocks in memory than in the file
      EXPECT_EQ(after.type, tensor.to);
      EXPECT_EQ(tensor.bytes, after.bytes.size());
    }
    bytes += tensor.bytes;
    const std::vector<float> x = values_of(before), y = values_of(after);
    ASSERT_EQ(y, expected_values(before, tensor.to));
    double error = 0, largest = 0, squares = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double difference = double{y[i]} - x[i];
      error += difference * difference;
      largest = std::max(largest, std::fabs(difference));
      squares += double{x[i]} * x[i];
    }
    EXPECT_NEAR(tensor.square_error, error, 1e-9 * error);  // another order of summing
    EXPECT_NEAR(tensor.square_sum, squares, 1e-9 * squares);
    EXPECT_EQ(tensor.largest_error, largest);
  }
  EXPECT_EQ(report.result_bytes, bytes);
  EXPECT_EQ(report.mix, quant_mix_name(mix));
}

TEST_F(QuantizeModelTest, EveryMix_HoldsQuantizedRowsOfTheSource) {
  for (const auto& [name, config] : {std::pair{"wide", kWide}, std::pair{"narrow", kNarrow}}) {
    const std::string from = synth(config, name, TensorType::kBF16);
    for (const QuantMix mix : gguf_mixes()) {
      SCOPED_TRACE(std::string(name) + " " + quant_mix_name(mix));
      const std::string to = temporary_.path(std::string(name) + quant_mix_name(mix) + ".gguf");
      const Result<QuantizeReport> report = quantize(from, to, mix);
      ASSERT_TRUE(report.ok()) << report.message();
      expect_faithful(from, to, mix, *report);
    }
  }
}

TEST_F(QuantizeModelTest, CompressedTensors_HoldQuantizedRowsOfTheSource) {
  for (const auto& [name, config] : {std::pair{"wide", kWide}, std::pair{"narrow", kNarrow}}) {
    const std::string from = synth(config, name, TensorType::kBF16);
    for (const QuantMix mix : {QuantMix::kW8, QuantMix::kW4G32, QuantMix::kW4}) {
      SCOPED_TRACE(std::string(name) + " " + quant_mix_name(mix));
      const std::string to = temporary_.path(std::string(name) + quant_mix_name(mix));
      const Result<QuantizeReport> report = quantize(from, to, mix);
      ASSERT_TRUE(report.ok()) << report.message();
      expect_faithful(from, to, mix, *report);
      EXPECT_FALSE(quantize(from, to + ".gguf", mix).ok());
      // And on: grouped integers are a source like any other.
      const Result<QuantizeReport> on = quantize(to, to + "-q8_0.gguf", QuantMix::kQ8_0);
      ASSERT_TRUE(on.ok()) << on.message();
      expect_faithful(to, to + "-q8_0.gguf", QuantMix::kQ8_0, *on);
      // Rows of 96 and 160 are no whole groups of 128.
      EXPECT_EQ(report->warnings.size(), config == kNarrow && mix == QuantMix::kW4 ? 1u : 0u);
    }
  }
}

TEST_F(QuantizeModelTest, SamplingDefaults_GoWithTheModel) {
  const std::string from = synth(kNarrow, "m", TensorType::kBF16);
  ASSERT_TRUE(write_file_atomically(from + "/generation_config.json", R"({"temperature": 0.6,
    "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.05, "eos_token_id": 256})")
                  .ok());
  const std::string gguf = temporary_.path("m.gguf"), back = temporary_.path("back");
  ASSERT_TRUE(quantize(from, gguf, QuantMix::kBF16).ok());
  ASSERT_TRUE(quantize(gguf, back, QuantMix::kBF16).ok());
  for (const std::string& path : {gguf, back}) {
    const GenerationDefaults defaults = open_model(path)->generation;
    EXPECT_EQ(defaults.temperature, 0.6);
    EXPECT_EQ(defaults.top_p, 0.95);
    EXPECT_EQ(defaults.top_k, 20);
    EXPECT_EQ(defaults.min_p, std::nullopt);
    EXPECT_EQ(defaults.repetition_penalty, 1.05);
  }
}

TEST_F(QuantizeModelTest, GgufToDirectoryAndOn_KeepsValuesAndTexts) {
  const std::string from = synth(kWide, "from.gguf", TensorType::kF32);
  for (const QuantMix mix : {QuantMix::kF32, QuantMix::kBF16, QuantMix::kF16}) {
    const std::string to = temporary_.path(quant_mix_name(mix));
    const Result<QuantizeReport> report = quantize(from, to, mix);
    ASSERT_TRUE(report.ok()) << report.message();
    expect_faithful(from, to, mix, *report);
  }
  // Q8_0 in, Q4_K_M out: measured against the source as it is, with a word about it.
  const std::string q8 = temporary_.path("q8.gguf"), q4 = temporary_.path("q4.gguf");
  ASSERT_TRUE(quantize(from, q8, QuantMix::kQ8_0).ok());
  const Result<QuantizeReport> again = quantize(q8, q4, QuantMix::kQ4_K_M);
  ASSERT_TRUE(again.ok()) << again.message();
  expect_faithful(q8, q4, QuantMix::kQ4_K_M, *again);
  ASSERT_EQ(again->warnings.size(), 1u);
  EXPECT_NE(again->warnings[0].find("quantized already"), std::string::npos);
}

TEST_F(QuantizeModelTest, Report_IsSane) {
  const std::string from = synth(kWide, "m", TensorType::kBF16);
  // Random weights (four bytes summed, nearly normal): a scale per 32 values on 127 levels of which
  // the largest value (about 2 sigma) takes all: error 2 sigma / 127 / sqrt(12) = 0.45 %.
  const Result<QuantizeReport> q8 = quantize(from, temporary_.path("q8.gguf"), QuantMix::kQ8_0);
  ASSERT_TRUE(q8.ok()) << q8.message();
  EXPECT_GT(q8->relative_rms_error(), 0.002);
  EXPECT_LT(q8->relative_rms_error(), 0.007);
  const Result<QuantizeReport> q4 = quantize(from, temporary_.path("q4.gguf"), QuantMix::kQ4_K_M);
  ASSERT_TRUE(q4.ok()) << q4.message();
  EXPECT_GT(q4->relative_rms_error(), 0.03);
  EXPECT_LT(q4->relative_rms_error(), 0.08);
  EXPECT_LT(q4->bits_per_weight(), q8->bits_per_weight());
  EXPECT_GT(q4->bits_per_weight(), 4.5);
  const Result<QuantizeReport> exact =
      quantize(from, temporary_.path("bf16.gguf"), QuantMix::kBF16);
  ASSERT_TRUE(exact.ok());
  EXPECT_EQ(exact->relative_rms_error(), 0);
  for (const TensorReport& tensor : q4->tensors) {
    EXPECT_EQ(tensor.num_outliers, 0) << tensor.name;  // such sums end at 3.5 sigma
  }
  EXPECT_NE(summary_text(*q4).find("bits per weight"), std::string::npos);
  EXPECT_NE(tensor_table(*q4).find("model.layers.2.mlp.down_proj.weight"), std::string::npos);
  EXPECT_NE(summary_text(*exact).find("exactly"), std::string::npos);
  const std::string json = report_json(*q4);
  EXPECT_NE(json.find("\"type\":\"q4_k_m\""), std::string::npos);
  EXPECT_NE(json.find("\"relative_rms_error\":"), std::string::npos);
}

TEST_F(QuantizeModelTest, AnyNumberOfThreads_SameFileAndSameReport) {
  const std::string from = synth(kWide, "m", TensorType::kBF16);
  const std::string a = temporary_.path("a.gguf"), b = temporary_.path("b.gguf");
  const Result<QuantizeReport> one = quantize(from, a, QuantMix::kQ4_K_M, false, 1);
  const Result<QuantizeReport> four = quantize(from, b, QuantMix::kQ4_K_M, false, 4);
  ASSERT_TRUE(one.ok() && four.ok());
  EXPECT_EQ(read_file(a, 64u << 20).value(), read_file(b, 64u << 20).value());
  EXPECT_EQ(one->relative_rms_error(), four->relative_rms_error());
}

// Writes a value into an F32 matrix of a directory.
void poke(const std::string& directory, int64_t index, float value) {
  const std::string path = directory + "/model.safetensors";
  std::string content = read_file(path, 64u << 20).value();
  uint64_t header = 0;
  std::memcpy(&header, content.data(), sizeof header);
  std::memcpy(content.data() + 8 + header + index * 4, &value, sizeof value);
  ASSERT_TRUE(write_file_atomically(path, content).ok());
}

TEST_F(QuantizeModelTest, Outlier_IsCountedAndKept) {
  const std::string from = synth(kWide, "m", TensorType::kF32);
  poke(from, 300, 2.0f);  // lm_head is the first by name; 2.0 is 100 sigma
  const Result<QuantizeReport> report = quantize(from, temporary_.path("o.gguf"), QuantMix::kQ8_0);
  ASSERT_TRUE(report.ok()) << report.message();
  for (const TensorReport& tensor : report->tensors) {
    EXPECT_EQ(tensor.num_outliers, tensor.name == "lm_head.weight" ? 1 : 0) << tensor.name;
  }
}

TEST_F(QuantizeModelTest, ValuesThatAreNoNumbersOrDoNotFit_AreRefusedByTensorAndRow) {
  const std::string from = synth(kWide, "m", TensorType::kF32);
  const std::string to = temporary_.path("out.gguf");
  poke(from, 2 * 256 + 5, std::nanf(""));
  Result<QuantizeReport> report = quantize(from, to, QuantMix::kQ8_0);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.message().find("lm_head.weight: row 2"), std::string::npos) << report.message();
  for (const QuantMix mix :
       {QuantMix::kQ8_0, QuantMix::kQ4_0, QuantMix::kQ4_K_M, QuantMix::kQ6_K, QuantMix::kF16}) {
    for (const float huge : {1e10f, -1e30f}) {
      poke(from, 2 * 256 + 5, huge);
      report = quantize(from, to, mix);
      ASSERT_FALSE(report.ok()) << quant_mix_name(mix) << " " << huge;
      EXPECT_NE(report.message().find("lm_head.weight: row 2"), std::string::npos);
      EXPECT_NE(report.message().find("bf16"), std::string::npos) << report.message();
    }
  }
  EXPECT_FALSE(fs::exists(to));
  EXPECT_FALSE(fs::exists(to + ".partial"));
  EXPECT_TRUE(quantize(from, to, QuantMix::kBF16).ok());
}

TEST_F(QuantizeModelTest, Paths_NothingIsOverwrittenByAccident) {
  const std::string from = synth(kWide, "m", TensorType::kBF16);
  const std::string to = temporary_.path("out.gguf");
  ASSERT_TRUE(quantize(from, to, QuantMix::kQ8_0).ok());
  const std::string first = read_file(to, 64u << 20).value();
  Result<QuantizeReport> report = quantize(from, to, QuantMix::kQ4_0);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.message().find("--force"), std::string::npos);
  EXPECT_EQ(read_file(to, 64u << 20).value(), first);
  ASSERT_TRUE(quantize(from, to, QuantMix::kQ4_0, true).ok());
  EXPECT_NE(read_file(to, 64u << 20).value(), first);
  // The source itself, also by another name.
  fs::create_symlink(to, temporary_.path("link.gguf"));
  for (const std::string& same : {to, temporary_.path("link.gguf")}) {
    report = quantize(to, same, QuantMix::kQ8_0, true);
    ASSERT_FALSE(report.ok());
    EXPECT_NE(report.message().find("the same"), std::string::npos) << report.message();
  }
  report = quantize(from, from, QuantMix::kF16, true);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.message().find("the same"), std::string::npos);
  report = quantize(from, temporary_.path("no/such/out.gguf"), QuantMix::kQ8_0);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.message().find("does not exist"), std::string::npos);
  report = quantize(from, temporary_.path("directory"), QuantMix::kQ8_0);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.message().find(".gguf"), std::string::npos);
}

TEST_F(QuantizeModelTest, Force_ReplacesModelDirectoriesOnly) {
  const std::string from = synth(kWide, "m", TensorType::kBF16);
  const std::string to = temporary_.path("other");
  ASSERT_TRUE(quantize(from, to, QuantMix::kBF16).ok());
  EXPECT_FALSE(quantize(from, to, QuantMix::kF16).ok());
  ASSERT_TRUE(quantize(from, to, QuantMix::kF16, true).ok());
  EXPECT_EQ(open_model(to)->weights->format_name(), "safetensors F16");
  fs::create_directory(temporary_.path("letters"));
  ASSERT_TRUE(write_file_atomically(temporary_.path("letters/a.txt"), "dear").ok());
  const Result<QuantizeReport> report =
      quantize(from, temporary_.path("letters"), QuantMix::kF16, true);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.message().find("config.json"), std::string::npos);
  EXPECT_TRUE(fs::exists(temporary_.path("letters/a.txt")));
  // A directory around the source is not thrown away with it.
  const std::string inside = from + "/inside.gguf";
  ASSERT_TRUE(quantize(from, inside, QuantMix::kQ8_0).ok());
  EXPECT_FALSE(quantize(inside, from, QuantMix::kF16, true).ok());
  EXPECT_TRUE(fs::exists(inside));
  // Nothing else is left behind.
  for (const fs::directory_entry& entry : fs::directory_iterator(temporary_.path())) {
    const std::string name = entry.path().filename();
    EXPECT_TRUE(name == "m" || name == "other" || name == "letters" || name == "config.json")
        << name;
  }
}

TEST_F(QuantizeModelTest, Cancel_LeavesNothing) {
  const std::string from = synth(kWide, "m", TensorType::kBF16);
  const Result<ModelFiles> source = open_model(from);
  ASSERT_TRUE(source.ok());
  std::atomic<bool> cancelled{false};
  QuantizeOptions options;
  options.mix = QuantMix::kQ4_K_M;
  options.out_path = temporary_.path("out.gguf");
  options.cancelled = &cancelled;
  int calls = 0;
  const Result<QuantizeReport> report = quantize_model(*source, options, [&](const auto&) {
    if (++calls == 3) cancelled = true;
  });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(calls, 3);
  EXPECT_FALSE(fs::exists(options.out_path));
  EXPECT_FALSE(fs::exists(options.out_path + ".partial"));
}

// Trained weights: rows of 64 (no super-blocks) and 172 (no blocks at all).
TEST_F(QuantizeModelTest, Stories260k_EveryMix) {
  const std::string data = test_data_path("tinyllamas-stories260k");
  if (!fs::exists(data)) GTEST_SKIP() << data << " is missing";
  const std::string from = temporary_.path("stories");
  const Status made = convert_stories260k(data, from, TensorType::kF32);
  ASSERT_TRUE(made.ok()) << made.message();
  for (const QuantMix mix : gguf_mixes()) {
    const std::string to = temporary_.path(std::string(quant_mix_name(mix)) + ".gguf");
    const Result<QuantizeReport> report = quantize(from, to, mix);
    if (!report.ok() && report.message().find("split pattern") != std::string::npos) {
      GTEST_SKIP() << report.message();
    }
    ASSERT_TRUE(report.ok()) << report.message();
    expect_faithful(from, to, mix, *report);
    EXPECT_EQ(report->warnings.size(), is_plain_mix(mix) ? 0u : 1u);  // ffn_down stays f16
  }
}

}  // namespace
}  // namespace sparrow
