#pragma once
// Chat messages: from what clients send to what chat templates expect: text parts joined, system
// messages folded or kept, missing contents made explicit. Stateless, thread-safe.

#include <boost/json/array.hpp>
#include <string>
#include <vector>

#include "api/api_options.h"
#include "api/errors.h"

namespace sparrow::api {

struct ChatMessages {
  boost::json::array messages;  // role and content always there; content a string or null
  bool system_folded = false;   // system text now stands in a user message
};

// `system_role` is never kAuto. Unknown keys of messages are appended to `warnings`.
MaybeError parse_chat_messages(const boost::json::array& input, SystemRole system_role,
                               const ApiLimits& limits, ChatMessages& output,
                               std::vector<std::string>& warnings);

}  // namespace sparrow::api
