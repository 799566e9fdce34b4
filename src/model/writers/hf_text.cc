#include "model/writers/hf_text.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/json.h"
#include "quant/convert_int_groups.h"

namespace sparrow {
namespace {

const char* safetensors_dtype(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return "F32";
    case TensorType::kF16:
      return "F16";
    case TensorType::kBF16:
      return "BF16";
    default:
      CHECK(false && "a block type in a safetensors file");
      return "";
  }
}

const char* torch_dtype(TensorType type) {
  return type == TensorType::kF32 ? "float32" : type == TensorType::kF16 ? "float16" : "bfloat16";
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string number(double value) {
  std::string out;
  append_json_number(out, value);
  return out;
}

// A list only where there are several: both forms are usual, the plain number the commoner.
std::string eos_text(const std::vector<TokenId>& ids) {
  if (ids.empty()) return "null";
  if (ids.size() == 1) return std::to_string(ids[0]);
  return fmt::format("[{}]", fmt::join(ids, ", "));
}

const AddedToken* find_added(const TokenizerSpec& spec, TokenId id) {
  for (const AddedToken& token : spec.added_tokens) {
    if (token.id == id) return &token;
  }
  return nullptr;
}

// The text of a token that tokenizer_config.json names, or null.
std::string token_text(const TokenizerSpec& spec, TokenId id) {
  const AddedToken* added = find_added(spec, id);
  return added == nullptr ? "null" : json_string(added->content);
}

// As compressed-tensors writes it for weights alone: vLLM and transformers read the presets W4A16
// and W8A16 in this form. Empty when nothing is quantized.
std::string quantization_config_text(const std::vector<PlannedTensor>& tensors) {
  constexpr std::string_view kWeight = ".weight";
  std::optional<TensorType> type;
  std::string ignored;
  for (const PlannedTensor& tensor : tensors) {
    if (is_int_group(tensor.type)) {
      CHECK(!type.has_value() || type == tensor.type);
      type = tensor.type;
    } else if (!tensor.is_vector && tensor.name != "model.embed_tokens.weight") {
      if (!ignored.empty()) ignored += ", ";
      ignored += json_string(tensor.name.substr(0, tensor.name.size() - kWeight.size()));
    }
  }
  if (!type.has_value()) return "";
  // The class is named for a tied head, too, which has no tensor.
  if (ignored.find("\"lm_head\"") == std::string::npos) {
    ignored = ignored.empty() ? "\"lm_head\"" : "\"lm_head\", " + ignored;
  }
  const bool four = is_int4_group(*type);
  const std::string group = four ? std::to_string(tensor_type_info(*type).block_elements) : "null";
  return fmt::format(R"({{
    "config_groups": {{
      "group_0": {{
        "input_activations": null,
        "output_activations": null,
        "targets": ["Linear"],
        "weights": {{
          "actorder": null,
          "block_structure": null,
          "dynamic": false,
          "group_size": {},
          "num_bits": {},
          "observer": "minmax",
          "observer_kwargs": {{}},
          "strategy": "{}",
          "symmetric": true,
          "type": "int"
        }}
      }}
    }},
    "format": "pack-quantized",
    "ignore": [{}],
    "kv_cache_scheme": null,
    "quant_method": "compressed-tensors",
    "quantization_status": "compressed"
  }})",
                     group, four ? 4 : 8, four ? "group" : "channel", ignored);
}

}  // namespace

std::vector<SafetensorsPlan> safetensors_plan(const std::vector<PlannedTensor>& tensors,
                                              TensorType scale_type) {
  std::vector<SafetensorsPlan> out;
  for (const PlannedTensor& tensor : tensors) {
    if (is_int_group(tensor.type)) {
      for (SafetensorsPlan& part :
           packed_tensors(tensor.name, tensor.type, tensor.rows, tensor.cols, scale_type)) {
        out.push_back(std::move(part));
      }
      continue;
    }
    const auto shape = tensor.is_vector ? std::vector<int64_t>{tensor.cols}
                                        : std::vector<int64_t>{tensor.rows, tensor.cols};
    out.push_back({tensor.name, safetensors_dtype(tensor.type), shape, tensor.size_bytes()});
  }
  return out;
}

std::string safetensors_header_text(const std::vector<SafetensorsPlan>& tensors) {
  std::string json = R"({"__metadata__":{"format":"pt"})";
  uint64_t offset = 0;
  for (const SafetensorsPlan& tensor : tensors) {
    const uint64_t end = offset + tensor.size_bytes;
    json += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        json_string(tensor.name), tensor.dtype, fmt::join(tensor.shape, ","),
                        offset, end);
    offset = end;
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t size = json.size();
  std::string out(reinterpret_cast<const char*>(&size), sizeof size);
  return out + json;
}

