#include "tools/synth/synth_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "model/model_files.h"
#include "quant/convert_row.h"
#include "tests/support/test_data.h"
#include "tools/synth/byte_tokenizer.h"

namespace sparrow {
namespace {

SynthOptions options_for(const std::string& out, TensorType type) {
  SynthOptions options;
  options.type = type;
  options.out_path = out;
  options.seed = 7;
  options.num_threads = 2;
  return options;
}

std::vector<float> row_of(const TensorSource& source, const char* name, int64_t row) {
  const SourceTensor tensor = source.tensor(name).value();
  std::vector<float> values(static_cast<size_t>(tensor.cols));
  dequantize_row(tensor.type, tensor.bytes.data() + row * tensor.row_bytes(), tensor.cols,
                 values.data());
  return values;
}

TEST(SynthModel, Tiny_OpensWithTokenizerAndTemplate) {
  const TemporaryDirectory temporary;
  const Status status =
      synth_model(options_for(temporary.path("tiny"), TensorType::kBF16), nullptr);
  ASSERT_TRUE(status.ok()) << status.message();
  const Result<ModelFiles> model = open_model(temporary.path("tiny"));
  ASSERT_TRUE(model.ok()) << model.message();
  EXPECT_EQ(model->weights->format_name(), "safetensors BF16");
  EXPECT_EQ(model->config.vocab_size, 320);  // 263 tokens, rounded up to a multiple of 64
  EXPECT_TRUE(model->has_tokenizer);
  EXPECT_TRUE(model->tokenizer.add_bos);
  EXPECT_EQ(model->config.eos_token_ids, std::vector<TokenId>{256});
  EXPECT_EQ(model->chat_template, byte_tokenizer_chat_template());
  EXPECT_EQ(model->generation.temperature, 0.6);
  const auto tokenizer = Tokenizer::create(model->tokenizer);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  const std::string text = "Zwölf Spatzen 麻雀\n";
  EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode(text)), text);
  EXPECT_EQ((*tokenizer)->encode("<think>").size(), 1u);
}

TEST(SynthModel, EveryGgufType_EveryMatrixIsInThatType) {
  for (const TensorType type :
       {TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ5_1,
        TensorType::kQ5_0, TensorType::kQ4_1, TensorType::kQ4_0}) {
    const TemporaryDirectory temporary;
    const Status status = synth_model(options_for(temporary.path("m.gguf"), type), nullptr);
    ASSERT_TRUE(status.ok()) << status.message();
    const Result<ModelFiles> model = open_model(temporary.path("m.gguf"));
    ASSERT_TRUE(model.ok()) << model.message();
    for (const char* name :
         {"model.embed_tokens.weight", "lm_head.weight", "model.layers.1.mlp.down_proj.weight"}) {
      EXPECT_EQ(model->weights->tensor(name).value().type, type) << name;
    }
    EXPECT_EQ(model->weights->tensor("model.norm.weight").value().type, TensorType::kF32);
    EXPECT_TRUE(model->has_tokenizer);
    EXPECT_EQ(model->chat_template, byte_tokenizer_chat_template());
  }
}

TEST(SynthModel, SameSeed_SameBytesForAnyThreadCountAndSameValuesInEveryFormat) {
  const TemporaryDirectory temporary;
  SynthOptions options = options_for(temporary.path("a.gguf"), TensorType::kF32);
  ASSERT_TRUE(synth_model(options, nullptr).ok());
  options.num_threads = 1;
  options.out_path = temporary.path("b.gguf");
  ASSERT_TRUE(synth_model(options, nullptr).ok());
  const size_t limit = 64u << 20;
  EXPECT_EQ(read_file(temporary.path("a.gguf"), limit).value(),
            read_file(temporary.path("b.gguf"), limit).value());
  options.out_path = temporary.path("c");
  ASSERT_TRUE(synth_model(options, nullptr).ok());
  const ModelFiles gguf = open_model(temporary.path("a.gguf")).value();
  const ModelFiles directory = open_model(temporary.path("c")).value();
  const char* name = "model.layers.1.self_attn.q_proj.weight";
  EXPECT_EQ(row_of(*gguf.weights, name, 63), row_of(*directory.weights, name, 63));
  options.seed = 8;
  options.out_path = temporary.path("d.gguf");
  ASSERT_TRUE(synth_model(options, nullptr).ok());
  const ModelFiles other = open_model(temporary.path("d.gguf")).value();
  EXPECT_NE(row_of(*gguf.weights, name, 63), row_of(*other.weights, name, 63));
}

