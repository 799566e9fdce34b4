#pragma once
// EngineMetrics: the engine's counters, gauges and histograms under vLLM's names, so that existing
// dashboards show data. Registered once; updated by the engine thread with atomic operations.

#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "core/finish_reason.h"
#include "scheduler/sequence.h"
#include "scheduler/speculation.h"

namespace sparrow {

class EngineMetrics {
 public:
  // The counters of speculation exist only where it is on (max_draft_tokens above 0).
  EngineMetrics(MetricsRegistry& registry, const std::string& model_name, int max_draft_tokens);

  void set_load(int num_running, int num_waiting, double kv_usage);
  void on_step(int num_rows, uint64_t num_preemptions_total);
  // `previous` is the time of the sequence's token before; kNever for the first.
  void on_token(const Sequence& sequence, TimePoint previous);
  void on_speculation(const SpeculationCounts& totals);
  void on_finish(const Sequence& sequence, TimePoint now);

 private:
  struct Instruments;
  Instruments* instruments() const { return instruments_.get(); }
  std::shared_ptr<Instruments> instruments_;
  uint64_t num_preemptions_seen_ = 0;
  SpeculationCounts speculation_seen_;
};

}  // namespace sparrow
