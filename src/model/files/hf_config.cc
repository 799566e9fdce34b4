#include "model/files/hf_config.h"

#include <fmt/format.h>

#include <cmath>

#include "base/json.h"
#include "model/files/config_fields.h"
#include "model/files/config_limits.h"

namespace sparrow {
namespace {

namespace json = boost::json;

// JSON far larger than any real config is not one.
constexpr JsonLimits kConfigLimits = {.max_bytes = 1u << 20, .max_depth = 32};
constexpr size_t kMaxEosIds = 64;

Status refuse(const ConfigFields& fields, std::string_view field, std::string_view what_to_do) {
  return unimplemented(fmt::format("{}: {}: found {}, which is not supported; {}", fields.path(),
                                   field, printable_json(*fields.find(field)), what_to_do));
}

Status check_architecture(const ConfigFields& fields) {
  ASSIGN_OR_RETURN(const auto model_type, fields.optional_string("model_type"));
  if (model_type != "qwen2") {
    if (!model_type.has_value()) return fields.wrong("model_type", "\"qwen2\"");
    return refuse(fields, "model_type",
                  "expected \"qwen2\" (DeepSeek-R1-Distill-Qwen, Qwen2, Qwen2.5)");
  }
  const json::value* architectures = fields.find("architectures");
  if (architectures == nullptr) return ok_status();
  const json::array* list = architectures->if_array();
  if (list == nullptr || list->size() != 1) {
    return fields.wrong("architectures", "[\"Qwen2ForCausalLM\"]");
  }
  if (*list->begin() != "Qwen2ForCausalLM") {
    return unimplemented(
        fmt::format("{}: architectures: found {}, which is not supported; "
                    "expected \"Qwen2ForCausalLM\"",
                    fields.path(), printable_json(*list->begin())));
  }
  return ok_status();
}

// transformers 5 writes rope_parameters {rope_theta, rope_type}; older files rope_theta and, only
// when positions are scaled, rope_scaling {type | rope_type, ...}.
Status read_rope(const ConfigFields& fields, ModelConfig& config) {
  ASSIGN_OR_RETURN(std::optional<double> theta, fields.optional_number("rope_theta"));
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const json::value* value = fields.find(name);
    if (value == nullptr) continue;
    if (!value->is_object()) return fields.wrong(name, "an object");
    const ConfigFields rope(value->get_object(), fmt::format("{}: {}", fields.path(), name));
    for (const char* key : {"type", "rope_type"}) {
      ASSIGN_OR_RETURN(const auto type, rope.optional_string(key));
      if (type.has_value() && *type != "default") {
        return refuse(rope, key,
                      "remove it to run without position scaling, within the original context");
      }
    }
    if (rope.find("factor") != nullptr) return refuse(rope, "factor", "remove it");
    ASSIGN_OR_RETURN(const auto inner, rope.optional_number("rope_theta"));
    if (inner.has_value()) theta = inner;
  }
  if (theta.has_value()) config.rope_theta = static_cast<float>(*theta);
  return ok_status();
}

Status check_unsupported(const ConfigFields& fields) {
  ASSIGN_OR_RETURN(const bool sliding, fields.bool_or("use_sliding_window", false));
  if (sliding) {
    return refuse(fields, "use_sliding_window", "set it to false to use full attention");
  }
  if (const json::value* types = fields.find("layer_types")) {
    if (!types->is_array()) return fields.wrong("layer_types", "an array");
    for (const json::value& type : types->get_array()) {
      if (type != "full_attention") {
        return unimplemented(
            fmt::format("{}: layer_types: found {}, which is not supported; "
                        "expected \"full_attention\"",
                        fields.path(), printable_json(type)));
      }
    }
  }
  ASSIGN_OR_RETURN(const auto activation, fields.optional_string("hidden_act"));
  if (activation.has_value() && *activation != "silu") {
    return refuse(fields, "hidden_act", "expected \"silu\"");
  }
  ASSIGN_OR_RETURN(const bool mrope, fields.bool_or("use_mrope", false));
  if (mrope) return refuse(fields, "use_mrope", "set it to false if the model is text only");
  return ok_status();
}

// A number, a list of numbers, or nothing.
Result<std::vector<TokenId>> read_eos(const ConfigFields& fields, int32_t vocab_size) {
  std::vector<TokenId> ids;
  const json::value* value = fields.find("eos_token_id");
  if (value == nullptr) return ids;
  const std::string expected = fmt::format("ids from 0 to {}", vocab_size - 1);
  auto append = [&](const json::value& id) {
    const int64_t* number = id.if_int64();
    if (number == nullptr || *number < 0 || *number >= vocab_size) return false;
    ids.push_back(static_cast<TokenId>(*number));
    return true;
  };
  if (const json::array* list = value->if_array()) {
    if (list->size() > kMaxEosIds) return fields.wrong("eos_token_id", expected);
    for (const json::value& id : *list) {
      if (!append(id)) return fields.wrong("eos_token_id", expected);
    }
    return ids;
  }
  if (!append(*value)) return fields.wrong("eos_token_id", expected);
  return ids;
}

Result<int32_t> size_field(const ConfigFields& fields, const char* name, int32_t max) {
  ASSIGN_OR_RETURN(const int64_t value, fields.required_int(name, 1, max));
  return static_cast<int32_t>(value);
}

}  // namespace

