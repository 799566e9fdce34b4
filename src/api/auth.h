#pragma once
// ApiKeys: who may call. Keys come as "Authorization: Bearer KEY" or "x-api-key: KEY". Health
// endpoints need none. Constant after construction; thread-safe.

#include <string>
#include <string_view>
#include <vector>

#include "api/caller.h"
#include "api/errors.h"
#include "http/http_types.h"

namespace sparrow::api {

class ApiKeys {
 public:
  explicit ApiKeys(std::vector<std::string> keys);
  bool enabled() const { return !keys_.empty(); }
  MaybeError check(const http::Request& request) const;
  // Of a request that passed check().
  Caller caller_of(const http::Request& request) const;

 private:
  bool is_known(std::string_view key) const;

  std::vector<std::string> keys_;
};

// Time depends on the lengths only, not on where the texts differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace sparrow::api
