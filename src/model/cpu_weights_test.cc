#include "model/cpu_weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>

#include "model/generated_weights.h"

namespace sparrow {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kGate = "model.layers.1.mlp.gate_proj.weight";

// A model of which one tensor's bytes are changed.
class ChangedWeights : public TensorSource {
 public:
  ChangedWeights(TensorType type, std::string changed,
                 const std::function<void(std::vector<std::byte>&)>& change)
      : weights_(small_model_config(), 5, type), changed_(std::move(changed)) {
    const SourceTensor tensor = weights_.tensor(changed_).value();
    bytes_.assign(tensor.bytes.begin(), tensor.bytes.end());
    change(bytes_);
  }

  const ModelConfig& config() const override { return weights_.config(); }
  bool contains(std::string_view name) const override { return weights_.contains(name); }
  Result<SourceTensor> tensor(std::string_view name) const override {
    Result<SourceTensor> tensor = weights_.tensor(name);
    if (tensor.ok() && name == changed_) tensor->bytes = bytes_;
    return tensor;
  }
  void release(const SourceTensor&) const override {}
  std::string format_name() const override { return "generated and changed"; }

 private:
  const GeneratedWeights weights_;
  const std::string changed_;
  std::vector<std::byte> bytes_;
};

Result<CpuWeights> load(const TensorSource& source, const PackedFormats& formats = {}) {
  ComputePool pool(2);
  return load_cpu_weights(source, formats, pool);
}

void store_float(std::vector<std::byte>& bytes, size_t at, float value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
}

// The rows of the small model are 64 values: whole blocks of Q8_0 (32), never of Q6_K (256).
TEST(CpuWeights, TypeWhoseBlocksDoNotFit_LeavesTheOthersInForceAndWarns) {
  const PackedFormats formats{.plain = WeightFormat::kQ8_0, .head = WeightFormat::kQ6_K};
  ModelConfig tied = small_model_config();
  tied.tied_embeddings = true;
  for (const ModelConfig& config : {small_model_config(), tied}) {
    const GeneratedWeights source(config, 5);
    testing::internal::CaptureStderr();
    const Result<CpuWeights> weights = load(source, formats);
    const std::string log = testing::internal::GetCapturedStderr();
    ASSERT_TRUE(weights.ok()) << weights.message();
    EXPECT_EQ(weights->head().format(), WeightFormat::kQ8_0);
    EXPECT_EQ(weights->embedding.format(), WeightFormat::kQ8_0);
    EXPECT_EQ(weights->total_bytes(), packed_weights_bytes(source, formats).value());
    EXPECT_NE(log.find(config.tied_embeddings ? kEmbedding : kHead), std::string::npos) << log;
    EXPECT_NE(log.find("is packed as q8_0: its rows of 64 values are no whole blocks of q6_k"),
              std::string::npos)
        << log;
  }
}

TEST(CpuWeights, TypeThatFitsNowhere_LeavesEveryMatrixAsItIsAndWarnsOnce) {
  const GeneratedWeights source(small_model_config(), 5, TensorType::kBF16);
  testing::internal::CaptureStderr();
  const Result<CpuWeights> weights = load(source, {.plain = WeightFormat::kQ4_K});
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(weights.ok()) << weights.message();
  EXPECT_EQ(weights->layers[1].gate.format(), WeightFormat::kBF16);
  const size_t warning = log.find("no whole blocks of q4_k");
  ASSERT_NE(warning, std::string::npos) << log;
  EXPECT_EQ(log.find("no whole blocks of q4_k", warning + 1), std::string::npos) << log;
}

// Each is finite in the file; infinity would only be noticed in the answers.
TEST(CpuWeights, ValueTooLargeForTheTypeAskedFor_IsRefusedByNameAndRow) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  struct Case {
    const char* what;
    TensorType type;
    const char* tensor;
    PackedFormats formats;
    const char* error;
  };
  const Case cases[] = {
      {"scale times code",
       TensorType::kI8G32,
       kHead,
       {.head = WeightFormat::kBF16},
       "lm_head.weight: row 3: a value is too large for bf16"},
      {"rounding up to bf16",
       TensorType::kF32,
       kEmbedding,
       {.embedding = WeightFormat::kBF16},
       "model.embed_tokens.weight: row 3: a value is too large for bf16"},
      {"scale of a block",
       TensorType::kF32,
       kGate,
       {.plain = WeightFormat::kQ8_0},
       "model.layers.1.mlp.gate_proj.weight: row 3: a value is too large for q8_0"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    const ChangedWeights source(one.type, one.tensor, [&](std::vector<std::byte>& bytes) {
      store_float(bytes, 3 * tensor_row_bytes(one.type, 64), kLargest);
    });
    const Result<CpuWeights> weights = load(source, one.formats);
    ASSERT_FALSE(weights.ok());
    EXPECT_EQ(weights.status().code(), StatusCode::kDataLoss);
    EXPECT_EQ(weights.status().message(), one.error);
    EXPECT_TRUE(load(source).ok());  // as it is, the file's values are taken
  }
}

TEST(CpuWeights, VectorThatIsNotFinite_IsRefusedByName) {
  const char* const norm = "model.layers.0.input_layernorm.weight";
  const ChangedWeights source(TensorType::kF32, norm, [](std::vector<std::byte>& bytes) {
    store_float(bytes, 8, std::numeric_limits<float>::quiet_NaN());
  });
  const Result<CpuWeights> weights = load(source);
  ASSERT_FALSE(weights.ok());
  EXPECT_EQ(weights.status().message(), std::string(norm) + ": a value is not a finite number");
}

}  // namespace
}  // namespace sparrow
