#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <limits>

#include "base/file.h"
#include "base/random.h"
#include "model/files/mapped_tensor_source.h"
#include "model/model_files.h"
#include "quant/convert_row.h"
#include "tests/support/test_data.h"
#include "tools/synth/synth_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sparrow {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLimit = 64u << 20;

// A model of a few KB; vocabulary and tokenizer are the byte tokenizer's.
constexpr char kConfig[] = R"({
  "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 32,
  "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
  "num_key_value_heads": 1, "vocab_size": 264, "max_position_embeddings": 64,
  "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
  "tie_word_embeddings": true})";

class OpenModelTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(write_file_atomically(temporary_.path("small.json"), kConfig).ok());
    // Rows that hold a super-block.
    std::string wide = kConfig;
    for (const char* size : {"\"hidden_size\": 32", "\"intermediate_size\": 32"}) {
      wide.replace(wide.find(size), std::strlen(size),
                   std::string(size, std::strlen(size) - 2) + "256");
    }
    ASSERT_TRUE(write_file_atomically(temporary_.path("wide.json"), wide).ok());
  }

  std::string make(const std::string& name, TensorType type) {
    SynthOptions options;
    const bool super = tensor_type_info(type).block_elements > 32;
    options.config = temporary_.path(super ? "wide.json" : "small.json");
    options.type = type;
    options.out_path = temporary_.path(name);
    options.num_threads = 1;
    const Status status = synth_model(options, nullptr);
    EXPECT_TRUE(status.ok()) << status.message();
    return options.out_path;
  }

  static std::string content_of(const std::string& path) { return read_file(path, kLimit).value(); }

  // Replaces the first `from` (which must be there) in a file.
  static void edit(const std::string& path, const std::string& from, const std::string& to) {
    std::string content = content_of(path);
    const size_t at = content.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    content.replace(at, from.size(), to);
    ASSERT_TRUE(write_file_atomically(path, content).ok());
  }

  static void expect_refused(const std::string& path, const std::vector<std::string>& parts) {
    const Result<ModelFiles> model = open_model(path);
    ASSERT_FALSE(model.ok()) << testing::PrintToString(parts);
    EXPECT_EQ(model.message().find('\n'), std::string::npos);
    for (const std::string& part : parts) {
      EXPECT_NE(model.message().find(part), std::string::npos) << model.message();
    }
  }

  TemporaryDirectory temporary_;
};

TEST_F(OpenModelTest, Missing_SaysWhatWasExpected) {
  expect_refused(temporary_.path("nothing"), {"no such file", "config.json", ".gguf"});
  fs::create_directory(temporary_.path("empty"));
  expect_refused(temporary_.path("empty"), {"found no config.json"});
  const std::string path = make("m", TensorType::kF32);
  expect_refused(path + "/model.safetensors", {"the directory that holds it"});
  fs::remove(path + "/model.safetensors");
  expect_refused(path, {"found no weights", "model.safetensors.index.json"});
}

