#pragma once
// How one log line is written: text for people, JSON for collectors. What a client supplied cannot
// break a line or colour a terminal: control characters are escaped, long strings are cut.
// Stateless, thread-safe.
//
//   POST /v1/chat/completions 200 request_id=req-1 tenant=alice total_ms=12.5
//   "message":"POST /v1/chat/completions 200","request_id":"req-1","tenant":"alice","total_ms":12.5

#include <string>
#include <string_view>

#include "base/log.h"

namespace sparrow {

// Of one string; what is cut off is counted behind it.
inline constexpr size_t kMaxLogStringBytes = 4096;

void append_log_text(std::string& out, std::string_view message, const LogFields& fields);
// The members of a JSON object, without the braces.
void append_log_json(std::string& out, std::string_view message, const LogFields& fields);

}  // namespace sparrow
