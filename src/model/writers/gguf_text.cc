#include "model/writers/gguf_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "model/files/gguf_config.h"
#include "model/files/gguf_header.h"
#include "model/files/tensor_layout.h"

namespace sparrow {
namespace {

template <typename T>
void append_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_string(std::string& out, std::string_view text) {
  append_raw<uint64_t>(out, text.size());
  out += text;
}

// general.file_type of llama.cpp for files whose largest part is of this type. Files of Q4_K and
// Q5_K are mixes ("medium", with a head of Q6_K) unless every matrix is of that type ("small").
uint32_t file_type(TensorType type, bool is_mix) {
  switch (type) {
    case TensorType::kF16:
      return 1;
    case TensorType::kQ4_0:
      return 2;
    case TensorType::kQ4_1:
      return 3;
    case TensorType::kQ8_0:
      return 7;
    case TensorType::kQ5_0:
      return 8;
    case TensorType::kQ5_1:
      return 9;
    case TensorType::kQ4_K:
      return is_mix ? 15 : 14;
    case TensorType::kQ5_K:
      return is_mix ? 17 : 16;
    case TensorType::kQ6_K:
      return 18;
    case TensorType::kBF16:
      return 32;
    default:
      return 0;  // F32, and types that we never write
  }
}

// The type that most values of the file's matrices have.
TensorType main_type(const std::vector<PlannedTensor>& tensors, bool& is_mix) {
  std::map<TensorType, int64_t> values;
  for (const PlannedTensor& tensor : tensors) {
    if (!tensor.is_vector) values[tensor.type] += tensor.rows * tensor.cols;
  }
  is_mix = values.size() > 1;
  const auto main =
      std::max_element(values.begin(), values.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return main == values.end() ? TensorType::kF32 : main->first;
}

class Metadata {
 public:
  void put_u32(std::string_view key, int64_t value) {
    begin(key, GgufType::kU32);
    append_raw(bytes_, static_cast<uint32_t>(value));
  }
  void put_i32(std::string_view key, int32_t value) {
    begin(key, GgufType::kI32);
    append_raw(bytes_, value);
  }
  void put_f32(std::string_view key, float value) {
    begin(key, GgufType::kF32);
    append_raw(bytes_, value);
  }
  void put_bool(std::string_view key, bool value) {
    begin(key, GgufType::kBool);
    append_raw<uint8_t>(bytes_, value ? 1 : 0);
  }
  void put_string(std::string_view key, std::string_view value) {
    begin(key, GgufType::kString);
    append_string(bytes_, value);
  }
  void put_strings(std::string_view key, const std::vector<std::string>& values) {
    begin_array(key, GgufType::kString, values.size());
    for (const std::string& value : values) append_string(bytes_, value);
  }
  void put_i32s(std::string_view key, const std::vector<int32_t>& values) {
    begin_array(key, GgufType::kI32, values.size());
    for (const int32_t value : values) append_raw(bytes_, value);
  }

  uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, GgufType type) {
    ++count_;
    append_string(bytes_, key);
    append_raw(bytes_, static_cast<uint32_t>(type));
  }
  void begin_array(std::string_view key, GgufType element, size_t count) {
    begin(key, GgufType::kArray);
    append_raw(bytes_, static_cast<uint32_t>(element));
    append_raw<uint64_t>(bytes_, count);
  }

  uint64_t count_ = 0;
  std::string bytes_;
};

void put_config(const ModelDescription& description, const std::vector<PlannedTensor>& tensors,
                Metadata& metadata) {
  const ModelConfig& config = description.config;
  bool is_mix = false;
  const TensorType type = main_type(tensors, is_mix);
  metadata.put_string("general.architecture", "qwen2");
  metadata.put_string("general.name", description.name);
  metadata.put_u32("general.file_type", file_type(type, is_mix));
  const bool quantized = std::any_of(tensors.begin(), tensors.end(), [](const PlannedTensor& one) {
    return tensor_type_info(one.type).block_elements != 1;
  });
  if (quantized) metadata.put_u32("general.quantization_version", 2);
  metadata.put_u32("qwen2.block_count", config.num_layers);
  metadata.put_u32("qwen2.context_length", config.max_position);
  metadata.put_u32("qwen2.embedding_length", config.hidden_size);
  metadata.put_u32("qwen2.feed_forward_length", config.intermediate_size);
  metadata.put_u32("qwen2.attention.head_count", config.num_heads);
  metadata.put_u32("qwen2.attention.head_count_kv", config.num_kv_heads);
  if (config.head_dim * config.num_heads != config.hidden_size) {
    metadata.put_u32("qwen2.attention.key_length", config.head_dim);
    metadata.put_u32("qwen2.attention.value_length", config.head_dim);
  }
  metadata.put_f32("qwen2.attention.layer_norm_rms_epsilon", config.rms_norm_eps);
  metadata.put_f32("qwen2.rope.freq_base", config.rope_theta);
}

// What the model's makers recommend, under the keys of llama.cpp.
void put_generation(const GenerationDefaults& defaults, Metadata& metadata) {
  const auto put = [&](const char* key, const std::optional<double>& value) {
    if (value.has_value()) metadata.put_f32(key, static_cast<float>(*value));
  };
  put("general.sampling.temp", defaults.temperature);
  put("general.sampling.top_p", defaults.top_p);
  put("general.sampling.min_p", defaults.min_p);
  put("general.sampling.penalty_repeat", defaults.repetition_penalty);
  if (defaults.top_k.has_value()) metadata.put_i32("general.sampling.top_k", *defaults.top_k);
}

// The types llama.cpp's converter gives: control for special tokens and those in the shapes
// <|...|> and <｜...｜>, user defined for the other added ones.
GgufTokenType added_type(const AddedToken& token) {
  const std::string_view text = token.content;
  const bool bars = (text.starts_with("<|") && text.ends_with("|>")) ||
                    (text.starts_with("<\uFF5C") && text.ends_with("\uFF5C>"));
  return token.special || bars ? GgufTokenType::kControl : GgufTokenType::kUserDefined;
}

Status put_tokenizer(const ModelDescription& description, Metadata& metadata) {
  const TokenizerSpec& spec = *description.tokenizer;
  if (spec.split_pattern != kQwen2SplitPattern || spec.ignore_merges) {
    return unimplemented(
        "tokenizer: its split pattern has no GGUF name that we write; expected that of Qwen2, or "
        "write a directory instead");
  }
  const auto size = static_cast<size_t>(description.config.vocab_size);
  std::vector<std::string> tokens = spec.pieces;
  tokens.resize(size);
  std::vector<int32_t> types(size, static_cast<int32_t>(GgufTokenType::kNormal));
  bool is_r1 = false;
  for (const AddedToken& token : spec.added_tokens) {
    const auto id = static_cast<size_t>(token.id);
    tokens[id] = token.content;
    types[id] = static_cast<int32_t>(added_type(token));
    is_r1 = is_r1 || token.content == "<\uFF5CUser\uFF5C>";
  }
  for (size_t id = 0; id < size; ++id) {
    if (!tokens[id].empty()) continue;
    tokens[id] = fmt::format("[PAD{}]", id);
    types[id] = static_cast<int32_t>(GgufTokenType::kUnused);
  }
  std::vector<std::string> merges;
  for (const auto& [left, right] : spec.merges) merges.push_back(left + " " + right);
  metadata.put_string("tokenizer.ggml.model", "gpt2");
  metadata.put_string("tokenizer.ggml.pre", is_r1 ? "deepseek-r1-qwen" : "qwen2");
  metadata.put_strings("tokenizer.ggml.tokens", tokens);
  metadata.put_i32s("tokenizer.ggml.token_type", types);
  metadata.put_strings("tokenizer.ggml.merges", merges);
  if (spec.bos_token_id >= 0) metadata.put_u32("tokenizer.ggml.bos_token_id", spec.bos_token_id);
  if (spec.eos_token_id >= 0) {
    metadata.put_u32("tokenizer.ggml.eos_token_id", spec.eos_token_id);
    metadata.put_u32("tokenizer.ggml.padding_token_id", spec.eos_token_id);
  }
  metadata.put_bool("tokenizer.ggml.add_bos_token", spec.add_bos);
  return ok_status();
}

// Tokens beyond the embedding have no row: the reader would refuse the file.
Status check_ids(const ModelDescription& description) {
  const int64_t vocab_size = description.config.vocab_size;
  int64_t highest = static_cast<int64_t>(description.tokenizer->pieces.size()) - 1;
  for (const AddedToken& token : description.tokenizer->added_tokens) {
    highest = std::max(highest, static_cast<int64_t>(token.id));
    if (token.id < 0) return invalid_argument("tokenizer: an added token has a negative id");
  }
  if (highest < vocab_size) return ok_status();
  return invalid_argument(fmt::format("tokenizer: found token id {}, expected below vocab_size {}",
                                      highest, vocab_size));
}

}  // namespace

Result<std::string> gguf_header_text(const ModelDescription& description,
                                     const std::vector<PlannedTensor>& tensors) {
  Metadata metadata;
  put_config(description, tensors, metadata);
  put_generation(description.generation, metadata);
  if (description.tokenizer.has_value()) {
    RETURN_IF_ERROR(check_ids(description));
    RETURN_IF_ERROR(put_tokenizer(description, metadata));
  }
  if (!description.chat_template.empty()) {
    metadata.put_string("tokenizer.chat_template", description.chat_template);
  }
  std::unordered_map<std::string, std::string> gguf_names;
  for (LayoutTensor& tensor : qwen2_tensor_layout(description.config)) {
    gguf_names.emplace(std::move(tensor.name), std::move(tensor.gguf_name));
  }
  std::string out = "GGUF";
  append_raw<uint32_t>(out, 3);
  append_raw<uint64_t>(out, tensors.size());
  append_raw<uint64_t>(out, metadata.count());
  out += metadata.bytes();
  uint64_t offset = 0;
  for (const PlannedTensor& tensor : tensors) {
    append_string(out, gguf_names.at(tensor.name));
    append_raw<uint32_t>(out, tensor.is_vector ? 1 : 2);
    append_raw<uint64_t>(out, static_cast<uint64_t>(tensor.cols));
    if (!tensor.is_vector) append_raw<uint64_t>(out, static_cast<uint64_t>(tensor.rows));
    append_raw(out, static_cast<uint32_t>(tensor.type));
    append_raw(out, offset);
    offset += (tensor.size_bytes() + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
  }
  out.resize((out.size() + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment, '\0');
  return out;
}

}  // namespace sparrow
