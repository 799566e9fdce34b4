#pragma once
// ClientPatience: how long a client says it will wait, in headers: x-request-timeout-ms (the whole
// answer) and what OpenAI's SDKs send, x-stainless-read-timeout or x-stainless-timeout (seconds
// without a byte). Values that are no positive number are as if absent. Plain values, stateless.

#include <optional>

#include "base/clock.h"
#include "core/request.h"
#include "http/http_types.h"

namespace sparrow::api {

struct ClientPatience {
  std::optional<double> total_ms;        // until the last byte
  std::optional<double> first_token_ms;  // until there is something to read
};

// A client that gets its answer as a whole reads nothing before the end of it.
ClientPatience patience_of(const http::Request& request, bool stream);

// Sets the deadlines; counted from the request's arrival.
void set_deadlines(const ClientPatience& patience, Request& request);

}  // namespace sparrow::api
