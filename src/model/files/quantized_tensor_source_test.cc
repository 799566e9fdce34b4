#include "model/files/quantized_tensor_source.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "model/files/fuzz_made_models.h"
#include "model/files/quantized_checkpoint.h"
#include "model/model_files.h"
#include "quant/convert_row.h"
#include "tests/support/test_data.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sparrow {
namespace {

constexpr char kUp[] = "model.layers.0.mlp.up_proj";
constexpr char kDown[] = "model.layers.0.mlp.down_proj";

std::vector<float> values_of(const SourceTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.cols));
  for (int64_t row = 0; row < tensor.rows; ++row) {
    dequantize_row(tensor.type, tensor.bytes.data() + static_cast<size_t>(row) * tensor.row_bytes(),
                   tensor.cols, values.data() + row * tensor.cols);
  }
  return values;
}

class QuantizedTensorSourceTest : public testing::Test {
 protected:
  // Opens what the checkpoint's files say and compares every value.
  ModelFiles open_and_compare(const Checkpoint& checkpoint) {
    checkpoint.write(temporary_.path());
    Result<ModelFiles> model = open_model(temporary_.path());
    EXPECT_TRUE(model.ok()) << model.message();
    if (!model.ok()) return {};
    for (const auto& [name, expected] : checkpoint.expected) {
      const Result<SourceTensor> tensor = model->weights->tensor(name);
      EXPECT_TRUE(tensor.ok()) << tensor.message();
      if (!tensor.ok()) continue;
      EXPECT_EQ(values_of(*tensor), expected) << name;
      const SourceTensor described = model->weights->describe(name).value();
      EXPECT_EQ(described.type, tensor->type);
      EXPECT_EQ(described.rows, tensor->rows);
      EXPECT_EQ(described.cols, tensor->cols);
      model->weights->release(*tensor);
    }
    return std::move(model).value();
  }

  void expect_refused(const Checkpoint& checkpoint, const std::vector<std::string>& parts) {
    checkpoint.write(temporary_.path());
    const Result<ModelFiles> model = open_model(temporary_.path());
    ASSERT_FALSE(model.ok()) << testing::PrintToString(parts);
    EXPECT_EQ(model.message().find('\n'), std::string::npos);
    for (const std::string& part : parts) {
      EXPECT_NE(model.message().find(part), std::string::npos) << model.message();
    }
  }

  TensorType type_of(const ModelFiles& model, const std::string& name) {
    return model.weights->describe(name).value().type;
  }

  TemporaryDirectory temporary_;
};

TEST_F(QuantizedTensorSourceTest, EveryKindAndGroup_GivesExactlyTheValuesThatWerePacked) {
  struct Case {
    int64_t group_size;
    TensorType up4, up8;
  };
  // One scale a row of 128 inputs becomes one block of 128.
  const Case groups[] = {{32, TensorType::kI4G32, TensorType::kI8G32},
                         {64, TensorType::kI4G64, TensorType::kI8G64},
                         {128, TensorType::kI4G128, TensorType::kI8G128},
                         {-1, TensorType::kI4G128, TensorType::kI8G128}};
  for (const CheckpointKind kind :
       {CheckpointKind::kAwq, CheckpointKind::kGptqV1, CheckpointKind::kGptqV2,
        CheckpointKind::kPacked4, CheckpointKind::kPacked4Asymmetric, CheckpointKind::kPacked8,
        CheckpointKind::kInt8, CheckpointKind::kGptq8}) {
    for (const Case& group : groups) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(kind) << " " << group.group_size);
      const ModelFiles model = open_and_compare(
          make_checkpoint({.kind = kind, .group_size = group.group_size, .seed = 7}));
      const bool eight = kind == CheckpointKind::kPacked8 || kind == CheckpointKind::kInt8 ||
                         kind == CheckpointKind::kGptq8;
      const bool is_q4_0 = kind == CheckpointKind::kPacked4 && group.group_size == 32;
      EXPECT_EQ(type_of(model, std::string(kUp) + ".weight"), eight     ? group.up8
                                                              : is_q4_0 ? TensorType::kQ4_0
                                                                        : group.up4);
      // Rows of 384 inputs: described and read alike.
      const std::string down = std::string(kDown) + ".weight";
      const SourceTensor read = model.weights->tensor(down).value();
      EXPECT_EQ(read.one_scale_per_row, eight && group.group_size < 0);
      EXPECT_EQ(model.weights->describe(down)->one_scale_per_row, read.one_scale_per_row);
      model.weights->release(read);
    }
  }
}

