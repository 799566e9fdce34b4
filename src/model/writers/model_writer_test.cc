#include "model/writers/model_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/file.h"
#include "base/random.h"
#include "model/files/gguf_config.h"
#include "model/writers/group_row_packer.h"
#include "quant/convert_int_groups.h"
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

// What the writer makes of a model, read back: every value is the one that was written.
void expect_round_trip(TensorType type, const std::string& path, const std::string& format) {
  const ModelDescription description = small_model();
  auto writer = ModelWriter::create(path, description, type);
  ASSERT_TRUE(writer.ok()) << writer.message();
  EXPECT_EQ((*writer)->scale_type(), TensorType::kBF16);
  std::map<std::string, std::vector<float>> expected;
  uint64_t counter = 0;
  for (const PlannedTensor& tensor : (*writer)->tensors()) {
    std::vector<std::byte> bytes;
    std::vector<float> values(static_cast<size_t>(tensor.cols));
    for (int64_t row = 0; row < tensor.rows; ++row) {
      for (float& value : values) {
        value = static_cast<float>(random_uniform(8, 0, counter++)) - 0.5f;
      }
      std::vector<std::byte> row_bytes(tensor_row_bytes(tensor.type, tensor.cols));
      if (!is_int_group(tensor.type)) {
        quantize_row(tensor.type, values.data(), tensor.cols, row_bytes.data());
      } else if (is_int4_group(tensor.type)) {
        quantize_int_groups(tensor.type, (*writer)->scale_type(), values.data(), tensor.cols,
                            row_bytes.data());
      } else {
        quantize_int_channel(tensor.type, (*writer)->scale_type(), values.data(), tensor.cols,
                             row_bytes.data());
      }
      dequantize_row(tensor.type, row_bytes.data(), tensor.cols, values.data());
      std::vector<float>& all = expected[tensor.name];
      all.insert(all.end(), values.begin(), values.end());
      bytes.insert(bytes.end(), row_bytes.begin(), row_bytes.end());
    }
    // Pieces that cut rows anywhere.
    for (size_t at = 0; at < bytes.size(); at += 1000) {
      const Status status =
          (*writer)->write(std::span(bytes).subspan(at, std::min<size_t>(1000, bytes.size() - at)));
      ASSERT_TRUE(status.ok()) << status.message();
    }
  }
  ASSERT_TRUE((*writer)->finish().ok());
  const Result<ModelFiles> model = open_model(path);
  ASSERT_TRUE(model.ok()) << model.message();
  EXPECT_EQ(model->quantization, "compressed-tensors");
  EXPECT_EQ(model->weights->format_name(), format);
  for (const auto& [name, values] : expected) {
    EXPECT_EQ(values_of(model->weights->tensor(name).value()), values) << name;
  }
}

TEST(ModelWriter, GroupedIntegers_BecomeACompressedTensorsDirectory) {
  const TemporaryDirectory temporary;
  expect_round_trip(TensorType::kI4G32, temporary.path("a"),
                    "safetensors compressed-tensors int4 g32");
  expect_round_trip(TensorType::kI8G32, temporary.path("b"),
                    "safetensors compressed-tensors int8 per channel");
  // down_proj has rows of 96: it stays BF16 and is named in the config.
  expect_round_trip(TensorType::kI4G64, temporary.path("c"),
                    "safetensors compressed-tensors int4 g64");
  const std::string config = read_file(temporary.path("c/config.json"), 1 << 16).value();
  EXPECT_NE(config.find("\"ignore\": [\"lm_head\", \"model.layers.0.mlp.down_proj\"]"),
            std::string::npos)
      << config;
  EXPECT_NE(config.find("\"torch_dtype\": \"bfloat16\""), std::string::npos);
}

TEST(ModelWriter, GroupedIntegersThatTheFileCannotHold_AreRefused) {
  const TemporaryDirectory temporary;
  const auto gguf =
      ModelWriter::create(temporary.path("a.gguf"), small_model(), TensorType::kI4G32);
  ASSERT_FALSE(gguf.ok());
  EXPECT_NE(gguf.message().find("i4g32"), std::string::npos);
  const auto everywhere = ModelWriter::create(
      temporary.path("a"), small_model(), [](const LayoutTensor&) { return TensorType::kI4G32; });
  ASSERT_FALSE(everywhere.ok());
  EXPECT_NE(everywhere.message().find("model.embed_tokens.weight"), std::string::npos);
  const auto mixed =
      ModelWriter::create(temporary.path("a"), small_model(), [](const LayoutTensor& tensor) {
        return tensor.name.ends_with("up_proj.weight")     ? TensorType::kI4G32
               : tensor.name.ends_with("down_proj.weight") ? TensorType::kI8G32
                                                           : TensorType::kBF16;
      });
  ASSERT_FALSE(mixed.ok());
  EXPECT_NE(mixed.message().find("one type for all"), std::string::npos);
}

TEST(GroupRowPacker, ValuesThatWouldChange_AreRefused) {
  const std::vector<float> row(64, 1.0f);
  std::vector<std::byte> bytes(tensor_row_bytes(TensorType::kI4G32, 64)), out;
  quantize_row(TensorType::kI4G32, row.data(), 64, bytes.data());  // scale 1 / 7.5: not in BF16
  Status status = GroupRowPacker(TensorType::kI4G32, 1, 64, TensorType::kBF16).add(bytes, out);
  EXPECT_NE(status.message().find("no exact value in bf16"), std::string::npos);
  EXPECT_TRUE(GroupRowPacker(TensorType::kI4G32, 1, 64, TensorType::kF32).add(bytes, out).ok());
  bytes[4] = std::byte{7};
  status = GroupRowPacker(TensorType::kI4G32, 1, 64, TensorType::kF32).add(bytes, out);
  EXPECT_NE(status.message().find("zero point 7"), std::string::npos);
  std::vector<float> uneven(64, 1.0f);
  uneven[40] = 2.0f;
  bytes.resize(tensor_row_bytes(TensorType::kI8G32, 64));
  quantize_row(TensorType::kI8G32, uneven.data(), 64, bytes.data());
  status = GroupRowPacker(TensorType::kI8G32, 1, 64, TensorType::kF32).add(bytes, out);
  EXPECT_NE(status.message().find("one scale a row"), std::string::npos);
}

}  // namespace
}  // namespace sparrow
