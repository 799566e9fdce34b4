#include "model/plan_checks.h"

#include "base/check.h"

namespace sparrow {
namespace {

void check_span(const Span& span, const BatchPlan& plan, const ExecutorLimits& limits) {
  CHECK(span.slot >= 0 && span.slot < limits.num_slots);
  CHECK(span.num_tokens >= 1 && span.first_position >= 0);
  CHECK(span.num_logit_rows >= 0 && span.num_logit_rows <= span.num_tokens);
  CHECK(span.num_drafts == 0 || span.num_logit_rows == span.num_drafts + 1);
  CHECK(span.first_position <= limits.max_context_tokens - span.num_tokens);
  CHECK(span.token_begin >= 0 && span.token_begin <= plan.num_tokens() - span.num_tokens);
  const int32_t wanted =
      (span.first_position + span.num_tokens + limits.block_tokens - 1) / limits.block_tokens;
  CHECK(span.block_begin >= 0 && span.num_blocks >= wanted);
  CHECK(static_cast<size_t>(span.block_begin) + static_cast<size_t>(span.num_blocks) <=
        plan.block_ids.size());
  for (int32_t i = 0; i < wanted; ++i) {
    const BlockId block = plan.block_ids[static_cast<size_t>(span.block_begin + i)];
    CHECK(block >= 0 && block < limits.num_blocks);
  }
}

}  // namespace

void check_plan(const BatchPlan& plan, const ExecutorLimits& limits) {
  CHECK(!plan.empty() && plan.num_tokens() <= limits.max_batch_tokens);
  int32_t row = 0;
  for (const Span& span : plan.spans) {
    check_span(span, plan, limits);
    CHECK(span.token_begin == row);
    row += span.num_tokens;
  }
  CHECK(row == plan.num_tokens());
  for (const TokenId token : plan.token_ids) {
    CHECK(token == kPendingToken || (token >= 0 && token < limits.vocab_size));
  }
}

}  // namespace sparrow
