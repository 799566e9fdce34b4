#include "api/request/completion_request.h"

#include <fmt/format.h>

#include "api/request/chat_request.h"
#include "api/request/field_table.h"

namespace sparrow::api {
namespace {

namespace json = boost::json;

MaybeError add_prompt(const json::value& value, const ServedModel& model,
                      CompletionRequest& request) {
  CompletionPrompt prompt;
  if (value.is_string()) {
    const std::string_view text = as_view(value.get_string());
    if (auto error = encode_text_prompt(model, text, true, prompt.tokens)) return error;
    if (request.echo) prompt.text = text;
  } else if (value.is_array()) {
    const size_t num_ids = value.get_array().size();
    if (num_ids >= static_cast<size_t>(model.max_model_len())) {
      ApiError error =
          context_length_exceeded(model.max_model_len(), static_cast<int64_t>(num_ids), 1);
      error.param = "prompt";
      return error;
    }
    if (auto error = read_token_ids(model, value.get_array(), "prompt", prompt.tokens)) {
      return error;
    }
    if (request.echo) {
      prompt.text = model.tokenizer().decode(prompt.tokens, request.params.skip_special_tokens);
    }
  } else {
    return invalid_request("prompt",
                           "prompt must be a string, a list of strings, a list of token ids, or a "
                           "list of such lists.");
  }
  if (prompt.tokens.empty()) return invalid_request("prompt", "prompt must not be empty.");
  request.prompts.push_back(std::move(prompt));
  return std::nullopt;
}

MaybeError parse_prompts(const json::object& body, const ServedModel& model,
                         const ApiLimits& limits, CompletionRequest& request) {
  const json::value* value = read_value(body, "prompt");
  if (value == nullptr) return invalid_request("prompt", "prompt is missing.");
  const json::array* list = value->if_array();
  const bool one_id_list = list != nullptr && !list->empty() && list->front().is_number();
  if (list == nullptr || one_id_list) return add_prompt(*value, model, request);
  if (list->empty()) return invalid_request("prompt", "prompt must not be empty.");
  const auto max_prompts = static_cast<size_t>(limits.max_prompts);
  if (list->size() > max_prompts) {
    return invalid_request("prompt", fmt::format("prompt may hold at most {} prompts, got {}.",
                                                 max_prompts, list->size()));
  }
  for (const json::value& item : *list) {
    if (auto error = add_prompt(item, model, request)) return error;
  }
  return std::nullopt;
}

// Limits that hold for the request as a whole.
MaybeError check_window(const ServedModel& model, const ApiOptions& options,
                        CompletionRequest& request) {
  const auto num_choices =
      static_cast<int64_t>(request.prompts.size()) * request.params.num_choices;
  if (num_choices > options.limits.max_choices) {
    return invalid_request("n", fmt::format("prompts x n must be at most {}, got {}.",
                                            options.limits.max_choices, num_choices));
  }
  int64_t longest = 0;
  for (const CompletionPrompt& prompt : request.prompts) {
    longest = std::max(longest, static_cast<int64_t>(prompt.tokens.size()));
  }
  return set_max_tokens(model, longest, options.default_max_tokens, request.params);
}

}  // namespace

MaybeError parse_completion_request(const json::object& body, const ServedModel& model,
                                    const ApiOptions& options, CompletionRequest& request) {
  GenerationParams& params = request.params;
  if (auto error =
          check_fields(body, kCompletionEndpoint, options.reject_unknown_fields, params.warnings)) {
    return error;
  }
  if (auto error = parse_generation_params(body, model, options, params)) return error;
  request.echo = read_bool(body, "echo").value_or(false);
  const auto logprobs = read_integer(body, "logprobs");
  if (logprobs) params.sampling.num_top_logprobs = static_cast<int>(*logprobs);
  if (request.echo && logprobs) {
    return unsupported_parameter(
        "echo", "echo together with logprobs is not available in this version of the server.");
  }
  if (auto error = parse_prompts(body, model, options.limits, request)) return error;
  return check_window(model, options, request);
}

MaybeError encode_text_prompt(const ServedModel& model, std::string_view text, bool add_bos,
                              std::vector<TokenId>& tokens) {
  if (auto error = check_text_fits(model, text.size())) return error;
  tokens = model.tokenizer().encode(text, {.parse_added_tokens = true, .add_bos = add_bos});
  return std::nullopt;
}

MaybeError read_token_ids(const ServedModel& model, const json::array& ids, std::string_view field,
                          std::vector<TokenId>& tokens) {
  tokens.reserve(ids.size());
  for (const json::value& item : ids) {
    const auto id = as_integer(item);
    if (!id || *id < 0 || *id >= model.config().vocab_size) {
      return invalid_request(std::string(field),
                             fmt::format("{}: token ids must be whole numbers from 0 to {}.", field,
                                         model.config().vocab_size - 1));
    }
    tokens.push_back(static_cast<TokenId>(*id));
  }
  return std::nullopt;
}

}  // namespace sparrow::api
