#include "api/request/generation_params.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/request/field_table.h"
#include "base/random.h"

namespace sparrow::api {
namespace {

namespace json = boost::json;

// Request over generation_config.json over the server's default.
double choose(std::optional<double> asked, std::optional<double> model, double fallback) {
  return asked.value_or(model.value_or(fallback));
}

MaybeError parse_logit_bias(const json::object& body, int vocab_size, SamplingParams& sampling) {
  const json::value* value = read_value(body, "logit_bias");
  if (value == nullptr) return std::nullopt;
  const json::object& biases = value->get_object();
  if (biases.size() > kMaxLogitBias) {
    return invalid_request(
        "logit_bias", fmt::format("logit_bias may name at most {} tokens, got {}.", kMaxLogitBias,
                                  biases.size()));
  }
  for (const auto& [key, bias] : biases) {
    TokenId id = -1;
    const char* end = key.data() + key.size();
    const auto parsed = std::from_chars(key.data(), end, id);
    if (parsed.ec != std::errc() || parsed.ptr != end || id < 0 || id >= vocab_size) {
      return invalid_request(
          "logit_bias",
          fmt::format("logit_bias: the keys must be token ids from 0 to {}.", vocab_size - 1));
    }
    const double amount = bias.is_number() ? bias.to_number<double>() : 1e9;
    if (!(amount >= -100 && amount <= 100)) {
      return invalid_request("logit_bias",
                             "logit_bias: the values must be numbers between -100 and 100.");
    }
    sampling.logit_bias.emplace_back(id, static_cast<float>(amount));
  }
  std::sort(sampling.logit_bias.begin(), sampling.logit_bias.end());
  return std::nullopt;
}

MaybeError parse_sampling(const json::object& body, const ServedModel& model,
                          const ApiOptions& options, SamplingParams& sampling) {
  const GenerationDefaults& defaults = model.generation();
  sampling.temperature = choose(read_number(body, "temperature"), defaults.temperature, 1.0);
  sampling.top_p = choose(read_number(body, "top_p"), defaults.top_p, 1.0);
  sampling.min_p = choose(read_number(body, "min_p"), defaults.min_p, 0.0);
  auto repetition = read_number(body, "repetition_penalty");
  if (!repetition) repetition = read_number(body, "repeat_penalty");
  sampling.repetition_penalty = choose(repetition, defaults.repetition_penalty, 1.0);
  sampling.presence_penalty = read_number(body, "presence_penalty").value_or(0.0);
  sampling.frequency_penalty = read_number(body, "frequency_penalty").value_or(0.0);
  const int vocab_size = model.config().vocab_size;
  const int64_t top_k = read_integer(body, "top_k").value_or(defaults.top_k.value_or(0));
  // More than the vocabulary is how some clients write "off".
  sampling.top_k = static_cast<int>(std::clamp<int64_t>(top_k, 0, vocab_size));
  const auto seed = read_integer(body, "seed");
  if (seed) {
    sampling.seed = static_cast<uint64_t>(*seed);
  } else {
    sampling.seed = options.default_seed ? *options.default_seed : entropy64();
  }
  if (auto error = parse_logit_bias(body, vocab_size, sampling)) return error;
  const Status status = validate_sampling_params(sampling, vocab_size);
  if (!status.ok()) return invalid_request("", status.message());
  return std::nullopt;
}

MaybeError parse_stop_strings(const json::object& body, const ApiLimits& limits, StopRules& stop) {
  const json::value* value = read_value(body, "stop");
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) {
    stop.strings.emplace_back(as_view(value->get_string()));
  } else {
    for (const json::value& item : value->get_array()) {
      stop.strings.emplace_back(as_view(item.get_string()));
    }
  }
  if (stop.strings.size() > static_cast<size_t>(limits.max_stop_strings)) {
    return invalid_request("stop", fmt::format("stop may hold at most {} strings, got {}.",
                                               limits.max_stop_strings, stop.strings.size()));
  }
  for (const std::string& text : stop.strings) {
    if (text.empty() || text.size() > limits.max_stop_bytes) {
      return invalid_request("stop",
                             fmt::format("stop: each string must have 1 to {} bytes, got {}.",
                                         limits.max_stop_bytes, text.size()));
    }
  }
  return std::nullopt;
}

MaybeError parse_stop_rules(const json::object& body, const ServedModel& model,
                            const ApiLimits& limits, StopRules& stop) {
  if (auto error = parse_stop_strings(body, limits, stop)) return error;
  stop.include_stop_string = read_bool(body, "include_stop_str_in_output").value_or(false);
  stop.ignore_eos = read_bool(body, "ignore_eos").value_or(false);
  stop.min_tokens = static_cast<int>(read_integer(body, "min_tokens").value_or(0));
  stop.token_ids = model.stop_token_ids();
  if (const json::value* value = read_value(body, "stop_token_ids")) {
    const json::array& ids = value->get_array();
    if (ids.size() > static_cast<size_t>(limits.max_stop_token_ids)) {
      return invalid_request("stop_token_ids",
                             fmt::format("stop_token_ids may hold at most {} ids, got {}.",
                                         limits.max_stop_token_ids, ids.size()));
    }
    for (const json::value& item : ids) {
      const int64_t id = as_integer(item).value_or(-1);
      if (id < 0 || id >= model.config().vocab_size) {
        return invalid_request("stop_token_ids",
                               fmt::format("stop_token_ids: ids must be from 0 to {}, got {}.",
                                           model.config().vocab_size - 1, id));
      }
      stop.token_ids.push_back(static_cast<TokenId>(id));
    }
  }
  std::sort(stop.token_ids.begin(), stop.token_ids.end());
  stop.token_ids.erase(std::unique(stop.token_ids.begin(), stop.token_ids.end()),
                       stop.token_ids.end());
  return std::nullopt;
}

MaybeError parse_stream_options(const json::object& body, GenerationParams& params) {
  const json::value* value = read_value(body, "stream_options");
  if (value == nullptr) return std::nullopt;
  for (const auto& [key, option] : value->get_object()) {
    const std::string_view name(key.data(), key.size());
    if (name == "include_obfuscation") continue;  // there is nothing to obfuscate on a local wire
    if (name != "include_usage" && name != "continuous_usage_stats") {
      add_warning(params.warnings, fmt::format("stream_options.{}", name.substr(0, 40)));
      continue;
    }
    if (option.is_null()) continue;
    if (!option.is_bool()) {
      return invalid_request(fmt::format("stream_options.{}", name),
                             fmt::format("stream_options.{} must be true or false.", name));
    }
    (name == "include_usage" ? params.include_usage : params.continuous_usage) = option.get_bool();
  }
  return std::nullopt;
}

MaybeError check_response_format(const json::object& body) {
  const json::value* value = read_value(body, "response_format");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    return invalid_request("response_format", "response_format must be an object.");
  }
  const auto type = read_string(value->get_object(), "type");
  if (type && *type == "text") return std::nullopt;
  return unsupported_parameter(
      "response_format",
      "response_format: only {\"type\":\"text\"} is available in this version of the server.");
}