TEST_F(OpenModelTest, ConfigFields_AreRefusedByName) {
  const std::string path = make("m", TensorType::kF32);
  const std::string config = path + "/config.json";
  const std::string original = content_of(config);
  struct Case {
    std::string field;  // inserted in front
    std::vector<std::string> parts;
  };
  // A repeated key wins over the earlier one, so an insertion at the end overrides.
  const Case cases[] = {
      {R"("model_type": "llama")", {"model_type", "llama", "qwen2"}},
      {R"("architectures": ["Qwen2VLForConditionalGeneration"])", {"architectures", "Qwen2VL"}},
      {R"("rope_scaling": {"type": "yarn", "factor": 4.0})", {"rope_scaling", "yarn"}},
      {R"("rope_scaling": {"rope_type": "dynamic"})", {"rope_scaling", "dynamic"}},
      {R"("use_sliding_window": true)", {"use_sliding_window", "true"}},
      {R"("layer_types": ["sliding_attention"])", {"layer_types", "sliding_attention"}},
      {R"("hidden_act": "gelu")", {"hidden_act", "gelu", "silu"}},
      {R"("quantization_config": {"quant_method": "fp8"})", {"quantization_config", "fp8", "GGUF"}},
      {R"("hidden_size": 0)", {"hidden_size", "found 0"}},
      {R"("hidden_size": -32)", {"hidden_size", "found -32"}},
      {R"("hidden_size": 1e3)", {"hidden_size", "whole number"}},
      {R"("hidden_size": "32")", {"hidden_size", "\"32\""}},
      {R"("hidden_size": 99999999999999999999)", {"hidden_size"}},
      {R"("num_hidden_layers": 2147483648)", {"num_hidden_layers", "2147483648"}},
      {R"("num_attention_heads": 0)", {"num_attention_heads", "found 0"}},
      {R"("num_key_value_heads": 0)", {"num_key_value_heads", "found 0"}},
      {R"("num_attention_heads": 3, "head_dim": 16, "num_key_value_heads": 2)",
       {"num_key_value_heads", "divisor"}},
      {R"("head_dim": 15)", {"head_dim", "even"}},
      {R"("rms_norm_eps": 0)", {"rms_norm_eps"}},
      {R"("rms_norm_eps": "small")", {"rms_norm_eps", "\"small\""}},
      {R"("rope_theta": 1e400)", {"config.json"}},
      {R"("rope_theta": 0)", {"rope_theta"}},
      {R"("eos_token_id": 264)", {"eos_token_id", "264"}},
      {R"("eos_token_id": [1, -1])", {"eos_token_id"}},
      {R"("vocab_size": 263)", {"shape", "[264, 32]", "[263, 32]"}},
      {R"("num_hidden_layers": 2)", {"model.layers.1.input_layernorm.weight", "missing"}},
      {R"("tie_word_embeddings": false)", {"lm_head.weight", "missing"}},
      {R"("intermediate_size": 64)", {"mlp.gate_proj.weight", "shape", "[32, 32]", "[64, 32]"}},
  };
  for (const Case& bad : cases) {
    std::string text = original;
    text.insert(text.rfind('}'), ", " + bad.field);
    ASSERT_TRUE(write_file_atomically(config, text).ok());
    expect_refused(path, bad.parts);
  }
  for (const char* harmless :
       {R"("rope_scaling": null)", R"("sliding_window": 4096, "max_window_layers": 21)",
        R"("rope_parameters": {"rope_type": "default", "rope_theta": 5000.0})",
        R"("layer_types": ["full_attention"])", R"("unknown_field": [1, 2])"}) {
    std::string text = original;
    text.insert(text.rfind('}'), std::string(", ") + harmless);
    ASSERT_TRUE(write_file_atomically(config, text).ok());
    const Result<ModelFiles> model = open_model(path);
    EXPECT_TRUE(model.ok()) << harmless << ": " << model.message();
  }
}

TEST_F(OpenModelTest, OddOffsets_GiveTheSameValues) {
  const std::string path = make("m", TensorType::kBF16);
  const ModelFiles aligned = open_model(path).value();
  const std::string file = path + "/model.safetensors";
  std::string content = content_of(file);
  uint64_t header;
  std::memcpy(&header, content.data(), sizeof header);
  content.insert(8 + header, " ");
  ++header;
  std::memcpy(content.data(), &header, sizeof header);
  fs::create_directory(temporary_.path("odd"));
  fs::copy(path, temporary_.path("odd"));
  ASSERT_TRUE(write_file_atomically(temporary_.path("odd/model.safetensors"), content).ok());
  const Result<ModelFiles> odd = open_model(temporary_.path("odd"));
  ASSERT_TRUE(odd.ok()) << odd.message();
  const SourceTensor a = aligned.weights->tensor("model.embed_tokens.weight").value();
  const SourceTensor b = odd->weights->tensor("model.embed_tokens.weight").value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.bytes.data()) % 2, 1u);
  ASSERT_EQ(a.bytes.size(), b.bytes.size());
  EXPECT_EQ(std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()), 0);
  EXPECT_TRUE(validate_tensor("model.embed_tokens.weight", b).ok());
}

