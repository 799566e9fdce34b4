// Fuzz entry of request bodies: the first byte chooses the endpoint, the rest is the body. What is
// refused is a client's error that says why; what is accepted is within every limit.

#include <cstddef>
#include <cstdint>
#include <string>

#include "api/api_context.h"
#include "api/request/chat_request.h"
#include "api/request/completion_request.h"
#include "api/test_support.h"
#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"

namespace sparrow::api {
namespace {

constexpr size_t kMaxInputBytes = 1u << 16;

const ServedModel& model() {
  static const ServedModel kModel(test_model_info(), SystemRole::kAuto);
  return kModel;
}

ApiOptions options_for(uint8_t choice) {
  ApiOptions options;
  options.reject_unknown_fields = choice % 8 == 7;
  return options;
}

void check_error(const ApiError& error) {
  CHECK(error.status >= 400 && error.status < 500);
  CHECK(!error.message.empty() && error.message.size() < 1500);
  std::string body;
  append_error_body(body, error);
  CHECK(is_valid_utf8(body) && parse_json(body, "error").ok());
}

void check_params(const GenerationParams& params, const ApiOptions& options, size_t num_prompt) {
  const int window = model().max_model_len();
  CHECK(params.num_choices >= 1 && params.num_choices <= options.limits.max_n);
  CHECK(params.stop.max_tokens >= 1 && params.stop.min_tokens >= 0);
  CHECK(num_prompt >= 1 &&
        num_prompt + static_cast<size_t>(params.stop.max_tokens) <= static_cast<size_t>(window));
  CHECK(params.stop.min_tokens <= params.stop.max_tokens);
  CHECK(validate_sampling_params(params.sampling, model().config().vocab_size).ok());
  CHECK(params.stop.strings.size() <= static_cast<size_t>(options.limits.max_stop_strings));
  for (const std::string& text : params.stop.strings) {
    CHECK(!text.empty() && text.size() <= options.limits.max_stop_bytes);
  }
  for (const TokenId id : params.stop.token_ids) CHECK(id >= 0 && id < model().config().vocab_size);
  for (const std::string& warning : params.warnings) {
    for (const char c : warning) CHECK(c > ' ' && c <= '~' && c != ',');
  }
}

MaybeError read_chat(const boost::json::object& body, const ApiOptions& options) {
  ChatRequest request;
  if (auto error = parse_chat_request(body, model(), options, request)) return error;
  ChatPrompt prompt;
  if (auto error = build_chat_prompt(request.turn, model(), prompt)) return error;
  const auto num_prompt = static_cast<int64_t>(prompt.tokens.size());
  if (auto error =
          set_max_tokens(model(), num_prompt, options.default_max_tokens, request.params)) {
    return error;
  }
  check_params(request.params, options, prompt.tokens.size());
  return std::nullopt;
}

MaybeError read_completion(const boost::json::object& body, const ApiOptions& options) {
  CompletionRequest request;
  if (auto error = parse_completion_request(body, model(), options, request)) return error;
  CHECK(!request.prompts.empty() &&
        request.prompts.size() <= static_cast<size_t>(options.limits.max_prompts));
  for (const CompletionPrompt& prompt : request.prompts) {
    check_params(request.params, options, prompt.tokens.size());
    for (const TokenId id : prompt.tokens) CHECK(id >= 0 && id < model().config().vocab_size);
  }
  return std::nullopt;
}

}  // namespace
}  // namespace sparrow::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sparrow::api;
  if (size == 0 || size > kMaxInputBytes) return 0;
  const ApiOptions options = options_for(data[0]);
  sparrow::http::Request request;
  request.body.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  boost::json::object body;
  auto error = read_json_body(request, options.limits, body);
  if (!error) error = data[0] % 2 == 0 ? read_chat(body, options) : read_completion(body, options);
  if (error) check_error(*error);
  return 0;
}