TEST_F(QuantizedTensorSourceTest, LogLineAndMethod_SayWhatTheFilesHold) {
  const std::pair<CheckpointOptions, std::vector<std::string>> cases[] = {
      {{.kind = CheckpointKind::kAwq, .group_size = 128}, {"awq", "safetensors AWQ int4 g128"}},
      {{.kind = CheckpointKind::kGptqV2, .group_size = 32}, {"gptq", "safetensors GPTQ int4 g32"}},
      {{.kind = CheckpointKind::kInt8, .group_size = -1},
       {"compressed-tensors", "safetensors compressed-tensors int8 per channel"}},
  };
  for (const auto& [options, texts] : cases) {
    const ModelFiles model = open_and_compare(make_checkpoint(options));
    EXPECT_EQ(model.quantization, texts[0]);
    EXPECT_EQ(model.weights->format_name(), texts[1]);
  }
}

TEST_F(QuantizedTensorSourceTest, ScaleTypes_AllCount) {
  for (const char* dtype : {"F16", "BF16", "F32"}) {
    for (const CheckpointKind kind : {CheckpointKind::kPacked4, CheckpointKind::kInt8}) {
      open_and_compare(make_checkpoint({.kind = kind, .scale_dtype = dtype, .seed = 3}));
    }
  }
}

// Symmetric groups of 32 are held as Q4_0 where that loses nothing: BF16 scales have fewer digits
// than fp16 has, but may be smaller or larger; F32 ones have more.
TEST_F(QuantizedTensorSourceTest, SymmetricGroupsOf32_AreQ4_0WhereEveryScaleIsAnExactHalf) {
  const std::string up = std::string(kUp) + ".weight", scales = std::string(kUp) + ".weight_scale";
  const auto make = [](const char* dtype) {
    return make_checkpoint(
        {.kind = CheckpointKind::kPacked4, .group_size = 32, .scale_dtype = dtype, .seed = 4});
  };
  EXPECT_EQ(type_of(open_and_compare(make("BF16")), up), TensorType::kQ4_0);
  EXPECT_EQ(type_of(open_and_compare(make("F32")), up), TensorType::kI4G32);
  for (const uint16_t scale : {0x0001, 0x7f00}) {  // BF16: 9e-41, 1.7e38
    Checkpoint checkpoint = make("BF16");
    std::memcpy(checkpoint.tensors[scales].bytes.data() + 6, &scale, 2);
    checkpoint.write(temporary_.path());
    const ModelFiles model = open_model(temporary_.path()).value();
    EXPECT_EQ(type_of(model, up), TensorType::kI4G32);
  }
}

TEST_F(QuantizedTensorSourceTest, GroupList_InOrderKeepsBlocksOutOfOrderBecomesF32) {
  for (const CheckpointKind kind :
       {CheckpointKind::kGptqV1, CheckpointKind::kPacked4, CheckpointKind::kPacked8}) {
    CheckpointOptions options = {.kind = kind, .group_size = 32, .group_list = true};
    if (kind == CheckpointKind::kGptqV1) {
      const ModelFiles ordered = open_and_compare(make_checkpoint(options));
      EXPECT_EQ(type_of(ordered, std::string(kDown) + ".weight"), TensorType::kI4G32);
    }
    options.act_order = true;
    const ModelFiles shuffled = open_and_compare(make_checkpoint(options));
    EXPECT_EQ(type_of(shuffled, std::string(kDown) + ".weight"), TensorType::kF32);
    EXPECT_NE(shuffled.weights->format_name().find("activation order"), std::string::npos);
  }
}

