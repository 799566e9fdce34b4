#pragma once
// What the engine refuses before a request reaches its thread: fields that break the rules of
// core/request.h, and what can never fit. Stateless, thread-safe.

#include "base/status.h"
#include "core/request.h"

namespace sparrow {

// max_context: most positions a sequence can ever hold. Errors name the field, what was found and
// what is allowed.
Status validate_request(const Request& request, int max_context, int vocab_size);

}  // namespace sparrow
