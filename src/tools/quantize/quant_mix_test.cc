#include "tools/quantize/quant_mix.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tools/synth/synth_model.h"

namespace sparrow {
namespace {

ModelConfig r1() { return synth_config("r1-distill-qwen-1.5b").value(); }

TensorType type_of(QuantMix mix, const ModelConfig& config, const std::string& name) {
  for (const LayoutTensor& tensor : qwen2_tensor_layout(config)) {
    if (tensor.name == name) return mix_tensor_type(mix, config, tensor, fits_gguf(mix));
  }
  ADD_FAILURE() << name;
  return TensorType::kF32;
}

TEST(QuantMix, Names_GoThereAndBack) {
  for (const auto& mixes : {gguf_mixes(), directory_mixes()}) {
    for (const QuantMix mix : mixes) EXPECT_EQ(quant_mix_from_name(quant_mix_name(mix)), mix);
  }
  EXPECT_EQ(quant_mix_from_name("Q4_K_M"), QuantMix::kQ4_K_M);
  EXPECT_EQ(quant_mix_from_name("q9"), std::nullopt);
}

// The tensor bytes of llama.cpp's files of this model (model_and_formats 3; the q4_k_m one was
// checked against a published file).
TEST(QuantMix, R1Distill_HasTheSizesOfPublishedFiles) {
  const std::map<QuantMix, int64_t> expected = {
      {QuantMix::kBF16, 3'554'465'792},   {QuantMix::kF16, 3'554'465'792},
      {QuantMix::kQ8_0, 1'888'581'632},   {QuantMix::kQ6_K, 1'458'228'224},
      {QuantMix::kQ5_K_M, 1'279'543'808}, {QuantMix::kQ4_K_M, 1'111'370'240},
      {QuantMix::kQ4_0, 1'060'276'736}};
  for (const auto& [mix, bytes] : expected) {
    EXPECT_EQ(mix_file_bytes(mix, r1(), true), bytes) << quant_mix_name(mix);
  }
}

TEST(QuantMix, Q4KM_GivesSixBitsToTheLayersThatMatterMore) {
  std::set<int> rich;
  for (int layer = 0; layer < 28; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const TensorType v = type_of(QuantMix::kQ4_K_M, r1(), prefix + "self_attn.v_proj.weight");
    EXPECT_EQ(v, type_of(QuantMix::kQ4_K_M, r1(), prefix + "mlp.down_proj.weight"));
    EXPECT_EQ(type_of(QuantMix::kQ4_K_M, r1(), prefix + "self_attn.q_proj.weight"),
              TensorType::kQ4_K);
    EXPECT_EQ(type_of(QuantMix::kQ4_K_M, r1(), prefix + "self_attn.k_proj.bias"), TensorType::kF32);
    if (v == TensorType::kQ6_K) rich.insert(layer);
  }
  EXPECT_EQ(rich, (std::set<int>{0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27}));
  EXPECT_EQ(type_of(QuantMix::kQ4_K_M, r1(), "lm_head.weight"), TensorType::kQ6_K);
  EXPECT_EQ(type_of(QuantMix::kQ4_K_M, r1(), "model.embed_tokens.weight"), TensorType::kQ4_K);
}

TEST(QuantMix, TiedEmbedding_TakesTheTypeOfTheHead) {
  ModelConfig config = r1();
  config.tied_embeddings = true;
  for (const QuantMix mix : {QuantMix::kQ4_K_M, QuantMix::kQ5_K_M, QuantMix::kQ4_0}) {
    EXPECT_EQ(type_of(mix, config, "model.embed_tokens.weight"), TensorType::kQ6_K);
  }
}

// Qwen2.5-0.5B: rows of 896 = 3.5 super-blocks; then rows that no block divides.
TEST(QuantMix, RowsThatAreNoWholeBlocks_FallBack) {
  ModelConfig config = r1();
  config.hidden_size = 896;
  config.num_heads = 14;
  config.head_dim = 64;
  const std::string q = "model.layers.3.self_attn.q_proj.weight";
  const std::string v = "model.layers.0.self_attn.v_proj.weight";
  EXPECT_EQ(type_of(QuantMix::kQ4_K_M, config, q), TensorType::kQ5_0);
  EXPECT_EQ(type_of(QuantMix::kQ5_K_M, config, q), TensorType::kQ5_1);
  EXPECT_EQ(type_of(QuantMix::kQ4_K_M, config, v), TensorType::kQ8_0);
  EXPECT_EQ(type_of(QuantMix::kQ6_K, config, q), TensorType::kQ8_0);
  EXPECT_EQ(type_of(QuantMix::kQ4_0, config, q), TensorType::kQ4_0);
  EXPECT_EQ(type_of(QuantMix::kQ4_0, config, "lm_head.weight"), TensorType::kQ8_0);
  EXPECT_EQ(type_of(QuantMix::kQ4_K_M, config, "model.layers.3.mlp.down_proj.weight"),
            TensorType::kQ4_K);
  config.intermediate_size = 172;
  for (const QuantMix mix : {QuantMix::kQ8_0, QuantMix::kQ4_0, QuantMix::kQ4_K_M}) {
    EXPECT_EQ(type_of(mix, config, "model.layers.3.mlp.down_proj.weight"), TensorType::kF16);
  }
}

// Layers 1,310,339,072 values of which 28 * 5,120 are norms and biases; embedding and head 2 *
// 233,373,696 in 16 bit. A scale of 16 bit for 128 (32) values, or one for each of a layer's 23,552
// rows; 16 bytes of shape for each of 196 matrices.
TEST(QuantMix, CompressedTensors_SizesOfR1Distill) {
  const int64_t plain = 2 * (2 * 233'373'696LL + 28 * 5'120 + 1'536);
  const int64_t values = 1'310'339'072 - 28 * 5'120;
  EXPECT_EQ(mix_file_bytes(QuantMix::kW4, r1(), false),
            plain + values / 2 + values / 128 * 2 + 196 * 16);
  EXPECT_EQ(mix_file_bytes(QuantMix::kW4G32, r1(), false),
            plain + values / 2 + values / 32 * 2 + 196 * 16);
  EXPECT_EQ(mix_file_bytes(QuantMix::kW8, r1(), false),
            plain + values + 28 * 23'040LL * 2 + 196 * 16);
}

TEST(QuantMix, CompressedTensors_OnlyLayersAreIntegers) {
  EXPECT_EQ(type_of(QuantMix::kW4, r1(), "model.layers.3.mlp.up_proj.weight"), TensorType::kI4G128);
  EXPECT_EQ(type_of(QuantMix::kW8, r1(), "model.layers.3.mlp.up_proj.weight"), TensorType::kI8G32);
  for (const char* name : {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight",
                           "model.layers.3.self_attn.q_proj.bias"}) {
    EXPECT_EQ(type_of(QuantMix::kW4, r1(), name), TensorType::kBF16) << name;
  }
  ModelConfig config = r1();
  config.intermediate_size = 8960 + 32;
  EXPECT_EQ(type_of(QuantMix::kW4, config, "model.layers.3.mlp.down_proj.weight"),
            TensorType::kBF16);
  EXPECT_EQ(type_of(QuantMix::kW4G32, config, "model.layers.3.mlp.down_proj.weight"),
            TensorType::kI4G32);
}

}  // namespace
}  // namespace sparrow
