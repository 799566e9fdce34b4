#pragma once
// The file of `sparrow cache warm`: one question a line, or one JSON object a line with what
// /v1/chat/completions takes (messages, reasoning_effort, …). Empty lines are skipped. Stateless.

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sparrow {

struct WarmQuestion {
  size_t line = 0;    // counted from 1
  std::string shown;  // for people, short
  std::string body;   // of a POST to /v1/chat/completions
};

// Errors name `path` and the line.
Result<std::vector<WarmQuestion>> parse_warm_questions(std::string_view text,
                                                       std::string_view path);

}  // namespace sparrow
