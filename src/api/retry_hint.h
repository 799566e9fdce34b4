#pragma once
// How long a refused client should wait: until the machine has worked off what waits now, by the
// same prediction that lets requests in. Stateless, thread-safe.

#include <algorithm>
#include <cstdint>

#include "admission/predicted_wait.h"

namespace sparrow::api {

inline int64_t retry_after_ms(const LoadSnapshot& load) {
  return static_cast<int64_t>(std::clamp(predicted_first_token_ms(load, {}, 0), 1000.0, 60'000.0));
}

}  // namespace sparrow::api