// A block of int8 has no zero point, and a difference of two bytes has nine bits.
TEST_F(QuantizedTensorSourceTest, EightBitZeroPointsOffTheMiddle_BecomeF32) {
  const std::string down = std::string(kDown) + ".weight";
  for (const int64_t group_size : {32, 128, -1}) {
    for (const bool act_order : {false, true}) {
      const ModelFiles model =
          open_and_compare(make_checkpoint({.kind = CheckpointKind::kGptq8Zeros,
                                            .group_size = group_size,
                                            .group_list = act_order,
                                            .act_order = act_order}));
      EXPECT_EQ(type_of(model, down), TensorType::kF32);
      EXPECT_FALSE(model.weights->describe(down)->one_scale_per_row);
      EXPECT_NE(model.weights->format_name().find("GPTQ int8"), std::string::npos);
      EXPECT_NE(model.weights->format_name().find("held as F32"), std::string::npos);
    }
  }
}

TEST_F(QuantizedTensorSourceTest, ListedModules_ArePlain) {
  for (const CheckpointKind kind : {CheckpointKind::kAwq, CheckpointKind::kInt8}) {
    const ModelFiles model =
        open_and_compare(make_checkpoint({.kind = kind, .plain_modules = {kUp}}));
    EXPECT_EQ(type_of(model, std::string(kUp) + ".weight"), TensorType::kBF16);
    EXPECT_NE(type_of(model, std::string(kDown) + ".weight"), TensorType::kBF16);
  }
  // The list may also be expressions: what is plain is read from the tensors.
  Checkpoint checkpoint =
      make_checkpoint({.kind = CheckpointKind::kPacked4, .plain_modules = {kUp}});
  const size_t at = checkpoint.config_json.find(std::string("\"") + kUp);
  checkpoint.config_json.replace(at + 1, std::strlen(kUp), "re:.*up_proj");
  open_and_compare(checkpoint);
}

TEST_F(QuantizedTensorSourceTest, ListAndTensorsThatContradictEachOther_AreRefused) {
  Checkpoint checkpoint = make_checkpoint({.kind = CheckpointKind::kAwq});
  const size_t at = checkpoint.config_json.find("[]");
  checkpoint.config_json.replace(at, 2, "[\"up_proj\"]");
  expect_refused(checkpoint, {"quantization_config", kUp, "qweight"});
  checkpoint = make_checkpoint({.kind = CheckpointKind::kPacked4});
  checkpoint.tensors[std::string(kUp) + ".weight"] = {"BF16", {1}, "ab"};
  expect_refused(checkpoint, {"both", "up_proj.weight_packed", "up_proj.weight"});
}

TEST_F(QuantizedTensorSourceTest, BiasesThatGptqWritersAdd_MustBeZero) {
  Checkpoint checkpoint = make_checkpoint({.kind = CheckpointKind::kGptqV1});
  const std::string name = std::string(kDown) + ".bias";
  checkpoint.tensors[name] = {"F16", {128}, std::string(256, '\0')};
  open_and_compare(checkpoint);
  checkpoint.tensors[name].bytes[7] = 1;
  expect_refused(checkpoint, {name, "does not belong"});
}

TEST_F(QuantizedTensorSourceTest, EveryMissingOrWrongTensor_IsRefusedByName) {
  const CheckpointOptions kinds[] = {
      {.kind = CheckpointKind::kAwq},
      {.kind = CheckpointKind::kGptqV1, .group_list = true, .act_order = true},
      {.kind = CheckpointKind::kPacked4Asymmetric, .group_list = true, .act_order = true},
      {.kind = CheckpointKind::kInt8}};
  for (const CheckpointOptions& options : kinds) {
    const Checkpoint good = make_checkpoint(options);
    for (const auto& [name, tensor] : good.tensors) {
      if (name.find("down_proj") == std::string::npos) continue;
      Checkpoint bad = good;
      bad.tensors.erase(name);
      expect_refused(bad, {name, "missing"});
      bad = good;
      bad.tensors[name].dtype = tensor.dtype == "I8" ? "U8" : tensor.dtype == "I64" ? "F64" : "U16";
      bad.tensors[name].shape.push_back(1);
      if (tensor.dtype == "I32") bad.tensors[name].dtype = "U32";
      expect_refused(bad, {name, "dtype"});
      bad = good;
      // As many bytes in another shape.
      std::vector<int64_t>& shape = bad.tensors[name].shape;
      if (shape.size() == 2 && shape[0] != shape[1]) std::swap(shape[0], shape[1]);
      shape.size() == 1 || shape[0] == shape[1] ? shape.insert(shape.begin(), 1) : shape.begin();
      expect_refused(bad, {name, "shape", "expected ["});
    }
  }
}

