#include "api/errors.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"

namespace sparrow::api {
namespace {

constexpr const char* kServerErrorType = "server_error";
constexpr size_t kMaxEchoedBytes = 200;  // of a client's own text inside a message

ApiError server_error(int status, std::string code, std::string message, int64_t retry_after_ms) {
  ApiError error;
  error.status = status;
  error.message = std::move(message);
  error.code = std::move(code);
  error.type = kServerErrorType;
  error.retry_after_ms = retry_after_ms;
  return error;
}

std::string shortened(std::string_view text) {
  if (text.size() <= kMaxEchoedBytes) return std::string(text);
  return std::string(text.substr(0, kMaxEchoedBytes)) + "…";
}

void append_nullable(std::string& out, const std::string& text) {
  if (text.empty()) {
    out += "null";
  } else {
    append_json_string(out, text);
  }
}

}  // namespace

ApiError invalid_request(std::string param, std::string message) {
  ApiError error;
  error.message = std::move(message);
  error.param = shortened(param);
  error.code = "invalid_request";
  return error;
}

ApiError unsupported_parameter(std::string param, std::string message) {
  ApiError error = invalid_request(std::move(param), std::move(message));
  error.code = "unsupported_parameter";
  return error;
}

// LangChain and LiteLLM recognise an overflow by these first words.
ApiError context_length_exceeded(int64_t window, int64_t num_prompt, int64_t num_output) {
  ApiError error = invalid_request(
      "max_tokens",
      fmt::format("This model's maximum context length is {} tokens. However, you requested {} "
                  "tokens ({} in the prompt, {} in the completion). Shorten the prompt or lower "
                  "max_tokens; the server's --max-model-len sets the limit.",
                  window, num_prompt + num_output, num_prompt, num_output));
  error.code = "context_length_exceeded";
  if (num_prompt >= window) error.param = "messages";
  return error;
}

ApiError model_not_found(std::string_view name) {
  ApiError error = invalid_request(
      "model", fmt::format("The model `{}` does not exist here. GET /v1/models lists the names.",
                           shortened(name)));
  error.status = 404;
  error.code = "model_not_found";
  return error;
}

ApiError not_found(std::string_view method, std::string_view path) {
  ApiError error =
      invalid_request("", fmt::format("There is no {} {}. GET /docs lists the endpoints.",
                                      shortened(method), shortened(path)));
  error.status = 404;
  error.code = "not_found";
  return error;
}

ApiError http_error(int status, std::string message) {
  ApiError error = invalid_request("", std::move(message));
  error.status = status;
  error.code = fmt::format("http_{}", status);
  if (status >= 500) error.type = kServerErrorType;
  return error;
}

ApiError invalid_api_key(bool missing) {
  ApiError error = invalid_request(
      "", missing ? "This server needs an API key: send it as \"Authorization: Bearer KEY\" or as "
                    "\"x-api-key: KEY\"."
                  : "The API key is not one of this server's keys.");
  error.status = 401;
  error.code = "invalid_api_key";
  error.type = "authentication_error";
  return error;
}

ApiError permission_denied(std::string message) {
  ApiError error = invalid_request("", std::move(message));
  error.status = 403;
  error.code = "permission_denied";
  error.type = "permission_error";
  return error;
}

ApiError overloaded(std::string message, int64_t retry_after_ms) {
  return server_error(503, "overloaded", std::move(message), retry_after_ms);
}

ApiError rate_limited(std::string message, int64_t retry_after_ms) {
  ApiError error = server_error(429, "rate_limit_exceeded", std::move(message), retry_after_ms);
  error.type = "rate_limit_error";
  return error;
}

ApiError deadline_unreachable(std::string message, int64_t retry_after_ms) {
  return server_error(503, "deadline_unreachable", std::move(message), retry_after_ms);
}

ApiError computing_fails(int64_t retry_after_ms) {
  return overloaded("Computing fails at present; a new try is made from time to time.",
                    std::max<int64_t>(retry_after_ms, 1000));
}

ApiError draining() {
  return server_error(503, "draining", "The server is shutting down and takes no new requests.",
                      5000);
}

ApiError loading() { return server_error(503, "loading", "The model is still loading.", 2000); }

ApiError internal_failure() {
  return server_error(500, "internal_error",
                      "The server failed to compute this answer; its log says why.", -1);
}

ApiError error_from_status(const Status& status, int64_t retry_after_ms) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
      return invalid_request("", status.message());
    case StatusCode::kUnimplemented:
      return unsupported_parameter("", status.message());
    case StatusCode::kNotFound: {
      ApiError error = invalid_request("", status.message());
      error.status = 404;
      error.code = "not_found";
      return error;
    }
    case StatusCode::kResourceExhausted:
      return overloaded(status.message(), retry_after_ms);
    case StatusCode::kUnavailable:
      return draining();
    case StatusCode::kDeadlineExceeded:
      return server_error(503, "deadline_unreachable", status.message(), retry_after_ms);
    case StatusCode::kOk:
    case StatusCode::kCancelled:
    case StatusCode::kDataLoss:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kInternal:
      break;
  }
  return internal_failure();
}

MaybeError error_from_finish(FinishReason reason, int64_t retry_after_ms) {
  switch (reason) {
    case FinishReason::kNone:
    case FinishReason::kStopToken:
    case FinishReason::kStopString:
    case FinishReason::kMaxTokens:
    case FinishReason::kContextFull:
      return std::nullopt;
    case FinishReason::kCancelled:
      // The client is still there, so it was the server that ended the answer.
      return server_error(
          503, "draining",
          "The answer was cut off: the server has stopped (--shutdown-timeout is how "
          "long running answers may go on).",
          5000);
    case FinishReason::kDeadline:
      return server_error(503, "deadline_unreachable",
                          "The deadline of this request passed before it was answered.",
                          retry_after_ms);
    case FinishReason::kNoMemory:
      return overloaded(
          "The server has no room left for this answer: raise its cache memory, or send a shorter "
          "prompt or a lower max_tokens.",
          retry_after_ms);
    case FinishReason::kNotFinite:
      return server_error(500, "not_finite",
                          "The model's numbers for this answer were not finite (NaN); other "
                          "requests are not affected. Sending it again may help.",
                          1000);
    case FinishReason::kError:
      return internal_failure();
    case FinishReason::kUnavailable:
      return computing_fails(retry_after_ms);
  }
  return internal_failure();
}

void append_error_body(std::string& out, const ApiError& error) {
  out += R"({"error":{"message":)";
  append_json_string(out, error.message);
  out += R"(,"type":)";
  append_json_string(out, error.type);
  out += R"(,"param":)";
  append_nullable(out, error.param);
  out += R"(,"code":)";
  append_nullable(out, error.code);
  out += "}}";
}

http::Response error_response(const ApiError& error) {
  http::Response response;
  response.status = error.status;
  append_error_body(response.body, error);
  if (error.retry_after_ms >= 0) {
    const int64_t seconds = std::max<int64_t>(1, (error.retry_after_ms + 999) / 1000);
    response.headers.emplace_back("retry-after", fmt::format("{}", seconds));
    response.headers.emplace_back("retry-after-ms", fmt::format("{}", error.retry_after_ms));
    response.headers.emplace_back("x-should-retry", error.retry_cannot_help ? "false" : "true");
  } else if (error.status >= 400) {
    response.headers.emplace_back("x-should-retry", "false");
  }
  if (error.status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  return response;
}

}  // namespace sparrow::api
