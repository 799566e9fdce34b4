#pragma once
// SpeculationMetrics: vLLM's counters of guessed tokens. They exist only where speculation is on.
// Engine thread.

#include <vector>

#include "base/metrics.h"
#include "scheduler/speculation.h"

namespace sparrow {

class SpeculationMetrics {
 public:
  SpeculationMetrics(MetricsRegistry& registry, const MetricLabels& labels, int max_draft_tokens);
  void update(const SpeculationCounts& totals);

 private:
  // Null without speculation.
  Counter* drafts_ = nullptr;
  Counter* draft_tokens_ = nullptr;
  Counter* accepted_tokens_ = nullptr;
  std::vector<Counter*> accepted_at_;
  SpeculationCounts seen_;
};

}  // namespace sparrow
