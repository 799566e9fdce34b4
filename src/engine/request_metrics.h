#pragma once
// RequestMetrics: what is told of a request when it ends: why, how long each part took, how many
// tokens went in and out, and how much of it was thinking. Engine thread.

#include <array>
#include <cstdint>
#include <unordered_map>

#include "base/clock.h"
#include "base/metrics.h"
#include "scheduler/sequence.h"

namespace sparrow {

// One choice that ended, with what only its text side knows.
struct FinishedChoice {
  const Sequence& sequence;
  TimePoint now;
  int num_cached = 0;  // prompt tokens found in the prefix cache at its first step
  int num_reasoning_tokens = 0;
  bool has_empty_thinking = false;
};

// Zero where the clock ran backwards: a sum of seconds never falls.
double seconds_between(TimePoint begin, TimePoint end);

class RequestMetrics {
 public:
  RequestMetrics(MetricsRegistry& registry, const MetricLabels& labels, int max_context_tokens,
                 bool legacy_names);
  void on_finish(const FinishedChoice& choice);

 private:
  // Choices of one request that have ended so far.
  struct Group {
    int num_ended = 0;
    int max_output_tokens = 0;
  };
  void observe_times(const FinishedChoice& choice);
  void observe_reasoning(const FinishedChoice& choice);
  void observe_request(const Sequence& sequence);

  std::array<Counter*, 4> finished_{};
  Counter& corrupted_;
  Histogram& whole_;
  Histogram& queue_;
  Histogram& inference_;
  Histogram& prefill_;
  Histogram& decode_;
  Histogram& per_token_;
  Histogram* legacy_per_token_ = nullptr;
  Histogram& prompt_tokens_;
  Histogram& computed_tokens_;
  Histogram& output_tokens_;
  Histogram& max_output_tokens_;
  Histogram& params_max_tokens_;
  Histogram& params_n_;
  Histogram& thinking_tokens_;
  Histogram& answer_tokens_;
  Counter& empty_thinking_;
  Counter& looped_;
  std::unordered_map<uint64_t, Group> groups_;  // of live requests with several choices
};

}  // namespace sparrow
