#include "engine/loop_check.h"

#include <algorithm>

namespace sparrow {
namespace {

// Of the end: tokens that equal the one a period before, with the first period itself.
size_t periodic_length(std::span<const TokenId> tokens, size_t period, size_t enough) {
  size_t length = period;
  for (size_t i = tokens.size(); i > period && length < enough; --i, ++length) {
    if (tokens[i - 1] != tokens[i - 1 - period]) break;
  }
  return length;
}

}  // namespace

bool ends_in_loop(std::span<const TokenId> tokens) {
  for (size_t period = 1; period <= kMaxLoopPeriod && 3 * period <= tokens.size(); ++period) {
    const size_t enough = std::max<size_t>(3 * period, kMinLoopTokens);
    if (periodic_length(tokens, period, enough) >= enough) return true;
  }
  return false;
}

}  // namespace sparrow