TEST_F(QuantizedTensorSourceTest, GroupsAndShapesInTensors_AreChecked) {
  const std::string down = kDown;
  Checkpoint checkpoint =
      make_checkpoint({.kind = CheckpointKind::kGptqV1, .group_list = true, .act_order = true});
  for (const int32_t group : {5, -1, 1 << 30}) {  // 160 inputs in groups of 32
    Checkpoint bad = checkpoint;
    std::memcpy(bad.tensors[down + ".g_idx"].bytes.data() + 12, &group, 4);
    expect_refused(bad, {down + ".g_idx", "element 3", std::to_string(group), "0 to 4"});
  }
  checkpoint = make_checkpoint({.kind = CheckpointKind::kPacked4});
  checkpoint.tensors[down + ".weight_shape"].bytes[0] = 127;
  expect_refused(checkpoint, {down + ".weight_shape", "[127, 160]", "[128, 160]"});
}

TEST_F(QuantizedTensorSourceTest, ConfigAndFileOfDifferentKinds_AreRefused) {
  Checkpoint checkpoint = make_checkpoint({.kind = CheckpointKind::kAwq});
  checkpoint.config_json = make_checkpoint({.kind = CheckpointKind::kPacked4}).config_json;
  expect_refused(checkpoint, {"weight_packed", "missing"});
  checkpoint = make_checkpoint({.kind = CheckpointKind::kAwq});
  const std::string key = "\"quantization_config\"";
  checkpoint.config_json.replace(checkpoint.config_json.find(key), key.size(), "\"other\"");
  expect_refused(checkpoint, {"I32", "quantization_config"});
  // All matrices plain: the config promises what is not there.
  checkpoint = make_checkpoint({.kind = CheckpointKind::kAwq, .plain_modules = {"proj"}});
  expect_refused(checkpoint, {"awq", "no matrix is quantized"});
}

TEST_F(QuantizedTensorSourceTest, Views_LiveUntilTheyAreReleased) {
  const Checkpoint checkpoint = make_checkpoint({.kind = CheckpointKind::kAwq});
  checkpoint.write(temporary_.path());
  const ModelFiles model = open_model(temporary_.path()).value();
  const std::string up = std::string(kUp) + ".weight", down = std::string(kDown) + ".weight";
  const SourceTensor a = model.weights->tensor(up).value();
  const SourceTensor b = model.weights->tensor(down).value();
  const SourceTensor c = model.weights->tensor(up).value();
  model.weights->release(c);
  const SourceTensor d = model.weights->tensor(down).value();
  EXPECT_EQ(values_of(a), checkpoint.expected.at(up));
  EXPECT_EQ(values_of(b), checkpoint.expected.at(down));
  EXPECT_EQ(values_of(d), checkpoint.expected.at(down));
  for (const SourceTensor& tensor : {a, b, d}) model.weights->release(tensor);
  EXPECT_FALSE(model.weights->tensor("model.layers.7.mlp.up_proj.weight").ok());
  EXPECT_FALSE(model.weights->contains(std::string(kUp) + ".qweight"));
}

