#pragma once
// Caller: whom a request belongs to, as its key says. Plain values; found once per request by
// ApiKeys, then carried along.

#include <cstdint>
#include <string>

namespace sparrow::api {

// 0: no limit of that kind.
struct KeyLimits {
  int requests_per_minute = 0;
  int64_t tokens_per_minute = 0;  // prompt and answer
  int max_concurrent = 0;
};

struct Caller {
  std::string tenant;      // name of the key; empty: no key is asked for
  std::string cache_salt;  // secret of the tenant: its prompts share KV blocks only with its own
  KeyLimits limits;
  bool is_admin = false;
};

}  // namespace sparrow::api
