#pragma once
// EngineMetrics: the engine's counters, gauges and histograms under vLLM's names, so that existing
// dashboards and routers show data, and Sparrow's own beside them. Registered once; updated by the
// engine thread with atomic operations. Every choice counts as a sequence with its own prompt.

#include <array>
#include <cstdint>
#include <string>

#include "admission/load_snapshot.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "engine/request_metrics.h"
#include "engine/speculation_metrics.h"
#include "scheduler/sequence.h"

namespace sparrow {

struct EngineMetricsOptions {
  std::string model_name;
  int engine_index = 0;
  int max_draft_tokens = 0;  // above 0: speculation is on
  int block_tokens = 16;
  int num_blocks = 0;
  int max_context_tokens = 0;
  bool legacy_names = true;  // vLLM's old ones, too
};

class EngineMetrics {
 public:
  EngineMetrics(MetricsRegistry& registry, const EngineMetricsOptions& options);

  void set_load(const LoadSnapshot& load, uint64_t num_evictions_total);
  // `seconds`: what the executor took.
  void on_step(int num_rows, double seconds, bool failed, uint64_t num_preemptions_total);
  // A prompt was looked up in the prefix cache, once in a sequence's life: numbers of tokens. What
  // it finds when it comes back from a preemption was its own work and is no hit.
  void on_prefix_cache(int num_queried, int num_hits);
  // `previous` is the time of the sequence's token before; kNever for the first. `num_cached`:
  // prompt tokens found at its first step.
  void on_token(const Sequence& sequence, TimePoint previous, int num_cached);
  void on_first_answer_token(const Sequence& sequence);
  void on_speculation(const SpeculationCounts& totals) { speculation_.update(totals); }
  void on_finish(const FinishedChoice& choice) { requests_.on_finish(choice); }

 private:
  // vLLM's names of before; null if not wanted.
  struct LegacyNames {
    Gauge* kv_usage = nullptr;
    Gauge* hit_rate = nullptr;
    Counter* cache_queries = nullptr;
    Counter* cache_hits = nullptr;
  };
  EngineMetrics(MetricsRegistry& registry, const MetricLabels& labels,
                const EngineMetricsOptions& options);
  void add_constants(MetricsRegistry& registry, const MetricLabels& labels,
                     const EngineMetricsOptions& options);
  void add_legacy_names(MetricsRegistry& registry, const MetricLabels& labels);

  Gauge& running_;
  Gauge& waiting_;
  Gauge& waiting_for_capacity_;
  Gauge& waiting_deferred_;  // for a prefix that others compute
  Gauge& kv_usage_;
  std::array<Gauge*, 3> blocks_{};  // live, cached, free
  Counter& prompt_tokens_;
  Counter& prompt_tokens_cached_;
  Counter& prompt_tokens_computed_;
  Counter& prompt_tokens_hit_;
  Counter& generation_tokens_;
  Counter& cache_queries_;
  Counter& cache_hits_;
  Counter& preemptions_;
  Counter& evictions_;
  Counter& failed_steps_;
  Histogram& first_token_;
  Histogram& first_answer_token_;
  Histogram& inter_token_;
  Histogram& rows_;
  Histogram& step_seconds_;
  LegacyNames legacy_;
  SpeculationMetrics speculation_;
  RequestMetrics requests_;
  uint64_t num_preemptions_seen_ = 0;
  uint64_t num_evictions_seen_ = 0;
};

}  // namespace sparrow
