#pragma once
// Caller: whom a request belongs to, as its key says. Plain values; found once per request by
// ApiKeys, then carried along.

#include <string>

#include "admission/key_limits.h"

namespace sparrow::api {

struct Caller {
  std::string tenant;      // name of the key; empty: no key is asked for
  std::string cache_salt;  // secret of the tenant: its prompts share KV blocks only with its own
  KeyLimits limits;
  bool is_admin = false;
};

}  // namespace sparrow::api