std::string hf_config_text(const ModelConfig& config, const std::vector<PlannedTensor>& tensors,
                           TensorType plain_type) {
  std::string out = "{\n  \"architectures\": [\"Qwen2ForCausalLM\"],\n";
  auto field = [&](const char* name, const std::string& value) {
    out += fmt::format("  \"{}\": {},\n", name, value);
  };
  field("bos_token_id", config.bos_token_id < 0 ? "null" : std::to_string(config.bos_token_id));
  field("eos_token_id", eos_text(config.eos_token_ids));
  field("head_dim", std::to_string(config.head_dim));
  field("hidden_act", "\"silu\"");
  field("hidden_size", std::to_string(config.hidden_size));
  field("intermediate_size", std::to_string(config.intermediate_size));
  field("max_position_embeddings", std::to_string(config.max_position));
  field("model_type", "\"qwen2\"");
  field("num_attention_heads", std::to_string(config.num_heads));
  field("num_hidden_layers", std::to_string(config.num_layers));
  field("num_key_value_heads", std::to_string(config.num_kv_heads));
  const std::string quantization = quantization_config_text(tensors);
  if (!quantization.empty()) field("quantization_config", quantization);
  field("rms_norm_eps", fmt::format("{}", config.rms_norm_eps));
  field("rope_theta", fmt::format("{:.1f}", config.rope_theta));
  field("tie_word_embeddings", config.tied_embeddings ? "true" : "false");
  field("torch_dtype", json_string(torch_dtype(plain_type)));
  field("use_sliding_window", "false");
  out += fmt::format("  \"vocab_size\": {}\n}}\n", config.vocab_size);
  return out;
}

std::string hf_generation_text(const ModelDescription& description) {
  const GenerationDefaults& defaults = description.generation;
  std::string out = "{\n";
  if (defaults.temperature.has_value()) {
    out += fmt::format("  \"do_sample\": {},\n  \"temperature\": {},\n",
                       *defaults.temperature > 0 ? "true" : "false", number(*defaults.temperature));
  }
  if (defaults.top_p.has_value()) out += fmt::format("  \"top_p\": {},\n", number(*defaults.top_p));
  if (defaults.top_k.has_value()) out += fmt::format("  \"top_k\": {},\n", *defaults.top_k);
  if (defaults.min_p.has_value()) out += fmt::format("  \"min_p\": {},\n", number(*defaults.min_p));
  if (defaults.repetition_penalty.has_value()) {
    out += fmt::format("  \"repetition_penalty\": {},\n", number(*defaults.repetition_penalty));
  }
  out += fmt::format("  \"eos_token_id\": {}\n}}\n",
                     eos_text(defaults.eos_token_ids.empty() ? description.config.eos_token_ids
                                                             : defaults.eos_token_ids));
  return out;
}

std::string hf_tokenizer_text(const TokenizerSpec& spec) {
  std::string out = "{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n";
  out += "\"added_tokens\": [";
  const char* separator = "\n";
  for (const AddedToken& token : spec.added_tokens) {
    out += fmt::format(
        "{}{{\"id\": {}, \"content\": {}, \"single_word\": {}, \"lstrip\": {}, \"rstrip\": {}, "
        "\"normalized\": {}, \"special\": {}}}",
        separator, token.id, json_string(token.content), token.single_word, token.lstrip,
        token.rstrip, token.normalized, token.special);
    separator = ",\n";
  }
  out += "],\n";
  out += spec.nfc ? "\"normalizer\": {\"type\": \"NFC\"},\n" : "\"normalizer\": null,\n";
  const std::string byte_level =
      R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, )"
      R"("use_regex": false})";
  out += "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [";
  if (!spec.split_pattern.empty()) {
    out += fmt::format(
        "{{\"type\": \"Split\", \"pattern\": {{\"Regex\": {}}}, \"behavior\": "
        "\"Isolated\", \"invert\": false}}, ",
        json_string(spec.split_pattern));
  }
  out += byte_level + "]},\n\"post_processor\": " + byte_level + ",\n\"decoder\": " + byte_level;
  out += fmt::format(
      ",\n\"model\": {{\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
      "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
      "\"byte_fallback\": false, \"ignore_merges\": {},\n\"vocab\": {{",
      spec.ignore_merges);
  separator = "\n";
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    if (spec.pieces[id].empty()) continue;
    out += fmt::format("{}{}: {}", separator, json_string(spec.pieces[id]), id);
    separator = ",\n";
  }
  out += "},\n\"merges\": [";
  separator = "\n";
  for (const auto& [left, right] : spec.merges) {
    out += separator + json_string(left + " " + right);
    separator = ",\n";
  }
  return out + "]}\n}\n";
}

std::string hf_tokenizer_config_text(const TokenizerSpec& spec, const std::string& chat_template) {
  std::string out = fmt::format(
      "{{\n  \"add_bos_token\": {},\n  \"add_eos_token\": false,\n  \"bos_token\": {},\n"
      "  \"eos_token\": {},\n  \"tokenizer_class\": \"{}\"",
      spec.add_bos, token_text(spec, spec.bos_token_id), token_text(spec, spec.eos_token_id),
      spec.add_bos ? "LlamaTokenizerFast" : "PreTrainedTokenizerFast");
  if (!chat_template.empty()) out += ",\n  \"chat_template\": " + json_string(chat_template);
  return out + "\n}\n";
}

}  // namespace sparrow
