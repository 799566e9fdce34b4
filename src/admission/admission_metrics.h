#pragma once
// AdmissionMetrics: what was refused and shortened, and where ladder and breaker stand. Registered
// once, so that every reason shows as zero; updates are atomic and safe from any thread.

#include <array>

#include "admission/admission_control.h"
#include "base/metrics.h"

namespace sparrow {

class AdmissionMetrics {
 public:
  explicit AdmissionMetrics(MetricsRegistry& registry);

  void on_verdict(const Verdict& verdict);
  void on_reject(RejectReason reason);
  // Nothing was computed: what was sent instead.
  void on_cached_answer() { cached_answer_.add(); }
  void on_message() { message_.add(); }
  void set_state(int level, BreakerState breaker);

 private:
  std::array<Counter*, kNumRejectReasons> rejected_{};
  Counter& thinking_budget_;
  Counter& max_tokens_;
  Counter& temperature_;
  Counter& cached_answer_;
  Counter& message_;
  Gauge& level_;
  Gauge& breaker_;
};

}  // namespace sparrow