Result<ModelConfig> parse_hf_config(const json::value& value, const std::string& path) {
  if (!value.is_object()) {
    return invalid_argument(fmt::format("{}: expected a JSON object", path));
  }
  const ConfigFields fields(value.get_object(), path);
  RETURN_IF_ERROR(check_architecture(fields));
  RETURN_IF_ERROR(check_unsupported(fields));
  ModelConfig config;
  ASSIGN_OR_RETURN(config.hidden_size, size_field(fields, "hidden_size", kMaxHiddenSize));
  ASSIGN_OR_RETURN(config.intermediate_size,
                   size_field(fields, "intermediate_size", kMaxIntermediateSize));
  ASSIGN_OR_RETURN(config.num_layers, size_field(fields, "num_hidden_layers", kMaxLayers));
  ASSIGN_OR_RETURN(config.num_heads, size_field(fields, "num_attention_heads", kMaxHeads));
  ASSIGN_OR_RETURN(config.vocab_size, size_field(fields, "vocab_size", kMaxVocabSize));
  ASSIGN_OR_RETURN(config.max_position,
                   size_field(fields, "max_position_embeddings", kMaxPosition));
  ASSIGN_OR_RETURN(const auto num_kv_heads,
                   fields.optional_int("num_key_value_heads", 1, config.num_heads));
  config.num_kv_heads = static_cast<int32_t>(num_kv_heads.value_or(config.num_heads));
  ASSIGN_OR_RETURN(const auto head_dim, fields.optional_int("head_dim", 1, kMaxHeadDim));
  if (!head_dim.has_value() && config.hidden_size % config.num_heads != 0) {
    return fields.wrong("hidden_size",
                        fmt::format("a multiple of num_attention_heads = {}", config.num_heads));
  }
  config.head_dim = static_cast<int32_t>(head_dim.value_or(config.hidden_size / config.num_heads));
  ASSIGN_OR_RETURN(const auto eps, fields.optional_number("rms_norm_eps"));
  if (eps.has_value()) config.rms_norm_eps = static_cast<float>(*eps);
  RETURN_IF_ERROR(read_rope(fields, config));
  ASSIGN_OR_RETURN(config.tied_embeddings, fields.bool_or("tie_word_embeddings", false));
  ASSIGN_OR_RETURN(config.eos_token_ids, read_eos(fields, config.vocab_size));
  ASSIGN_OR_RETURN(const auto bos, fields.optional_int("bos_token_id", 0, config.vocab_size - 1));
  config.bos_token_id = static_cast<TokenId>(bos.value_or(-1));
  RETURN_IF_ERROR(check_model_config(config, path));
  return config;
}

Result<json::value> read_hf_config_json(const std::string& path) {
  return parse_json_file(path, kConfigLimits);
}

Result<ModelConfig> read_hf_config(const std::string& path) {
  ASSIGN_OR_RETURN(const json::value value, read_hf_config_json(path));
  return parse_hf_config(value, path);
}

Result<GenerationDefaults> parse_generation_config(const json::value& value,
                                                   const ModelConfig& model,
                                                   const std::string& path) {
  if (!value.is_object()) {
    return invalid_argument(fmt::format("{}: expected a JSON object", path));
  }
  const ConfigFields fields(value.get_object(), path);
  GenerationDefaults defaults;
  ASSIGN_OR_RETURN(defaults.temperature, fields.optional_number("temperature"));
  ASSIGN_OR_RETURN(defaults.top_p, fields.optional_number("top_p"));
  ASSIGN_OR_RETURN(defaults.min_p, fields.optional_number("min_p"));
  ASSIGN_OR_RETURN(defaults.repetition_penalty, fields.optional_number("repetition_penalty"));
  ASSIGN_OR_RETURN(const auto top_k, fields.optional_int("top_k", -1, kMaxVocabSize));
  if (top_k.has_value()) defaults.top_k = static_cast<int>(*top_k);
  auto check = [&](const char* name, const std::optional<double>& found, double low, double high) {
    if (!found.has_value() || (*found >= low && *found <= high)) return ok_status();
    return fields.wrong(name, fmt::format("{} to {}", low, high));
  };
  RETURN_IF_ERROR(check("temperature", defaults.temperature, 0, 100));
  RETURN_IF_ERROR(check("top_p", defaults.top_p, 0, 1));
  RETURN_IF_ERROR(check("min_p", defaults.min_p, 0, 1));
  RETURN_IF_ERROR(check("repetition_penalty", defaults.repetition_penalty, 0.01, 100));
  // Greedy defaults are written as do_sample false beside a temperature that then does not count.
  ASSIGN_OR_RETURN(const bool do_sample, fields.bool_or("do_sample", true));
  if (!do_sample) defaults.temperature = 0.0;
  ASSIGN_OR_RETURN(defaults.eos_token_ids, read_eos(fields, model.vocab_size));
  return defaults;
}

}  // namespace sparrow
