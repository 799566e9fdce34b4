#include "admission/shorten_request.h"

#include <algorithm>

namespace sparrow {

void shorten(const Shortening& shortening, Request& request) {
  if (shortening.max_tokens) {
    request.stop.max_tokens = std::max(*shortening.max_tokens, request.stop.min_tokens);
  }
  if (shortening.temperature) request.sampling.temperature = *shortening.temperature;
  if (shortening.thinking_budget) request.reasoning.max_tokens = *shortening.thinking_budget;
  request.reasoning.answer_reserve =
      std::max(request.reasoning.answer_reserve, shortening.answer_reserve);
}

}  // namespace sparrow