TEST_F(OpenModelTest, NotANumberInANorm_IsRefusedByName) {
  const std::string path = make("m.gguf", TensorType::kQ8_0);
  std::string content = content_of(path);
  float nan = std::numeric_limits<float>::quiet_NaN();
  const ModelFiles model = open_model(path).value();
  const SourceTensor last = model.weights->tensor("model.norm.weight").value();
  // output_norm is the last tensor: its 32 floats end the file.
  std::memcpy(content.data() + content.size() - last.bytes.size() + 20, &nan, sizeof nan);
  ASSERT_TRUE(write_file_atomically(path, content).ok());
  expect_refused(path, {"model.norm.weight", "element 5", "NaN"});
}

TEST_F(OpenModelTest, NotANumberAsBlockScale_IsFoundByValidation) {
  const std::string path = make("m.gguf", TensorType::kQ8_0);
  const ModelFiles model = open_model(path).value();
  SourceTensor tensor = model.weights->tensor("model.layers.0.mlp.up_proj.weight").value();
  EXPECT_TRUE(validate_tensor("up", tensor).ok());
  std::vector<std::byte> bytes(tensor.bytes.begin(), tensor.bytes.end());
  bytes[34 * 7] = std::byte{0};
  bytes[34 * 7 + 1] = std::byte{0x7c};  // infinity
  tensor.bytes = bytes;
  EXPECT_NE(validate_tensor("up", tensor).message().find("element 224"), std::string::npos);
}