void fuzz(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

// The file behind byte 4 of the fuzz entry; the next two choose scheme and group size.
TEST_F(QuantizedTensorSourceTest, TruncatedAndMutatedFiles_NeverCrash) {
  struct Kind {
    char scheme, group;
    CheckpointOptions options;
  };
  Kind kinds[] = {{0, 1, made_options(CheckpointKind::kAwq, 64)},
                  {1 + 16 + 32, 0, made_options(CheckpointKind::kGptqV1, 32)},
                  {2 + 8, 2, made_options(CheckpointKind::kPacked4Asymmetric, 128)},
                  {3, 3, made_options(CheckpointKind::kInt8, -1)}};
  kinds[1].options.group_list = kinds[1].options.act_order = true;
  uint64_t counter = 0;
  auto next = [&](uint64_t bound) { return random_bits(5, 2, counter++) % bound; };
  for (const Kind& kind : kinds) {
    const std::string seed =
        std::string{'\4', kind.scheme, kind.group} + make_checkpoint(kind.options).safetensors();
    for (int round = 0; round < 300; ++round) {
      std::string input = seed;
      if (round % 4 == 0) input.resize(3 + next(input.size() - 3));
      for (uint64_t change = next(4); change > 0; --change) {
        // Most of what matters stands in the header.
        input[3 + next(std::min<uint64_t>(input.size() - 3, 3000))] = static_cast<char>(next(256));
      }
      fuzz(input);
    }
    fuzz(seed);
  }
}

// The fuzz entry itself checks that a made model without changes is opened and decoded right.
TEST_F(QuantizedTensorSourceTest, FuzzEntry_DecodesEveryModelItMakes) {
  for (char kind = 0; kind < kNumMadeKinds; ++kind) {
    for (char group = 0; group < 4; ++group) {
      for (const char more : {0, 4 + 16, 8 + 32, 64}) {
        fuzz({'\5', kind, static_cast<char>(group + more)});
      }
    }
  }
  for (size_t type = 0; type < num_made_gguf_types(); ++type) fuzz({'\6', static_cast<char>(type)});
  fuzz("\7");
}

TEST_F(QuantizedTensorSourceTest, ChangedMadeModels_NeverCrash) {
  uint64_t counter = 0;
  auto next = [&](uint64_t bound) { return random_bits(6, 2, counter++) % bound; };
  for (int round = 0; round < 600; ++round) {
    std::string input;
    if (round % 3 == 0) {
      input = {'\6', static_cast<char>(next(num_made_gguf_types()))};
    } else {
      input = {'\5', static_cast<char>(next(kNumMadeKinds)), static_cast<char>(next(128))};
    }
    for (uint64_t bytes = kChangeBytes * (1 + next(4)); bytes > 0; --bytes) {
      input += static_cast<char>(next(256));
    }
    fuzz(input);
    if (round % 6 != 0) continue;
    input = '\7' + made_index();
    input[1 + next(input.size() - 1)] = static_cast<char>(next(128));
    fuzz(input);
  }
}

std::string corpus_file(const std::string& name) {
  return read_file("tests/fuzz/corpus/model_files/" + name, 1u << 20).value();
}

// Whole files in the corpus are what is made here; one that differs is written anew by hand.
TEST_F(QuantizedTensorSourceTest, SeedsOfTheFuzzEntry_AreWholeModels) {
  CheckpointOptions options = made_options(CheckpointKind::kGptqV1, 32);
  options.group_list = options.act_order = true;
  const std::pair<std::string, std::string> seeds[] = {
      {"quantized_gptq",
       std::string{'\4', 1 + 16 + 32, 0} + make_checkpoint(options).safetensors()},
      {"quantized_packed",
       std::string{'\4', 2 + 8, 0} +
           make_checkpoint(made_options(CheckpointKind::kPacked4Asymmetric, 32)).safetensors()},
      {"index", '\7' + made_index()}};
  for (const auto& [name, content] : seeds) {
    EXPECT_LT(content.size(), 16384u);
    const bool same = corpus_file(name) == content;
    EXPECT_TRUE(same) << name << ": see " << testing::TempDir() << name;
    if (!same) {
      EXPECT_TRUE(write_file_atomically(testing::TempDir() + name, content).ok());
    }
    fuzz(content);
  }
}

}  // namespace
}  // namespace sparrow
