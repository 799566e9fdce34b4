#include "api/request/field_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"

namespace sparrow::api {
namespace {

namespace json = boost::json;
using enum FieldClass;
using enum FieldType;

constexpr unsigned kChat = kChatEndpoint;
constexpr unsigned kText = kCompletionEndpoint;
constexpr unsigned kBoth = kChat | kText;
constexpr unsigned kTokenize = kTokenizeEndpoint;
constexpr unsigned kDetokenize = kDetokenizeEndpoint;
constexpr size_t kMaxWarnings = 16;
constexpr size_t kMaxWarningBytes = 64;  // of one name: they travel in a header
constexpr double kInt32Max = 2147483647.0;

constexpr const char* kTextOnly = "This model reads and writes text only.";
constexpr const char* kConstraint =
    "Structured output is not available in this version of the server.";
constexpr const char* kTools = "Tool calls are not available in this version of the server.";

bool is_type(const json::value& value, FieldType type) {
  switch (type) {
    case kBool:
      return value.is_bool();
    case kInteger:
      return as_integer(value).has_value();
    case kNumber:
      return value.is_number();
    case kString:
      return value.is_string();
    case kStringOrList: {
      if (value.is_string()) return true;
      if (!value.is_array()) return false;
      for (const json::value& item : value.get_array()) {
        if (!item.is_string()) return false;
      }
      return true;
    }
    case kIntegerList: {
      if (!value.is_array()) return false;
      for (const json::value& item : value.get_array()) {
        if (!as_integer(item)) return false;
      }
      return true;
    }
    case kArray:
      return value.is_array();
    case kObject:
      return value.is_object();
    case kBoolOrString:
      return value.is_bool() || value.is_string();
    case kAny:
      return true;
  }
  return false;
}

const char* type_name(FieldType type) {
  switch (type) {
    case kBool:
      return "true or false";
    case kInteger:
      return "a whole number";
    case kNumber:
      return "a number";
    case kString:
      return "a string";
    case kStringOrList:
      return "a string or a list of strings";
    case kIntegerList:
      return "a list of whole numbers";
    case kArray:
      return "a list";
    case kObject:
      return "an object";
    case kBoolOrString:
      return "true, false or a string";
    case kAny:
      return "a value";
  }
  return "a value";
}

const char* kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "a list";
    case json::kind::object:
      return "an object";
  }
  return "something else";
}

// Values that ask for nothing, so that refusing them would only hurt clients that send defaults.
bool asks_for_nothing(const json::value& value) {
  if (value.is_null()) return true;
  if (value.is_bool()) return !value.get_bool();
  if (value.is_string()) {
    const std::string_view text = as_view(value.get_string());
    return text.empty() || text == "none" || text == "auto";
  }
  if (value.is_array()) return value.get_array().empty();
  if (value.is_object()) return value.get_object().empty();
  return false;
}

const FieldSpec* find_field(std::string_view name, unsigned endpoint) {
  for (const FieldSpec& spec : field_table()) {
    if ((spec.endpoints & endpoint) != 0 && name == spec.name) return &spec;
  }
  return nullptr;
}

std::string number_text(double value) {
  std::string out;
  append_json_number(out, value);
  return out;
}

MaybeError check_range(const FieldSpec& spec, const json::value& value) {
  const double number = value.to_number<double>();
  if (number >= spec.min && number <= spec.max && std::isfinite(number)) return std::nullopt;
  std::string range;
  if (std::isfinite(spec.min) && std::isfinite(spec.max)) {
    range = fmt::format("between {} and {}", number_text(spec.min), number_text(spec.max));
  } else if (std::isfinite(spec.min)) {
    range = fmt::format("at least {}", number_text(spec.min));
  } else {
    range = "finite";
  }
  const std::string got = std::isfinite(number) ? number_text(number) : "a number out of range";
  return invalid_request(spec.name, fmt::format("{} must be {}, got {}.", spec.name, range, got));
}

MaybeError check_field(const FieldSpec& spec, const json::value& value) {
  if (value.is_null()) return std::nullopt;
  if (spec.field_class == kRefused) {
    if (asks_for_nothing(value)) return std::nullopt;
    const std::string common = fmt::format("{} is not supported by this server.", spec.name);
    return unsupported_parameter(
        spec.name, *spec.message == '\0' ? common : fmt::format("{}: {}", spec.name, spec.message));
  }
  if (spec.field_class == kNoEffect) return std::nullopt;
  if (!is_type(value, spec.type)) {
    return invalid_request(spec.name, fmt::format("{} must be {}, got {}.", spec.name,
                                                  type_name(spec.type), kind_name(value)));
  }
  if (spec.type == kInteger || spec.type == kNumber) return check_range(spec, value);
  return std::nullopt;
}

