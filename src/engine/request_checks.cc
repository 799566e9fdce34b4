#include "engine/request_checks.h"

#include <fmt/format.h>

namespace sparrow {
namespace {

constexpr int kMaxChoices = 128;
// Stop strings cost a step per byte of text and string, and a table as long as they are.
constexpr size_t kMaxStopStrings = 64;
constexpr size_t kMaxStopBytes = 16384;
constexpr size_t kMaxClosingTokens = 16;

Status validate_stop_rules(const StopRules& stop) {
  if (stop.max_tokens < 1) {
    return invalid_argument(fmt::format("max_tokens is {}, must be at least 1", stop.max_tokens));
  }
  if (stop.min_tokens < 0 || stop.min_tokens > stop.max_tokens) {
    return invalid_argument(fmt::format("min_tokens is {}, must be 0..{} (max_tokens)",
                                        stop.min_tokens, stop.max_tokens));
  }
  if (stop.strings.size() > kMaxStopStrings) {
    return invalid_argument(fmt::format("stop has {} strings, at most {} are allowed",
                                        stop.strings.size(), kMaxStopStrings));
  }
  size_t num_bytes = 0;
  for (const std::string& string : stop.strings) num_bytes += string.size();
  if (num_bytes > kMaxStopBytes) {
    return invalid_argument(
        fmt::format("stop has {} bytes, at most {} are allowed", num_bytes, kMaxStopBytes));
  }
  return ok_status();
}

Status validate_reasoning(const ReasoningTokens& reasoning, int vocab_size) {
  if (reasoning.max_tokens < -1 || reasoning.answer_reserve < 0) {
    return invalid_argument(fmt::format(
        "the thinking budget is {} and the answer reserve {}, must be at least -1 and 0",
        reasoning.max_tokens, reasoning.answer_reserve));
  }
  if (reasoning.closing.size() > kMaxClosingTokens) {
    return invalid_argument(fmt::format("{} tokens close the thinking, at most {} are allowed",
                                        reasoning.closing.size(), kMaxClosingTokens));
  }
  for (const TokenId id : reasoning.closing) {
    if (id < 0 || id >= vocab_size) {
      return invalid_argument(
          fmt::format("the thinking is closed by token id {}, must be 0..{}", id, vocab_size - 1));
    }
  }
  return ok_status();
}

}  // namespace

Status validate_request(const Request& request, int max_context, int vocab_size) {
  const size_t num_prompt = request.prompt.size();
  if (num_prompt == 0) return invalid_argument("the prompt is empty");
  if (num_prompt >= static_cast<size_t>(max_context)) {
    return invalid_argument(fmt::format(
        "the prompt has {} tokens; at most {} fit with one token of answer (--max-model-len, "
        "--kv-cache-memory-bytes)",
        num_prompt, max_context - 1));
  }
  for (const TokenId id : request.prompt) {
    if (id < 0 || id >= vocab_size) {
      return invalid_argument(
          fmt::format("the prompt has the token id {}, must be 0..{}", id, vocab_size - 1));
    }
  }
  if (request.num_choices < 1 || request.num_choices > kMaxChoices) {
    return invalid_argument(
        fmt::format("n is {}, must be 1..{}", request.num_choices, kMaxChoices));
  }
  if (request.masker != nullptr && request.num_choices > 1) {
    return invalid_argument("a constrained answer with n > 1 is not supported");
  }
  RETURN_IF_ERROR(validate_stop_rules(request.stop));
  RETURN_IF_ERROR(validate_reasoning(request.reasoning, vocab_size));
  return validate_sampling_params(request.sampling, vocab_size);
}

}  // namespace sparrow
