#include "engine/step_checks.h"

#include <cstddef>

namespace sparrow {
namespace {

// [begin, begin + count) lies within a table.
bool lies_within(int32_t begin, int32_t count, size_t size) {
  if (begin < 0 || count < 0) return false;
  return static_cast<size_t>(begin) + static_cast<size_t>(count) <= size;
}

bool is_token_sound(const SampledToken& token, const StepResult& result, int vocab_size) {
  if (token.not_finite) return true;  // its id means nothing
  return token.id >= 0 && token.id < vocab_size &&
         lies_within(token.top_begin, token.num_top, result.top_logprobs.size());
}

}  // namespace

const char* contradiction_in(const BatchPlan& plan, const StepResult& result, int vocab_size) {
  if (result.failed) return "the executor could not finish it";
  if (result.step != plan.step) return "the executor answered for another step";
  if (result.spans.size() != plan.spans.size()) return "the executor answered for other spans";
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const SpanResult& produced = result.spans[i];
    const bool fits = produced.num_tokens <= plan.spans[i].num_logit_rows &&
                      lies_within(produced.token_begin, produced.num_tokens, result.tokens.size());
    if (!fits) return "the executor gave tokens nobody asked for";
    for (int32_t at = 0; at < produced.num_tokens; ++at) {
      const auto index = static_cast<size_t>(produced.token_begin + at);
      if (!is_token_sound(result.tokens[index], result, vocab_size)) {
        return "the executor gave a token that does not exist";
      }
    }
  }
  return nullptr;
}

}  // namespace sparrow