TEST(SynthModel, Values_HaveTheScaleOfAnInitialisedModel) {
  const TemporaryDirectory temporary;
  ASSERT_TRUE(synth_model(options_for(temporary.path("m.gguf"), TensorType::kF32), nullptr).ok());
  const ModelFiles model = open_model(temporary.path("m.gguf")).value();
  double sum = 0, squares = 0;
  int count = 0;
  for (int64_t row = 0; row < 320; ++row) {
    for (const float value : row_of(*model.weights, "model.embed_tokens.weight", row)) {
      sum += value;
      squares += value * value;
      ++count;
    }
  }
  // 20,480 samples: five standard errors of mean and deviation.
  EXPECT_NEAR(sum / count, 0.0, 0.02 * 5 / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(squares / count), 0.02, 0.02 * 5 / std::sqrt(2.0 * count));
  for (const float value : row_of(*model.weights, "model.norm.weight", 0)) {
    EXPECT_NEAR(value, 1.0f, 0.08f);
  }
}

TEST(SynthModel, RealTokenizer_SetsTheVocabularyAndIsCopied) {
  const std::string source = test_data_path("deepseek-r1-distill-qwen-1.5b");
  if (!std::filesystem::exists(source)) GTEST_SKIP() << source << " is missing";
  const TemporaryDirectory temporary;
  SynthOptions options = options_for(temporary.path("hf"), TensorType::kBF16);
  options.tokenizer_dir = source;
  Status status = synth_model(options, nullptr);
  ASSERT_TRUE(status.ok()) << status.message();
  options.out_path = temporary.path("m.gguf");
  status = synth_model(options, nullptr);
  ASSERT_TRUE(status.ok()) << status.message();
  const Result<ModelFiles> directory = open_model(temporary.path("hf"));
  const Result<ModelFiles> gguf = open_model(temporary.path("m.gguf"));
  ASSERT_TRUE(directory.ok()) << directory.message();
  ASSERT_TRUE(gguf.ok()) << gguf.message();
  for (const ModelFiles* model : {&*directory, &*gguf}) {
    EXPECT_EQ(model->config.vocab_size, 151680);  // 151,665 rounded up to a multiple of 64
    EXPECT_EQ(model->tokenizer.bos_token_id, 151646);
    EXPECT_EQ(model->tokenizer.eos_token_id, 151643);
    EXPECT_TRUE(model->tokenizer.add_bos);
    EXPECT_NE(model->chat_template.find("ns.system_prompt"), std::string::npos);
  }
  EXPECT_EQ(directory->tokenizer.merges, gguf->tokenizer.merges);
  EXPECT_EQ(directory->tokenizer.split_pattern, gguf->tokenizer.split_pattern);
  EXPECT_EQ(directory->chat_template, gguf->chat_template);
  const size_t limit = 64u << 20;
  EXPECT_EQ(read_file(source + "/tokenizer.json", limit).value(),
            read_file(temporary.path("hf/tokenizer.json"), limit).value());
}

TEST(SynthModel, WrongOptions_AreRefusedByName) {
  const TemporaryDirectory temporary;
  SynthOptions options = options_for(temporary.path("out"), TensorType::kQ4_0);
  EXPECT_NE(synth_model(options, nullptr).message().find(".gguf"), std::string::npos);
  options = options_for(temporary.path("out"), TensorType::kF16);
  options.config = "llama-7b";
  EXPECT_NE(synth_model(options, nullptr).message().find("r1-distill-qwen-1.5b"),
            std::string::npos);
  options.config = temporary.path("missing.json");
  EXPECT_NE(synth_model(options, nullptr).message().find("missing.json"), std::string::npos);
  options.config = "tiny";
  options.tokenizer_dir = temporary.path("nowhere");
  EXPECT_NE(synth_model(options, nullptr).message().find("nowhere"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(temporary.path()));
}

TEST(SynthModel, ConfigFile_GivesItsShapes) {
  const TemporaryDirectory temporary;
  ASSERT_TRUE(write_file_atomically(temporary.path("config.json"), R"({
    "model_type": "qwen2", "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 1, "vocab_size": 300, "rope_theta": 1000000,
    "max_position_embeddings": 512, "tie_word_embeddings": true, "rms_norm_eps": 1e-5})")
                  .ok());
  SynthOptions options = options_for(temporary.path("m.gguf"), TensorType::kQ8_0);
  options.config = temporary.path("config.json");
  uint64_t total = 0, done = 0;
  const Status status = synth_model(options, [&](const SynthProgress& progress) {
    total = progress.total_values;
    done = progress.done_values;
  });
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_GT(total, 0u);
  EXPECT_EQ(done, total);
  const Result<ModelFiles> model = open_model(temporary.path("m.gguf"));
  ASSERT_TRUE(model.ok()) << model.message();
  EXPECT_EQ(model->config.num_layers, 3);
  EXPECT_EQ(model->config.head_dim, 16);
  EXPECT_EQ(model->config.rope_theta, 1e6f);
  EXPECT_EQ(model->config.vocab_size, 300);
  EXPECT_TRUE(model->config.tied_embeddings);
}

}  // namespace
}  // namespace sparrow
