#include "admission/admission_metrics.h"

namespace sparrow {
namespace {

Counter& degraded(MetricsRegistry& registry, const char* action) {
  return registry.counter("sparrow_degraded_total",
                          "Requests that got less than usual because of load",
                          {{"action", action}});
}

}  // namespace

AdmissionMetrics::AdmissionMetrics(MetricsRegistry& registry)
    : thinking_budget_(degraded(registry, "thinking_budget")),
      max_tokens_(degraded(registry, "max_tokens")),
      temperature_(degraded(registry, "temperature")),
      cached_answer_(degraded(registry, "cached_answer")),
      message_(degraded(registry, "message")),
      level_(registry.gauge("sparrow_degradation_level",
                            "Step of the degradation ladder, 0 (none) to 4 (refuse)")),
      breaker_(registry.gauge("sparrow_breaker_state",
                              "Circuit breaker of the engine: 0 closed, 1 open, 2 half-open")) {
  for (int i = 1; i < kNumRejectReasons; ++i) {
    rejected_[static_cast<size_t>(i)] =
        &registry.counter("sparrow_rejected_total", "Requests refused before they were computed",
                          {{"reason", reject_reason_name(static_cast<RejectReason>(i))}});
  }
}

void AdmissionMetrics::on_reject(RejectReason reason) {
  Counter* counter = rejected_[static_cast<size_t>(reason)];
  if (counter != nullptr) counter->add();
}

void AdmissionMetrics::on_verdict(const Verdict& verdict) {
  on_reject(verdict.reason);
  if (verdict.shortening.shortens_thinking()) thinking_budget_.add();
  if (verdict.shortening.max_tokens) max_tokens_.add();
  if (verdict.shortening.temperature) temperature_.add();
}

void AdmissionMetrics::set_state(int level, BreakerState breaker) {
  level_.set(level);
  breaker_.set(static_cast<double>(breaker));
}

}  // namespace sparrow
