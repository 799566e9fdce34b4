#include "model/files/hf_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "model/files/config_fields.h"
#include "model/files/config_limits.h"

namespace sparrow {
namespace {

namespace json = boost::json;

// Real lists have one entry per module at most.
constexpr size_t kMaxListEntries = 16384;

constexpr const char* kSupported =
    "supported: awq (4 bit, gemm), gptq (4 or 8 bit), compressed-tensors (pack-quantized 4 or 8 "
    "bit, "
    "int-quantized 8 bit), each with groups of a multiple of 32 or one scale a row; or use the "
    "BF16 checkpoint or a GGUF file";

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

Status refuse(const ConfigFields& fields, std::string_view field, std::string_view expected) {
  const json::value* value = fields.find(field);
  return unimplemented(
      fmt::format("{}: {}: found {}, which is not supported; expected {}", fields.path(), field,
                  value == nullptr ? "nothing" : printable_json(*value), expected));
}

// Absent, or one of `allowed` in any case.
Status check_word(const ConfigFields& fields, std::string_view field,
                  std::initializer_list<std::string_view> allowed) {
  ASSIGN_OR_RETURN(const auto found, fields.optional_string(field));
  if (!found.has_value()) return ok_status();
  const std::string word = lower(*found);
  if (std::find(allowed.begin(), allowed.end(), word) != allowed.end()) return ok_status();
  return refuse(fields, field, fmt::format("{}", fmt::join(allowed, " or ")));
}

// Absent, null, {} or [].
Status check_empty(const ConfigFields& fields, std::string_view field) {
  const json::value* value = fields.find(field);
  if (value == nullptr) return ok_status();
  if (value->is_object() && value->get_object().empty()) return ok_status();
  if (value->is_array() && value->get_array().empty()) return ok_status();
  return refuse(fields, field, "none");
}

Result<std::vector<std::string>> string_list(const ConfigFields& fields, std::string_view field) {
  std::vector<std::string> out;
  const json::value* value = fields.find(field);
  if (value == nullptr) return out;
  const std::string expected = fmt::format("a list of at most {} names", kMaxListEntries);
  const json::array* list = value->if_array();
  if (list == nullptr || list->size() > kMaxListEntries) return fields.wrong(field, expected);
  for (const json::value& item : *list) {
    const json::string* text = item.if_string();
    if (text == nullptr || text->empty()) return fields.wrong(field, expected);
    out.emplace_back(text->data(), text->size());
  }
  return out;
}

Result<int64_t> read_group_size(const ConfigFields& fields, int64_t fallback) {
  ASSIGN_OR_RETURN(const auto found, fields.optional_int("group_size", -1, kMaxIntermediateSize));
  const int64_t size = found.value_or(fallback);
  if (size == -1 || (size > 0 && size % 32 == 0)) return size;
  return refuse(fields, "group_size", "a multiple of 32, or -1 for one scale a row");
}

Status check_bits(const ConfigFields& fields, std::string_view field, int64_t low, int64_t high,
                  int* bits) {
  ASSIGN_OR_RETURN(const int64_t found, fields.required_int(field, 1, 64));
  if (found != low && found != high) {
    return refuse(fields, field,
                  low == high ? std::to_string(low) : fmt::format("{} or {}", low, high));
  }
  *bits = static_cast<int>(found);
  return ok_status();
}

Result<QuantizationScheme> parse_awq(const ConfigFields& fields) {
  QuantizationScheme scheme;
  scheme.layout = QuantizationLayout::kAwq;
  RETURN_IF_ERROR(check_bits(fields, "bits", 4, 4, &scheme.bits));
  RETURN_IF_ERROR(check_word(fields, "version", {"gemm"}));
  RETURN_IF_ERROR(check_word(fields, "backend", {"autoawq"}));
  ASSIGN_OR_RETURN(const bool zero_point, fields.bool_or("zero_point", true));
  if (!zero_point) return refuse(fields, "zero_point", "true");
  ASSIGN_OR_RETURN(scheme.group_size, read_group_size(fields, 128));
  ASSIGN_OR_RETURN(scheme.plain_modules, string_list(fields, "modules_to_not_convert"));
  return scheme;
}

// Rules of single modules: "-:regex" leaves a module plain, which its tensors show; any other key
// changes how it is quantized.
Status check_dynamic(const ConfigFields& fields) {
  const json::value* rules = fields.find("dynamic");
  if (rules == nullptr || (rules->is_bool() && !rules->get_bool())) return ok_status();
  if (!rules->is_object()) return fields.wrong("dynamic", "an object");
  for (const auto& [key, value] : rules->get_object()) {
    if (!std::string_view(key.data(), key.size()).starts_with("-:")) {
      return unimplemented(fmt::format(
          "{}: dynamic: found the rule {}, which is not supported; expected rules that leave "
          "modules out (\"-:...\") only",
          fields.path(), printable_json(json::value(key))));
    }
  }
  return ok_status();
}

Result<QuantizationScheme> parse_gptq(const ConfigFields& fields) {
  QuantizationScheme scheme;
  scheme.layout = QuantizationLayout::kGptq;
  RETURN_IF_ERROR(check_bits(fields, "bits", 4, 8, &scheme.bits));
  RETURN_IF_ERROR(check_word(fields, "checkpoint_format", {"gptq", "gptq_v2"}));
  RETURN_IF_ERROR(check_word(fields, "pack_dtype", {"int32"}));
  RETURN_IF_ERROR(check_dynamic(fields));
  ASSIGN_OR_RETURN(const bool marlin, fields.bool_or("is_marlin_format", false));
  if (marlin) return refuse(fields, "is_marlin_format", "false");
  ASSIGN_OR_RETURN(const auto format, fields.optional_string("checkpoint_format"));
  scheme.zeros_minus_one = lower(format.value_or("gptq")) == "gptq";
  ASSIGN_OR_RETURN(scheme.act_order, fields.bool_or("desc_act", false));
  ASSIGN_OR_RETURN(scheme.group_size, read_group_size(fields, 128));
  return scheme;
}

Status check_activations(const ConfigFields& group) {
  if (group.find("output_activations") != nullptr) {
    return refuse(group, "output_activations", "null");
  }
  const json::value* value = group.find("input_activations");
  if (value == nullptr) return ok_status();
  if (!value->is_object()) return group.wrong("input_activations", "an object or null");
  const ConfigFields inputs(value->get_object(), group.path() + ": input_activations");
  RETURN_IF_ERROR(check_word(inputs, "type", {"int"}));
  RETURN_IF_ERROR(check_word(inputs, "strategy", {"token"}));
  int bits = 0;
  RETURN_IF_ERROR(check_bits(inputs, "num_bits", 8, 8, &bits));
  // Here activations always get a scale per token, computed on the fly.
  ASSIGN_OR_RETURN(const bool dynamic, inputs.bool_or("dynamic", false));
  if (!dynamic) return refuse(inputs, "dynamic", "true");
  return ok_status();
}

// Linear layers by their class, or modules by name or expression.
Status check_targets(const ConfigFields& group) {
  ASSIGN_OR_RETURN(const std::vector<std::string> targets, string_list(group, "targets"));
  for (const std::string& target : targets) {
    const bool has_dot = std::count(target.begin(), target.end(), '.') > 0;
    if (has_dot || target == "Linear" || target.starts_with("re:")) continue;
    return unimplemented(
        fmt::format("{}: targets: found {}, which is not supported; expected \"Linear\", names or "
                    "\"re:\" expressions of linear layers",
                    group.path(), printable_json(json::value(target))));
  }
  return ok_status();
}

Status parse_weights(const ConfigFields& weights, QuantizationScheme& scheme) {
  RETURN_IF_ERROR(check_word(weights, "type", {"int"}));
  RETURN_IF_ERROR(check_word(weights, "strategy", {"group", "channel"}));
  RETURN_IF_ERROR(check_word(weights, "actorder", {"group", "weight", "static"}));
  RETURN_IF_ERROR(check_empty(weights, "block_structure"));
  ASSIGN_OR_RETURN(const bool dynamic, weights.bool_or("dynamic", false));
  if (dynamic) return refuse(weights, "dynamic", "false");
  const bool packed = scheme.layout == QuantizationLayout::kPacked;
  RETURN_IF_ERROR(check_bits(weights, "num_bits", packed ? 4 : 8, 8, &scheme.bits));
  ASSIGN_OR_RETURN(const bool symmetric, weights.bool_or("symmetric", true));
  if (!symmetric && scheme.bits == 8) return refuse(weights, "symmetric", "true for 8 bit");
  scheme.has_zero_points = !symmetric;
  ASSIGN_OR_RETURN(const auto order, weights.optional_string("actorder"));
  scheme.act_order = order.has_value() && lower(*order) == "group";
  ASSIGN_OR_RETURN(const auto strategy, weights.optional_string("strategy"));
  if (strategy.has_value() && lower(*strategy) == "channel") {
    scheme.group_size = -1;
    return ok_status();
  }
  ASSIGN_OR_RETURN(scheme.group_size, read_group_size(weights, -1));
  if (scheme.group_size == -1) return weights.wrong("group_size", "a multiple of 32");
  return ok_status();
}

Status parse_config_group(const ConfigFields& group, QuantizationScheme& scheme) {
  const bool packed = scheme.layout == QuantizationLayout::kPacked;
  RETURN_IF_ERROR(check_word(group, "format", {packed ? "pack-quantized" : "int-quantized"}));
  RETURN_IF_ERROR(check_targets(group));
  RETURN_IF_ERROR(check_activations(group));
  const json::value* weights = group.find("weights");
  if (weights == nullptr || !weights->is_object()) return group.wrong("weights", "an object");
  return parse_weights(ConfigFields(weights->get_object(), group.path() + ": weights"), scheme);
}

bool same_weights(const QuantizationScheme& a, const QuantizationScheme& b) {
  return a.bits == b.bits && a.group_size == b.group_size &&
         a.has_zero_points == b.has_zero_points && a.act_order == b.act_order;
}

Result<QuantizationScheme> parse_compressed_tensors(const ConfigFields& fields) {
  QuantizationScheme scheme;
  ASSIGN_OR_RETURN(const auto format, fields.optional_string("format"));
  if (format != "pack-quantized" && format != "int-quantized") {
    return refuse(fields, "format", "pack-quantized or int-quantized");
  }
  scheme.layout =
      format == "pack-quantized" ? QuantizationLayout::kPacked : QuantizationLayout::kInt8;
  RETURN_IF_ERROR(check_word(fields, "quantization_status", {"compressed"}));
  RETURN_IF_ERROR(check_empty(fields, "kv_cache_scheme"));
  RETURN_IF_ERROR(check_empty(fields, "sparsity_config"));
  RETURN_IF_ERROR(check_empty(fields, "transform_config"));
  const json::value* groups = fields.find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->get_object().empty() ||
      groups->get_object().size() > kMaxListEntries) {
    return fields.wrong("config_groups", "an object with at least one group");
  }
  bool first = true;
  for (const auto& [name, value] : groups->get_object()) {
    const std::string path =
        fmt::format("{}: config_groups: {}", fields.path(), printable_json(json::value(name)));
    if (!value.is_object()) return invalid_argument(path + ": expected an object");
    QuantizationScheme group = scheme;
    RETURN_IF_ERROR(parse_config_group(ConfigFields(value.get_object(), path), group));
    if (!first && !same_weights(group, scheme)) {
      return unimplemented(path +
                           ": groups with different weights are not supported; expected "
                           "one scheme for all linear layers");
    }
    scheme = std::move(group);
    first = false;
  }
  ASSIGN_OR_RETURN(scheme.plain_modules, string_list(fields, "ignore"));
  return scheme;
}

}  // namespace

