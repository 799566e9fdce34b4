#include "engine/speculation_metrics.h"

#include <string>

namespace sparrow {

SpeculationMetrics::SpeculationMetrics(MetricsRegistry& registry, const MetricLabels& labels,
                                       int max_draft_tokens) {
  if (max_draft_tokens == 0) return;
  drafts_ = &registry.counter("vllm:spec_decode_num_drafts_total",
                              "Steps of a sequence with guesses", labels);
  draft_tokens_ =
      &registry.counter("vllm:spec_decode_num_draft_tokens_total", "Guessed tokens", labels);
  accepted_tokens_ = &registry.counter("vllm:spec_decode_num_accepted_tokens_total",
                                       "Guessed tokens that were right", labels);
  for (int i = 0; i < max_draft_tokens; ++i) {
    MetricLabels with_position = labels;
    with_position.emplace_back("position", std::to_string(i));
    accepted_at_.push_back(&registry.counter("vllm:spec_decode_num_accepted_tokens_per_pos_total",
                                             "Right guesses by place in the draft",
                                             std::move(with_position)));
  }
}

void SpeculationMetrics::update(const SpeculationCounts& totals) {
  if (drafts_ == nullptr || totals.num_drafts == seen_.num_drafts) return;
  drafts_->add(totals.num_drafts - seen_.num_drafts);
  draft_tokens_->add(totals.num_draft_tokens - seen_.num_draft_tokens);
  accepted_tokens_->add(totals.num_accepted_tokens - seen_.num_accepted_tokens);
  for (size_t i = 0; i < accepted_at_.size(); ++i) {
    accepted_at_[i]->add(totals.num_accepted_at[i] - seen_.num_accepted_at[i]);
  }
  seen_ = totals;
}

}  // namespace sparrow