TEST_F(OpenModelTest, Shards_ActLikeOneFile) {
  const std::string path = make("m", TensorType::kF32);
  const std::string file = path + "/model.safetensors";
  const std::string first = path + "/model-00001-of-00002.safetensors";
  // Two shards out of one: the embedding alone, the rest behind it.
  const std::string content = content_of(file);
  uint64_t header;
  std::memcpy(&header, content.data(), sizeof header);
  const std::string data = content.substr(8 + header);
  const size_t embedding_bytes = 264 * 32 * 4;
  auto shard = [](const std::string& json, const std::string& bytes) {
    const uint64_t size = json.size();
    return std::string(reinterpret_cast<const char*>(&size), sizeof size) + json + bytes;
  };
  const std::string name = "model.embed_tokens.weight";
  ASSERT_TRUE(
      write_file_atomically(
          first, shard("{\"" + name + R"(":{"dtype":"F32","shape":[264,32],"data_offsets":[0,)" +
                           std::to_string(embedding_bytes) + "]}}",
                       data.substr(0, embedding_bytes)))
          .ok());
  std::string json = content.substr(8, header), weight_map;
  const size_t begin = json.find("\"" + name);
  json.erase(begin, json.find("},", begin) + 2 - begin);
  std::string rest;
  for (size_t at = 0; at < json.size();) {
    static const std::string kKey = "\"data_offsets\":[";
    const size_t found = json.find(kKey, at);
    if (found == std::string::npos) {
      rest += json.substr(at);
      break;
    }
    rest += json.substr(at, found + kKey.size() - at);
    char* end = nullptr;
    const uint64_t low = std::strtoull(json.c_str() + found + kKey.size(), &end, 10);
    const uint64_t high = std::strtoull(end + 1, &end, 10);
    rest += std::to_string(low - embedding_bytes) + "," + std::to_string(high - embedding_bytes);
    at = static_cast<size_t>(end - json.c_str());
  }
  ASSERT_TRUE(
      write_file_atomically(path + "/second.safetensors", shard(rest, data.substr(embedding_bytes)))
          .ok());
  weight_map = "\"" + name + "\": \"model-00001-of-00002.safetensors\"";
  for (const char* part :
       {"input_layernorm.weight", "self_attn.q_proj.weight", "self_attn.q_proj.bias",
        "self_attn.k_proj.weight", "self_attn.k_proj.bias", "self_attn.v_proj.weight",
        "self_attn.v_proj.bias", "self_attn.o_proj.weight", "post_attention_layernorm.weight",
        "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"}) {
    weight_map += std::string(", \"model.layers.0.") + part + "\": \"second.safetensors\"";
  }
  const std::string index = path + "/model.safetensors.index.json";
  auto write_index = [&](const std::string& map) {
    ASSERT_TRUE(
        write_file_atomically(index, "{\"metadata\": {}, \"weight_map\": {" + map + "}}").ok());
  };
  write_index(weight_map + ", \"model.norm.weight\": \"second.safetensors\"");
  const ModelFiles whole = open_model(path).value();
  fs::rename(file, temporary_.path("kept.safetensors"));
  const Result<ModelFiles> sharded = open_model(path);
  ASSERT_TRUE(sharded.ok()) << sharded.message();
  for (const char* tensor : {"model.embed_tokens.weight", "model.norm.weight"}) {
    const SourceTensor a = whole.weights->tensor(tensor).value();
    const SourceTensor b = sharded->weights->tensor(tensor).value();
    ASSERT_EQ(a.bytes.size(), b.bytes.size());
    EXPECT_EQ(std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()), 0) << tensor;
  }
  write_index(weight_map);
  expect_refused(path, {"second.safetensors", "model.norm.weight", "the index does not"});
  write_index(weight_map + ", \"model.norm.weight\": \"../kept.safetensors\"");
  expect_refused(path, {"weight_map", "../kept.safetensors", "beside it"});
  // Found by the fuzzer: the name of a file broke the line of the error.
  for (const std::string& bad : {std::string("a\\nb"), std::string(300, 'x')}) {
    write_index(weight_map + ", \"model.norm.weight\": \"" + bad + "\"");
    expect_refused(path, {"weight_map", "beside it"});
  }
  write_index(weight_map + ", \"model.norm.weight\": \"absent.safetensors\"");
  expect_refused(path, {"absent.safetensors"});
}

TEST_F(OpenModelTest, GgufMetadata_IsRefusedByName) {
  const std::string path = make("m.gguf", TensorType::kF16);
  const std::string original = content_of(path);
  const std::tuple<std::string, std::string, std::vector<std::string>> cases[] = {
      {"qwen2", "llama", {"general.architecture", "llama"}},
      {"gpt2", "bert", {"tokenizer.ggml.model", "bert"}},
      {"deepseek-r1-qwen", "deepseek-llm-llm", {"tokenizer.ggml.pre", "deepseek-llm-llm"}},
      {"qwen2.block_count", "qwen2.block_xxxxx", {"qwen2.block_count", "missing"}},
      {"attention.head_count_kv\x04", "attention.head_count_kv\x06", {"head_count_kv"}},
      {"blk.0.ffn_up", "blk.9.ffn_up", {"blk.0.ffn_up.weight", "missing"}},
  };
  for (const auto& [from, to, parts] : cases) {
    ASSERT_TRUE(write_file_atomically(path, original).ok());
    edit(path, from, to);
    expect_refused(path, parts);
  }
}

TEST_F(OpenModelTest, TokenizerLargerThanTheEmbedding_IsRefused) {
  const std::string path = make("m", TensorType::kF32);
  edit(path + "/tokenizer.json", "\"id\": 262", "\"id\": 264");
  expect_refused(path, {"token id 264", "vocab_size 264"});
}