bool QuantizationScheme::lists_as_plain(std::string_view module) const {
  return std::any_of(plain_modules.begin(), plain_modules.end(), [&](const std::string& entry) {
    return layout == QuantizationLayout::kAwq ? module.find(entry) != std::string_view::npos
                                              : module == entry;
  });
}

std::string QuantizationScheme::text() const {
  const std::string name = layout == QuantizationLayout::kAwq    ? "AWQ"
                           : layout == QuantizationLayout::kGptq ? "GPTQ"
                                                                 : method;
  return fmt::format("{} int{} {}", name, bits,
                     group_size < 0 ? "per channel" : fmt::format("g{}", group_size));
}

Result<std::optional<QuantizationScheme>> parse_hf_quantization(const json::value& config,
                                                                const std::string& path) {
  if (!config.is_object()) {
    return invalid_argument(fmt::format("{}: expected a JSON object", path));
  }
  const ConfigFields outer(config.get_object(), path);
  const json::value* value = outer.find("quantization_config");
  if (value == nullptr) return std::optional<QuantizationScheme>();
  if (!value->is_object()) return outer.wrong("quantization_config", "an object");
  const ConfigFields fields(value->get_object(), path + ": quantization_config");
  ASSIGN_OR_RETURN(const auto method, fields.optional_string("quant_method"));
  Result<QuantizationScheme> scheme =
      method == "awq"    ? parse_awq(fields)
      : method == "gptq" ? parse_gptq(fields)
      : method == "compressed-tensors"
          ? parse_compressed_tensors(fields)
          : Result<QuantizationScheme>(refuse(fields, "quant_method", "one of those we read"));
  if (!scheme.ok()) {
    if (scheme.status().code() != StatusCode::kUnimplemented) return scheme.status();
    return unimplemented(fmt::format("{} ({})", scheme.message(), kSupported));
  }
  scheme->method = *method;
  return std::optional<QuantizationScheme>(std::move(scheme).value());
}

}  // namespace sparrow
