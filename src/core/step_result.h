#pragma once
// StepResult: what one step produced. Span i of the plan produced the tokens
// [spans[i].token_begin, + spans[i].num_tokens): 0..num_logit_rows of them, so every consumer
// handles more than one token per sequence and step. Written by the executor, reused every step.

#include <cstdint>
#include <vector>

#include "core/ids.h"

namespace sparrow {

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;  // natural logarithm, after logit_bias and penalties, before temperature
};

struct SampledToken {
  TokenId id = 0;
  float logprob = 0;      // 0 unless the slot asked for logprobs
  int32_t top_begin = 0;  // index into StepResult::top_logprobs, best first
  int32_t num_top = 0;
  bool not_finite = false;  // a logit of this row was NaN or infinite; id is then meaningless
};

struct SpanResult {
  int32_t token_begin = 0;
  int32_t num_tokens = 0;
};

struct StepResult {
  uint64_t step = 0;
  std::vector<SpanResult> spans;
  std::vector<SampledToken> tokens;
  std::vector<TokenLogprob> top_logprobs;
  bool failed = false;     // the executor could not finish the step; no token is valid
  bool no_memory = false;  // it failed for want of host memory: the same step may succeed later
  // From begin(), or the end of the step before if that was later, to this result: measured, or
  // simulated by a fake.
  int64_t elapsed_ns = 0;

  void clear() {
    spans.clear();
    tokens.clear();
    top_logprobs.clear();
    failed = false;
    no_memory = false;
    elapsed_ns = 0;
  }
};

}  // namespace sparrow
