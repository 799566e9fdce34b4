#include "engine/step_masks.h"

#include <algorithm>

#include "engine/failure.h"

namespace sparrow {

void StepMasks::assign(Scheduler& scheduler, const BatchPlan& plan) {
  int32_t num_rows = 0;
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const bool is_constrained = scheduler.planned(i).request->masker != nullptr;
    if (!is_constrained || plan.spans[i].num_logit_rows == 0) continue;
    scheduler.set_mask_row(i, num_rows);
    num_rows += 1 + plan.spans[i].num_drafts;
  }
  words_.assign(static_cast<size_t>(num_rows) * static_cast<size_t>(words_per_row_), 0);
}

void StepMasks::fill(Scheduler& scheduler, const BatchPlan& plan) noexcept {
  const auto words = static_cast<size_t>(words_per_row_);
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const Span& span = plan.spans[i];
    if (span.mask_row < 0) continue;
    const auto rows = std::span(words_).subspan(static_cast<size_t>(span.mask_row) * words,
                                                words * static_cast<size_t>(1 + span.num_drafts));
    try {
      fill_rows(plan, span, *scheduler.planned(i).request->masker, rows);
    } catch (...) {
      reason_of_exception("the constraint of a request");
      std::fill(rows.begin(), rows.end(), 0);
    }
  }
}

// A draft has the mask that follows the drafts before it. The masker walks over them and back
// again; behind a draft that may not come no row is ever sampled, so those masks stay empty.
void StepMasks::fill_rows(const BatchPlan& plan, const Span& span, TokenMasker& masker,
                          std::span<uint32_t> rows) {
  const auto words = static_cast<size_t>(words_per_row_);
  const int32_t first_draft = span.token_begin + span.num_tokens - span.num_drafts;
  int num_accepted = 0;
  while (true) {
    const std::span<uint32_t> row = rows.subspan(words * static_cast<size_t>(num_accepted), words);
    // Unconstrained at this point: every token may come.
    if (!masker.fill(row)) std::fill(row.begin(), row.end(), ~0u);
    if (num_accepted == span.num_drafts) break;
    const auto draft =
        static_cast<size_t>(plan.token_ids[static_cast<size_t>(first_draft + num_accepted)]);
    const bool may_come = (row[draft / 32] >> (draft % 32) & 1u) != 0;
    if (!may_come || !masker.accept(static_cast<TokenId>(draft))) break;
    ++num_accepted;
  }
  if (num_accepted > 0) masker.roll_back(num_accepted);
}

}  // namespace sparrow
