// Every block type of weights from file to logits: the executor against the oracle on the exact
// values of the blocks, every instruction set against the best one, a written GGUF file against the
// same tensors in memory, alone and in the mixes that files have.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>

#include "kernels/cpu_features.h"
#include "model/cpu_executor.h"
#include "model/cpu_weights.h"
#include "model/executor_driver.h"
#include "model/generated_weights.h"
#include "model/golden_file.h"
#include "model/model_files.h"
#include "model/reference_forward.h"
#include "model/writers/model_writer.h"
#include "quant/convert_row.h"

namespace sparrow {
namespace {

// Rows of 256 and 512 values: whole blocks of every type. More KV heads than one.
ModelConfig wide_config() {
  ModelConfig config;
  config.hidden_size = 256;
  config.intermediate_size = 512;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 64;
  config.vocab_size = 320;
  config.max_position = 512;
  return config;
}

// Tensors of several types in one model: those `choose` gives by name.
class MixedWeights : public TensorSource {
 public:
  using Choose = std::function<TensorType(std::string_view name)>;
  explicit MixedWeights(Choose choose, ModelConfig config = wide_config())
      : config_(std::move(config)), choose_(std::move(choose)) {}

  const ModelConfig& config() const override { return config_; }
  bool contains(std::string_view name) const override { return of(name).contains(name); }
  Result<SourceTensor> tensor(std::string_view name) const override {
    return of(name).tensor(name);
  }
  void release(const SourceTensor&) const override {}
  std::string format_name() const override { return "generated mix"; }