constexpr FieldSpec kFields[] = {
    // What to answer.
    {"model", kHonoured, kBoth | kTokenize | kDetokenize, kString},
    {"messages", kHonoured, kChat | kTokenize, kArray},
    {"prompt", kHonoured, kText | kTokenize, kAny},
    {"tokens", kHonoured, kDetokenize, kIntegerList},
    {"echo", kHonoured, kText, kBool},
    {"add_special_tokens", kHonoured, kTokenize, kBool},
    {"return_token_strs", kHonoured, kTokenize, kBool},
    {"add_generation_prompt", kHonoured, kChat | kTokenize, kBool},
    {"continue_final_message", kHonoured, kChat | kTokenize, kBool},
    {"chat_template_kwargs", kHonoured, kChat | kTokenize, kObject},
    {"response_format", kHonoured, kBoth, kAny},
    // How it comes back.
    {"stream", kHonoured, kBoth, kBool},
    {"stream_options", kHonoured, kBoth, kObject},
    {"logprobs", kHonoured, kChat, kBool},
    {"logprobs", kHonoured, kText, kInteger, 0, 20},
    {"top_logprobs", kHonoured, kChat, kInteger, 0, 20},
    {"return_token_ids", kHonoured, kBoth, kBool},
    {"skip_special_tokens", kHonoured, kBoth, kBool},
    {"include_reasoning", kHonoured, kChat, kBool},
    {"separate_reasoning", kHonoured, kChat, kBool},
    // How tokens are drawn. Ranges that need the vocabulary are checked again later.
    {"temperature", kHonoured, kBoth, kNumber, 0, 2},
    {"top_p", kHonoured, kBoth, kNumber, 1e-6, 1},
    {"top_k", kHonoured, kBoth, kInteger, -1, kInt32Max},
    {"min_p", kHonoured, kBoth, kNumber, 0, 1},
    {"repetition_penalty", kHonoured, kBoth, kNumber, 0.01, 10},
    {"repeat_penalty", kHonoured, kBoth, kNumber, 0.01, 10},
    {"frequency_penalty", kHonoured, kBoth, kNumber, -2, 2},
    {"presence_penalty", kHonoured, kBoth, kNumber, -2, 2},
    {"logit_bias", kHonoured, kBoth, kObject},
    {"seed", kHonoured, kBoth, kInteger},
    {"n", kHonoured, kBoth, kInteger, 1, kInt32Max},
    {"best_of", kHonoured, kText, kInteger, 0, kInt32Max},
    {"speculative", kHonoured, kBoth, kBool},  // ours: the text is the same either way
    // Where it ends.
    {"max_tokens", kHonoured, kBoth, kInteger, 1, kInt32Max},
    {"max_completion_tokens", kHonoured, kChat, kInteger, 1, kInt32Max},
    {"min_tokens", kHonoured, kBoth, kInteger, 0, kInt32Max},
    {"stop", kHonoured, kBoth, kStringOrList},
    {"stop_token_ids", kHonoured, kBoth, kIntegerList},
    {"include_stop_str_in_output", kHonoured, kBoth, kBool},
    {"ignore_eos", kHonoured, kBoth, kBool},
    // Thinking.
    {"reasoning_effort", kHonoured, kChat, kString},
    {"reasoning", kHonoured, kChat, kObject},
    {"think", kHonoured, kChat, kBoolOrString},
    {"thinking_budget", kHonoured, kChat, kInteger, -1, kInt32Max},  // -1: no bound; 0: no thinking
    {"thinking_token_budget", kHonoured, kChat, kInteger, -1, kInt32Max},
    {"thinking_budget_tokens", kHonoured, kChat, kInteger, -1, kInt32Max},
    {"reasoning_budget_tokens", kHonoured, kChat, kInteger, -1, kInt32Max},
    // Who asks.
    {"user", kHonoured, kBoth, kString},
    {"safety_identifier", kHonoured, kChat, kString},
    {"prompt_cache_key", kHonoured, kChat, kString},
    {"cache_salt", kHonoured, kBoth, kString},
    {"priority", kHonoured, kBoth, kInteger, -kInt32Max, kInt32Max},
    // Sent by stock clients whatever the server: no effect here.
    {"metadata", kNoEffect, kBoth, kAny},
    {"store", kNoEffect, kBoth, kAny},
    {"service_tier", kNoEffect, kBoth, kAny},
    {"verbosity", kNoEffect, kBoth, kAny},
    {"prediction", kNoEffect, kBoth, kAny},
    {"prompt_cache_retention", kNoEffect, kBoth, kAny},
    {"keep_alive", kNoEffect, kBoth, kAny},
    {"spaces_between_special_tokens", kNoEffect, kBoth, kAny},
    {"parallel_tool_calls", kNoEffect, kChat, kAny},  // without tools it decides nothing
    // Known, and not ignorable without changing the answer.
    {"modalities", kHonoured, kChat, kStringOrList},  // ["text"] only, see check_modalities
    {"audio", kRefused, kChat, kAny, 0, 0, kTextOnly},
    {"web_search_options", kRefused, kChat, kAny, 0, 0, "This server opens no connections."},
    {"suffix", kRefused, kText, kAny, 0, 0,
     "This model has no fill-in-the-middle training; put the text into the prompt."},
    {"use_beam_search", kRefused, kBoth, kAny, 0, 0, "Beam search is not supported; use n."},
    {"tools", kRefused, kChat | kTokenize, kAny, 0, 0, kTools},
    {"tool_choice", kRefused, kChat, kAny, 0, 0, kTools},
    {"functions", kRefused, kChat, kAny, 0, 0, kTools},
    {"function_call", kRefused, kChat, kAny, 0, 0, kTools},
    {"structured_outputs", kRefused, kBoth, kAny, 0, 0, kConstraint},
    {"guided_json", kRefused, kBoth, kAny, 0, 0, kConstraint},
    {"guided_regex", kRefused, kBoth, kAny, 0, 0, kConstraint},
    {"guided_choice", kRefused, kBoth, kAny, 0, 0, kConstraint},
    {"guided_grammar", kRefused, kBoth, kAny, 0, 0, kConstraint},
    {"grammar", kRefused, kBoth, kAny, 0, 0, kConstraint},
    {"repetition_detection", kRefused, kBoth, kAny},
    {"prompt_logprobs", kRefused, kBoth, kAny},
    {"chat_template", kRefused, kChat | kTokenize, kAny, 0, 0,
     "Templates come from the model or the operator, never from a request."},
    {"documents", kRefused, kChat, kAny},
    {"lora_request", kRefused, kBoth, kAny},
    {"logits_processors", kRefused, kBoth, kAny},
};

}  // namespace