MaybeError parse_model(const json::object& body, const ServedModel& model) {
  const auto name = read_string(body, "model");
  if (name && !model.answers_to(*name)) return model_not_found(*name);
  return std::nullopt;
}

MaybeError parse_choices(const json::object& body, const ApiLimits& limits,
                         GenerationParams& params) {
  const int64_t n = read_integer(body, "n").value_or(1);
  if (n > limits.max_n) {
    return unsupported_parameter(
        "n", fmt::format("n must be at most {} (the server's --max-n), got {}.", limits.max_n, n));
  }
  params.num_choices = static_cast<int>(n);
  const int64_t best_of = read_integer(body, "best_of").value_or(1);
  if (best_of > 1) {
    return unsupported_parameter("best_of", "best_of above 1 is not supported; use n.");
  }
  return std::nullopt;
}

}  // namespace

MaybeError parse_generation_params(const json::object& body, const ServedModel& model,
                                   const ApiOptions& options, GenerationParams& params) {
  const ApiLimits& limits = options.limits;
  if (auto error = parse_model(body, model)) return error;
  if (auto error = check_response_format(body)) return error;
  if (auto error = parse_choices(body, limits, params)) return error;
  if (auto error = parse_sampling(body, model, options, params.sampling)) return error;
  if (auto error = parse_stop_rules(body, model, limits, params.stop)) return error;
  if (auto error = parse_stream_options(body, params)) return error;
  params.max_tokens = read_integer(body, "max_completion_tokens");
  if (!params.max_tokens) params.max_tokens = read_integer(body, "max_tokens");
  params.temperature_given = read_number(body, "temperature").has_value();
  params.stream = read_bool(body, "stream").value_or(false);
  params.return_token_ids = read_bool(body, "return_token_ids").value_or(false);
  params.skip_special_tokens = read_bool(body, "skip_special_tokens").value_or(true);
  params.speculative = read_bool(body, "speculative").value_or(true);
  params.priority = static_cast<int>(read_integer(body, "priority").value_or(0));
  params.user =
      read_string(body, "user").value_or(read_string(body, "safety_identifier").value_or(""));
  params.cache_salt = read_string(body, "cache_salt").value_or("");
  return std::nullopt;
}

MaybeError set_max_tokens(const ServedModel& model, int64_t num_prompt_tokens,
                          int default_max_tokens, GenerationParams& params) {
  const int64_t window = model.max_model_len();
  const int64_t asked = params.max_tokens.value_or(1);
  if (num_prompt_tokens + asked > window) {
    return context_length_exceeded(window, num_prompt_tokens, asked);
  }
  const int64_t room = window - num_prompt_tokens;
  const int64_t granted =
      params.max_tokens.value_or(std::min<int64_t>(room, std::max(default_max_tokens, 1)));
  params.stop.max_tokens = static_cast<int>(granted);
  if (params.stop.min_tokens > granted) {
    return invalid_request(
        "min_tokens", fmt::format("min_tokens must be at most max_tokens ({}), got {}.", granted,
                                  params.stop.min_tokens));
  }
  return std::nullopt;
}

}  // namespace sparrow::api