TEST_F(OpenModelTest, GenerationConfig_IsReadAndChecked) {
  const std::string path = make("m", TensorType::kF32);
  const std::string file = path + "/generation_config.json";
  ASSERT_TRUE(write_file_atomically(
                  file, R"({"do_sample": true, "temperature": 0.6, "top_p": 0.95, "top_k": 20,
                            "repetition_penalty": 1.05, "eos_token_id": [256, 257]})")
                  .ok());
  const Result<ModelFiles> model = open_model(path);
  ASSERT_TRUE(model.ok()) << model.message();
  EXPECT_EQ(model->generation.temperature, 0.6);
  EXPECT_EQ(model->generation.top_k, 20);
  EXPECT_EQ(model->generation.min_p, std::nullopt);
  EXPECT_EQ(model->generation.eos_token_ids, (std::vector<TokenId>{256, 257}));
  ASSERT_TRUE(write_file_atomically(file, R"({"temperature": "hot"})").ok());
  expect_refused(path, {"generation_config.json", "temperature", "hot"});
  ASSERT_TRUE(write_file_atomically(file, R"({"top_p": 7})").ok());
  expect_refused(path, {"generation_config.json", "top_p", "7"});
}

TEST_F(OpenModelTest, GgufTruncatedAnywhere_IsRefused) {
  const std::string content = content_of(make("m.gguf", TensorType::kQ4_0));
  const std::string path = temporary_.path("cut.gguf");
  // Every byte of the first 4 KB; then in larger steps through metadata, infos and data.
  for (size_t length = 0; length < content.size(); length += length < 4096 ? 1 : 97) {
    const std::string cut = std::string(1, '\0') + content.substr(0, length);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(cut.data()), cut.size());
  }
  ASSERT_TRUE(write_file_atomically(path, content.substr(0, content.size() - 1)).ok());
  expect_refused(path, {"cut.gguf", "output_norm.weight", "beyond the file"});
}

// The same mutations on every run: bytes set, numbers made extreme, pieces removed or doubled.
TEST_F(OpenModelTest, MutatedFiles_NeverCrash) {
  const std::string gguf = content_of(make("m.gguf", TensorType::kQ8_0));
  const std::string tensors = content_of(make("m", TensorType::kF16) + "/model.safetensors");
  const std::string seeds[] = {
      std::string(1, '\0') + gguf,
      std::string(1, '\0') + content_of(make("q5_1.gguf", TensorType::kQ5_1)),
      std::string(1, '\0') + content_of(make("q4_k.gguf", TensorType::kQ4_K)),
      std::string(1, '\0') + content_of(make("q6_k.gguf", TensorType::kQ6_K)),
      std::string(1, '\1') + tensors,
      std::string(1, '\2') + kConfig,
      std::string(1, '\3') + R"({"temperature": 0.6, "eos_token_id": [1]})"};
  uint64_t counter = 0;
  auto next = [&](uint64_t bound) { return random_bits(99, 1, counter++) % bound; };
  constexpr uint64_t kExtremes[] = {
      0, 1, 0x7fffffff, 0x80000000, 0xffffffff, uint64_t{1} << 62, uint64_t{1} << 63, ~uint64_t{0}};
  for (size_t round = 0; round < 6000; ++round) {
    std::string input = seeds[round % std::size(seeds)];
    // The header is where the decisions are.
    const uint64_t reach = std::min<uint64_t>(input.size() - 1, next(2) == 0 ? 400 : 12000);
    for (uint64_t change = next(4) + 1; change > 0; --change) {
      const size_t at = 1 + next(std::min<uint64_t>(reach, input.size() - 1));
      switch (next(4)) {
        case 0:
          input[at] = static_cast<char>(next(256));
          break;
        case 1: {
          const uint64_t value = kExtremes[next(8)];
          std::memcpy(input.data() + at, &value, std::min<size_t>(8, input.size() - at));
          break;
        }
        case 2:
          input.erase(at, next(16) + 1);
          break;
        default:
          input.insert(at, input.substr(at, next(32) + 1));
      }
      if (input.size() < 2) break;
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
}

}  // namespace
}  // namespace sparrow
