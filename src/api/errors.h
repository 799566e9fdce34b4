#pragma once
// ApiError: what a client is told when a request fails, and the only place where a Status becomes
// an HTTP status. Bodies have OpenAI's four keys and never contain paths or internal names.
//
// Parsing functions return MaybeError and fill an out-parameter:
//
//   if (auto error = parse_chat_request(body, model, request)) return send_error(*error);
//
// Plain values, thread-compatible.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "core/finish_reason.h"
#include "http/http_types.h"

namespace sparrow::api {

struct ApiError {
  int status = 400;
  std::string message;
  std::string code;   // "" = null on the wire
  std::string param;  // "" = null on the wire
  std::string type = "invalid_request_error";
  int64_t retry_after_ms = -1;     // >= 0: Retry-After and retry-after-ms are sent
  bool retry_cannot_help = false;  // x-should-retry: false
};

using MaybeError = std::optional<ApiError>;

// 400 with `code` invalid_request, unsupported_parameter and context_length_exceeded.
ApiError invalid_request(std::string param, std::string message);
ApiError unsupported_parameter(std::string param, std::string message);
ApiError context_length_exceeded(int64_t window, int64_t num_prompt, int64_t num_output);

ApiError model_not_found(std::string_view name);  // 404
ApiError not_found(std::string_view method, std::string_view path);
ApiError http_error(int status, std::string message);                // code http_<status>
ApiError invalid_api_key(bool missing);                              // 401
ApiError overloaded(std::string message, int64_t retry_after_ms);    // 503
ApiError rate_limited(std::string message, int64_t retry_after_ms);  // 429: a key's own quota
ApiError deadline_unreachable(std::string message, int64_t retry_after_ms);  // 503
ApiError permission_denied(std::string message);                             // 403
ApiError computing_fails(int64_t retry_after_ms);                            // 503
ApiError draining();
ApiError loading();
ApiError internal_failure();  // 500, says nothing about our insides

// What Engine::submit() and the libraries below say.
ApiError error_from_status(const Status& status, int64_t retry_after_ms);
// Why a sequence ended without a result; nullopt when `reason` is an ordinary end.
MaybeError error_from_finish(FinishReason reason, int64_t retry_after_ms);

// {"error":{"message":…,"type":…,"param":…,"code":…}}
void append_error_body(std::string& out, const ApiError& error);
http::Response error_response(const ApiError& error);

}  // namespace sparrow::api
