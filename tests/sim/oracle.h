#pragma once
// Oracle: what a choice must show, worked out from its tokens without any engine. Stateless.

#include <span>
#include <string>

#include "core/finish_reason.h"
#include "core/request.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

// After all of `tokens`, which are what the model draws for the request alone; `max_tokens` is what
// the context leaves room for. kNone: it does not end there.
struct Outcome {
  std::string answer;
  std::string reasoning;
  int num_reasoning_tokens = 0;
  FinishReason finish = FinishReason::kNone;
};
Outcome expected_outcome(const Tokenizer& tokenizer, const Request& request,
                         std::span<const TokenId> tokens, int max_tokens);

}  // namespace sparrow
