#include "tools/quantize/memory_fit.h"

#include <gtest/gtest.h>

#include <map>

#include "base/file.h"
#include "model/cpu_weights.h"
#include "model/model_files.h"
#include "tests/support/test_data.h"
#include "tools/quantize/quantize_model.h"
#include "tools/synth/synth_model.h"

namespace sparrow {
namespace {

// The tensors of a model by shape alone: nothing is read.
class ShapesOnly : public TensorSource {
 public:
  ShapesOnly(const ModelConfig& config, QuantMix mix) : config_(config) {
    static const std::byte kNothing{};
    for (const LayoutTensor& tensor : qwen2_tensor_layout(config)) {
      SourceTensor view;
      view.type = mix_tensor_type(mix, config, tensor, true);
      view.rows = tensor.rows;
      view.cols = tensor.cols;
      view.bytes = {&kNothing, tensor_row_bytes(view.type, tensor.cols) * tensor.rows};
      tensors_[tensor.name] = view;
    }
  }
  const ModelConfig& config() const override { return config_; }
  bool contains(std::string_view name) const override {
    return tensors_.contains(std::string(name));
  }
  Result<SourceTensor> tensor(std::string_view name) const override {
    return tensors_.at(std::string(name));
  }
  void release(const SourceTensor&) const override {}
  std::string format_name() const override { return "shapes"; }

 private:
  const ModelConfig config_;
  std::map<std::string, SourceTensor> tensors_;
};

constexpr int64_t kGiB = int64_t{1} << 30;

std::optional<QuantMix> best_for(int64_t limit, QuantMix source = QuantMix::kBF16,
                                 bool gguf = true) {
  const ShapesOnly shapes(synth_config("r1-distill-qwen-1.5b").value(), source);
  const Result<FitTable> table = fit_table(shapes, 4096, limit, gguf);
  EXPECT_TRUE(table.ok()) << table.message();
  return table->best;
}

TEST(MemoryFit, R1Distill_TakesTheBestTypeThatFits) {
  EXPECT_EQ(best_for(6 * kGiB), QuantMix::kBF16);  // f32 would add nothing to bf16
  EXPECT_EQ(best_for(3 * kGiB), QuantMix::kQ8_0);
  EXPECT_EQ(best_for(2 * kGiB), QuantMix::kQ8_0);  // 1.89 + 0.12 + workspace = 2.1 GB
  EXPECT_EQ(best_for(1'400'000'000), QuantMix::kQ4_K_M);
  EXPECT_EQ(best_for(1 * kGiB), std::nullopt);
  // A directory; embedding and head stay 16 bit.
  EXPECT_EQ(best_for(6 * kGiB, QuantMix::kBF16, false), QuantMix::kBF16);
  EXPECT_EQ(best_for(3 * kGiB, QuantMix::kBF16, false), QuantMix::kW8);
  EXPECT_EQ(best_for(1 * kGiB, QuantMix::kBF16, false), std::nullopt);
}

// The limit that is exactly a row's memory takes that row, or a better one that needs no more.
TEST(MemoryFit, Limit_IsInclusive) {
  const ShapesOnly shapes(synth_config("r1-distill-qwen-1.5b").value(), QuantMix::kBF16);
  for (const bool gguf : {true, false}) {
    const FitTable all = fit_table(shapes, 4096, kGiB, gguf).value();
    for (const FitRow& row : all.rows) {
      const FitTable table = fit_table(shapes, 4096, row.memory_bytes, gguf).value();
      std::optional<QuantMix> expected;
      for (const FitRow& other : all.rows) {
        if (other.gains && other.memory_bytes <= row.memory_bytes && !expected) {
          expected = other.mix;
        }
      }
      EXPECT_EQ(table.best, expected) << quant_mix_name(row.mix);
    }
  }
}

TEST(MemoryFit, Source_IsNotWidened) {
  EXPECT_EQ(best_for(64 * kGiB, QuantMix::kF32), QuantMix::kF32);
  EXPECT_EQ(best_for(64 * kGiB, QuantMix::kF16), QuantMix::kF16);
  EXPECT_EQ(best_for(64 * kGiB, QuantMix::kBF16), QuantMix::kBF16);
  EXPECT_EQ(best_for(64 * kGiB, QuantMix::kQ8_0), QuantMix::kQ8_0);
  EXPECT_EQ(best_for(64 * kGiB, QuantMix::kQ4_K_M), QuantMix::kQ4_K_M);
}

TEST(MemoryFit, Table_AddsUpAndNamesTheChoice) {
  const ShapesOnly shapes(synth_config("r1-distill-qwen-1.5b").value(), QuantMix::kBF16);
  const Result<FitTable> table = fit_table(shapes, 4096, 3 * kGiB, true);
  ASSERT_TRUE(table.ok()) << table.message();
  EXPECT_EQ(table->kv_bytes, 4096 * 28672);  // 28,672 bytes a token in 16 bit
  for (const FitRow& row : table->rows) {
    EXPECT_EQ(row.memory_bytes, row.weights_bytes + table->kv_bytes + table->workspace_bytes);
    // Rows are whole strips here, but kernels hold 5 and 6-bit codes in bytes.
    EXPECT_GE(row.weights_bytes, row.file_bytes);
  }
  EXPECT_NE(fit_text(*table).find("q8_0"), std::string::npos);
  EXPECT_NE(fit_text(*table).find("best that fits"), std::string::npos);
  EXPECT_NE(fit_json(*table).find("\"best\":\"q8_0\""), std::string::npos);
  const Result<FitTable> beyond = fit_table(shapes, 1 << 20, 3 * kGiB, true);
  ASSERT_FALSE(beyond.ok());
  EXPECT_NE(beyond.message().find("--max-model-len"), std::string::npos);
}

// What the table says of a type against what the loader will hold of a file of it.
TEST(MemoryFit, WeightsBytes_AreThoseOfTheWrittenModel) {
  const TemporaryDirectory temporary;
  SynthOptions synth;
  synth.config = temporary.path("config.json");
  synth.type = TensorType::kBF16;
  synth.out_path = temporary.path("source");
  synth.num_threads = 1;
  // Rows of 256 and 160 inputs: with whole super-blocks and without.
  ASSERT_TRUE(write_file_atomically(synth.config, R"({
    "model_type": "qwen2", "hidden_size": 256, "intermediate_size": 160, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "rope_theta": 10000.0,
    "max_position_embeddings": 256, "tie_word_embeddings": false, "rms_norm_eps": 1e-6})")
                  .ok());
  ASSERT_TRUE(synth_model(synth, nullptr).ok());
  const ModelFiles source = open_model(synth.out_path).value();
  for (const bool gguf : {true, false}) {
    const FitTable table = fit_table(*source.weights, 256, kGiB, gguf).value();
    for (const FitRow& row : table.rows) {
      QuantizeOptions options;
      options.mix = row.mix;
      options.out_path = temporary.path(quant_mix_name(row.mix)) + (gguf ? ".gguf" : "");
      options.num_threads = 1;
      const auto report = quantize_model(source, options, nullptr);
      ASSERT_TRUE(report.ok()) << report.message();
      const ModelFiles written = open_model(options.out_path).value();
      EXPECT_EQ(row.weights_bytes, packed_weights_bytes(*written.weights, {}).value())
          << options.out_path;
    }
  }
}

}  // namespace
}  // namespace sparrow