std::span<const FieldSpec> field_table() { return kFields; }

MaybeError check_fields(const json::object& body, unsigned endpoint, bool reject_unknown,
                        std::vector<std::string>& warnings) {
  for (const auto& [key, value] : body) {
    const std::string_view name(key.data(), key.size());
    const FieldSpec* spec = find_field(name, endpoint);
    if (spec == nullptr) {
      if (reject_unknown) {
        return unsupported_parameter(
            std::string(name), fmt::format("The field {} is not known here.", name.substr(0, 64)));
      }
      add_warning(warnings, name);
      continue;
    }
    if (auto error = check_field(*spec, value)) return error;
  }
  return std::nullopt;
}

void add_warning(std::vector<std::string>& warnings, std::string_view name) {
  if (warnings.size() >= kMaxWarnings) return;
  std::string clean(name.substr(0, kMaxWarningBytes));
  for (char& c : clean) {
    if (c <= ' ' || c > '~' || c == ',') c = '?';
  }
  if (std::find(warnings.begin(), warnings.end(), clean) == warnings.end()) {
    warnings.push_back(std::move(clean));
  }
}

std::string_view as_view(const json::string& text) { return {text.data(), text.size()}; }

const json::value* read_value(const json::object& body, std::string_view name) {
  const json::value* value = body.if_contains(json::string_view(name.data(), name.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<int64_t> as_integer(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (!value.is_double()) return std::nullopt;
  constexpr double kExact = 9007199254740992.0;  // 2^53
  const double number = value.get_double();
  if (!(number >= -kExact && number <= kExact) || number != std::trunc(number)) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::optional<bool> read_bool(const json::object& body, std::string_view name) {
  const json::value* value = read_value(body, name);
  if (value == nullptr || !value->is_bool()) return std::nullopt;
  return value->get_bool();
}

std::optional<int64_t> read_integer(const json::object& body, std::string_view name) {
  const json::value* value = read_value(body, name);
  return value == nullptr ? std::nullopt : as_integer(*value);
}

std::optional<double> read_number(const json::object& body, std::string_view name) {
  const json::value* value = read_value(body, name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<double>();
}

std::optional<std::string_view> read_string(const json::object& body, std::string_view name) {
  const json::value* value = read_value(body, name);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return as_view(value->get_string());
}

}  // namespace sparrow::api