 private:
  const GeneratedWeights& of(std::string_view name) const {
    const TensorType type = choose_(name);
    return by_type_.try_emplace(type, config_, 21, type).first->second;
  }
  const ModelConfig config_;
  const Choose choose_;
  mutable std::map<TensorType, GeneratedWeights> by_type_;
};

std::vector<TokenId> tokens_of_test() { return GeneratedWeights(wide_config(), 21).token_ids(24); }

// Logits of every position.
std::vector<float> logits_of(TensorSource& weights, const std::string& isa, int chunk,
                             const PackedFormats& formats = {}) {
  CpuExecutorOptions options;
  options.num_threads = 2;
  options.num_slots = 2;
  options.num_blocks = 8;
  options.max_batch_tokens = 64;
  options.kv_type = KvType::kF32;
  options.isa = isa;
  options.formats = formats;
  Result<std::unique_ptr<CpuExecutor>> executor = make_cpu_executor(weights.config(), options);
  EXPECT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(weights);
  EXPECT_TRUE(loaded.ok()) << loaded.message();
  ExecutorDriver driver(**executor);
  const int sequence = driver.add(tokens_of_test());
  driver.run_all(sequence, chunk);
  std::vector<float> logits;
  for (int row = 0; row < 24; ++row) {
    const std::vector<float>& one = driver.logits(sequence, row);
    logits.insert(logits.end(), one.begin(), one.end());
  }
  return logits;
}

const char* best_isa() { return runnable_kernels().back()->name; }

// The oracle runs on the exact values of the blocks, and blocks are computed exactly but for two
// roundings each, so what is left is the int8 rounding of the activations: a uniform error of
// absmax / 127 steps, relative 1 / 127 / sqrt(12) * (absmax / rms), 0.7 to 1.1 % of a product for a
// ratio of 3 to 5 and 3 % at most in the logits (cpu_executor_golden_test.cc). Random blocks have
// scales of a normal distribution: some rows are far larger than the rest, the ratio reaches 10.
void expect_near_oracle(const TensorSource& weights, const std::vector<float>& logits,
                        double limit = 3e-2) {
  const Result<ReferenceModel> model = load_reference_model(weights);
  ASSERT_TRUE(model.ok()) << model.message();
  std::vector<int32_t> rows(24);
  for (int32_t i = 0; i < 24; ++i) rows[static_cast<size_t>(i)] = i;
  const std::vector<float> expected = reference_forward(*model, tokens_of_test(), rows);
  const double error = relative_l2(logits, expected);
  EXPECT_LT(error, limit);
  EXPECT_GT(error, 1e-5) << "int8 activations expected";
}

// Writes the tensors of `weights` to a GGUF file and opens it.
ModelFiles write_and_open(const TensorSource& weights, const std::string& name) {
  const std::string path = testing::TempDir() + "/block_types_" + name + ".gguf";
  ModelDescription description;
  description.config = weights.config();
  const TensorTypeRule rule = [&](const LayoutTensor& tensor) {
    return weights.tensor(tensor.name).value().type;
  };
  std::unique_ptr<ModelWriter> writer = ModelWriter::create(path, description, rule).value();
  for (const PlannedTensor& tensor : writer->tensors()) {
    const Status status = writer->write(weights.tensor(tensor.name).value().bytes);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  EXPECT_TRUE(writer->finish().ok());
  Result<ModelFiles> model = open_model(path);
  EXPECT_TRUE(model.ok()) << model.message();
  std::filesystem::remove(path);  // the mapping stays
  return std::move(model).value();
}

class BlockTypes : public testing::TestWithParam<TensorType> {};

TEST_P(BlockTypes, Logits_StayNearTheOracleWithTheSameBitsOnEveryIsa) {
  GeneratedWeights weights(wide_config(), 21, GetParam());
  const std::vector<float> logits = logits_of(weights, best_isa(), 24);
  expect_near_oracle(weights, logits, can_quantize(GetParam()) ? 3e-2 : 6e-2);
  for (const Kernels* kernels : runnable_kernels()) {
    EXPECT_TRUE(logits == logits_of(weights, kernels->name, 7)) << kernels->name;
  }
}

TEST_P(BlockTypes, WrittenGgufFile_GivesTheSameLogits) {
  if (!tensor_type_from_ggml_id(static_cast<uint32_t>(GetParam()))) {
    GTEST_SKIP() << "no file has this type";
  }
  GeneratedWeights weights(wide_config(), 21, GetParam());
  const std::string name = tensor_type_info(GetParam()).name;
  const ModelFiles model = write_and_open(weights, name);
  EXPECT_TRUE(logits_of(*model.weights, best_isa(), 24) == logits_of(weights, best_isa(), 24));
}

INSTANTIATE_TEST_SUITE_P(
    All, BlockTypes,
    testing::Values(TensorType::kQ8_0, TensorType::kQ6_K, TensorType::kQ5_K, TensorType::kQ5_1,
                    TensorType::kQ5_0, TensorType::kQ4_K, TensorType::kQ4_1, TensorType::kQ4_0,
                    TensorType::kIQ4_NL, TensorType::kQ3_K, TensorType::kQ2_K, TensorType::kI4G32,
                    TensorType::kI4G64, TensorType::kI4G128, TensorType::kI8G32, TensorType::kI8G64,
                    TensorType::kI8G128),
    [](const auto& test) { return std::string(tensor_type_info(test.param).name); });

// The mix of a Q4_K_M file: V, down and the head with more bits than the rest.
TEST(BlockTypeMixes, Q4KM_FileGivesTheLogitsOfMemory) {
  MixedWeights weights([](std::string_view name) {
    const bool better = name == "lm_head.weight" || name.ends_with("v_proj.weight") ||
                        name.ends_with("down_proj.weight");
    return better ? TensorType::kQ6_K : TensorType::kQ4_K;
  });
  const std::vector<float> logits = logits_of(weights, best_isa(), 24);
  expect_near_oracle(weights, logits);
  const ModelFiles model = write_and_open(weights, "q4_k_m");
  EXPECT_EQ(model.weights->format_name(), "GGUF Q4_K");
  EXPECT_TRUE(logits_of(*model.weights, best_isa(), 5) == logits);
}

// Every type at once, plain ones and those of other block sizes beside each other in one product.
TEST(BlockTypeMixes, EveryTypeInOneModel_StaysNearTheOracle) {
  MixedWeights weights([](std::string_view name) {
    if (name.ends_with("q_proj.weight")) return TensorType::kQ2_K;
    if (name.ends_with("k_proj.weight")) return TensorType::kQ5_1;
    if (name.ends_with("v_proj.weight")) return TensorType::kBF16;
    if (name.ends_with("o_proj.weight")) return TensorType::kI4G128;
    if (name.ends_with("gate_proj.weight")) return TensorType::kIQ4_NL;
    if (name.ends_with("up_proj.weight")) return TensorType::kQ3_K;
    if (name.ends_with("down_proj.weight")) return TensorType::kI8G64;
    return name == "lm_head.weight" ? TensorType::kQ6_K : TensorType::kQ4_1;
  });
  const std::vector<float> logits = logits_of(weights, best_isa(), 24);
  expect_near_oracle(weights, logits, 6e-2);
  EXPECT_TRUE(logits_of(weights, best_isa(), 1) == logits);
}

// As a file would give it that has these types.
TEST(BlockTypeMixes, HeadAndEmbeddingTypes_AreThoseOfAFileThatHasThem) {
  for (const bool tied : {false, true}) {
    ModelConfig config = wide_config();
    config.tied_embeddings = tied;
    MixedWeights plain([](std::string_view) { return TensorType::kF32; }, config);
    MixedWeights mixed(
        [&](std::string_view name) {
          if (name == "lm_head.weight") return TensorType::kQ8_0;
          if (name != "model.embed_tokens.weight") return TensorType::kF32;
          return tied ? TensorType::kQ8_0 : TensorType::kQ4_0;  // the head's choice, if it is both
        },
        config);
    const PackedFormats formats{.head = WeightFormat::kQ8_0, .embedding = WeightFormat::kQ4_0};
    EXPECT_TRUE(logits_of(plain, best_isa(), 24, formats) == logits_of(mixed, best_isa(), 24));
    EXPECT_EQ(packed_weights_bytes(plain, formats).value(),
              packed_weights_bytes(mixed, {}).value());
  }
  // What is quantized already is converted too.
  GeneratedWeights eight(wide_config(), 21, TensorType::kQ8_0);
  expect_near_oracle(eight, logits_of(eight, best_isa(), 24, {.head = WeightFormat::kQ6_K}), 6e-2);
  EXPECT_LT(packed_weights_bytes(eight, {.head = WeightFormat::kQ6_K}).value(),
            packed_weights_bytes(eight, {}).value());
}

}  // namespace
}  // namespace sparrow
