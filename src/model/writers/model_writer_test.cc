#include "model/writers/model_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/file.h"
#include "model/files/gguf_config.h"
#include "quant/convert_row.h"
#include "tests/support/stories260k.h"
#include "tests/support/test_data.h"

namespace sparrow {
namespace {

constexpr char kStories[] = "tinyllamas-stories260k";

std::string stories_dir() { return test_data_path(kStories); }

#define SKIP_WITHOUT_STORIES()                                        \
  if (!std::filesystem::exists(stories_dir() + "/checkpoint_v1.bin")) \
  GTEST_SKIP() << stories_dir() << " is missing"

std::vector<float> values_of(const SourceTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.cols));
  for (int64_t row = 0; row < tensor.rows; ++row) {
    dequantize_row(tensor.type, tensor.bytes.data() + row * tensor.row_bytes(), tensor.cols,
                   values.data() + row * tensor.cols);
  }
  return values;
}

ModelDescription small_model() {
  ModelDescription description;
  description.name = "small";
  ModelConfig& config = description.config;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_layers = 1;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 40;
  config.max_position = 128;
  config.eos_token_ids = {3};
  return description;
}

TEST(ModelWriter, Stories_DirectoryAndGgufHoldTheSameModel) {
  SKIP_WITHOUT_STORIES();
  const TemporaryDirectory temporary;
  const std::string directory = temporary.path("hf"), gguf = temporary.path("model.gguf");
  for (const std::string& path : {directory, gguf}) {
    const Status status = convert_stories260k(stories_dir(), path, TensorType::kF32);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  const Result<ModelFiles> a = open_model(directory), b = open_model(gguf);
  ASSERT_TRUE(a.ok()) << a.message();
  ASSERT_TRUE(b.ok()) << b.message();
  EXPECT_EQ(a->weights->format_name(), "safetensors F32");
  EXPECT_EQ(b->weights->format_name(), "GGUF F32");
  EXPECT_EQ(a->config.rope_theta, b->config.rope_theta);
  EXPECT_EQ(a->config.rms_norm_eps, b->config.rms_norm_eps);
  EXPECT_TRUE(a->config.tied_embeddings && b->config.tied_embeddings);
  EXPECT_EQ(a->config.eos_token_ids, b->config.eos_token_ids);
  EXPECT_EQ(a->tokenizer.pieces, b->tokenizer.pieces);
  EXPECT_EQ(a->tokenizer.merges, b->tokenizer.merges);
  EXPECT_EQ(a->tokenizer.add_bos, b->tokenizer.add_bos);
  for (const char* name : {"model.embed_tokens.weight", "model.layers.4.self_attn.k_proj.weight",
                           "model.layers.0.mlp.down_proj.weight", "model.norm.weight"}) {
    const SourceTensor left = a->weights->tensor(name).value();
    const SourceTensor right = b->weights->tensor(name).value();
    EXPECT_EQ(left.rows, right.rows);
    EXPECT_EQ(values_of(left), values_of(right)) << name;
  }
}

TEST(ModelWriter, StoriesQ8_RowsThatDoNotFitStayF32) {
  SKIP_WITHOUT_STORIES();
  const TemporaryDirectory temporary;
  const std::string path = temporary.path("model.gguf");
  ASSERT_TRUE(convert_stories260k(stories_dir(), path, TensorType::kQ8_0).ok());
  const Result<ModelFiles> model = open_model(path);
  ASSERT_TRUE(model.ok()) << model.message();
  const TensorSource& weights = *model->weights;
  EXPECT_EQ(weights.tensor("model.embed_tokens.weight").value().type, TensorType::kQ8_0);
  EXPECT_EQ(weights.tensor("model.layers.0.mlp.down_proj.weight").value().type, TensorType::kF32);
  EXPECT_EQ(weights.tensor("model.layers.0.input_layernorm.weight").value().type, TensorType::kF32);
}

TEST(ModelWriter, StoriesTokenizer_ExpectedIdsGiveTheExpectedText) {
  SKIP_WITHOUT_STORIES();
  const TemporaryDirectory temporary;
  const std::string path = temporary.path("hf");
  ASSERT_TRUE(convert_stories260k(stories_dir(), path, TensorType::kF32).ok());
  Result<ModelFiles> model = open_model(path);
  ASSERT_TRUE(model.ok()) << model.message();
  const auto tokenizer = Tokenizer::create(std::move(model->tokenizer));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  // The first greedy ids of expected_greedy.json.
  const std::vector<TokenId> ids = {403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421};
  const std::string text = (*tokenizer)->decode(ids);
  EXPECT_EQ(text, " Once upon a time, there was a little girl");
  EXPECT_EQ((*tokenizer)->encode(text), ids);
  EXPECT_EQ((*tokenizer)->encode("\n"), std::vector<TokenId>{13});
}

TEST(ModelWriter, BlockTypeInADirectory_IsRefusedWithWhatToDo) {
  const TemporaryDirectory temporary;
  const auto writer = ModelWriter::create(temporary.path("out"), small_model(), TensorType::kQ8_0);
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(writer.message().find("q8_0"), std::string::npos);
  EXPECT_NE(writer.message().find(".gguf"), std::string::npos);
}

TEST(ModelWriter, AbandonedModel_LeavesNothingBehind) {
  const TemporaryDirectory temporary;
  for (const char* name : {"out", "out.gguf"}) {
    auto writer = ModelWriter::create(temporary.path(name), small_model(), TensorType::kF16);
    ASSERT_TRUE(writer.ok()) << writer.message();
    EXPECT_FALSE(std::filesystem::exists(temporary.path(name)));
    const std::vector<std::byte> bytes(100);
    ASSERT_TRUE((*writer)->write(bytes).ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(temporary.path()));
}

TEST(ModelWriter, LeftoversOfAKilledProcess_DoNotReachTheModel) {
  const TemporaryDirectory temporary;
  std::filesystem::create_directory(temporary.path("out.partial"));
  for (const char* name : {"out.partial/model.safetensors.partial", "out.partial/tokenizer.json",
                           "out.gguf.partial"}) {
    ASSERT_TRUE(write_file_atomically(temporary.path(name), std::string(100000, 'x')).ok());
  }
  for (const char* name : {"out", "out.gguf"}) {
    auto writer = ModelWriter::create(temporary.path(name), small_model(), TensorType::kF16);
    ASSERT_TRUE(writer.ok()) << writer.message();
    for (const PlannedTensor& tensor : (*writer)->tensors()) {
      const std::vector<std::byte> zeros(tensor.size_bytes());
      ASSERT_TRUE((*writer)->write(zeros).ok());
    }
    const Status status = (*writer)->finish();
    ASSERT_TRUE(status.ok()) << status.message();
    const Result<ModelFiles> model = open_model(temporary.path(name));
    ASSERT_TRUE(model.ok()) << model.message();
    EXPECT_FALSE(model->has_tokenizer);
  }
  EXPECT_FALSE(std::filesystem::exists(temporary.path("out.partial")));
  EXPECT_FALSE(std::filesystem::exists(temporary.path("out.gguf.partial")));
}

TEST(ModelWriter, ExistingDirectory_IsNotTouched) {
  const TemporaryDirectory temporary;
  std::filesystem::create_directory(temporary.path("out"));
  ASSERT_TRUE(write_file_atomically(temporary.path("out/keep"), "mine").ok());
  const auto writer = ModelWriter::create(temporary.path("out"), small_model(), TensorType::kF16);
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(writer.message().find("already exists"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(temporary.path("out/keep")));
}

TEST(ModelWriter, SecondWriterOfOneFile_IsRefused) {
  const TemporaryDirectory temporary;
  const auto first = ModelWriter::create(temporary.path("a.gguf"), small_model(), TensorType::kF16);
  ASSERT_TRUE(first.ok());
  const auto second =
      ModelWriter::create(temporary.path("a.gguf"), small_model(), TensorType::kF16);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.message().find("another process"), std::string::npos);
}

}  // namespace
}  // namespace sparrow
