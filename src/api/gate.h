#pragma once
// Gate: AdmissionControl seen from the API. Turns verdicts into errors, headers and changed
// requests, keeps the metrics, and gives each request that was let in a ticket, which settles the
// key's account when it is over. Owned by ApiContext; thread-safe.
//
//   GateOutcome outcome = gate.pass(http_request, caller, engine.snapshot(), now, prepared);
//   if (outcome.refusal) …send it with outcome.headers…

#include <memory>
#include <optional>
#include <string>

#include "admission/admission_control.h"
#include "admission/admission_metrics.h"
#include "api/api_options.h"
#include "api/caller.h"
#include "api/errors.h"
#include "api/stream/generation.h"

namespace sparrow::api {

class Gate {
 public:
  Gate(const ApiOptions& options, MetricsRegistry& metrics);

  // Decides about prepared requests, shortens them where the load asks for it, and adds headers
  // (x-ratelimit-*, x-sparrow-degraded) to `prepared`. Prep threads.
  MaybeError pass(const http::Request& http_request, const Caller& caller, const LoadSnapshot& load,
                  TimePoint now, PreparedGeneration& prepared);
  // Something behind or before this gate refused.
  void note_refusal(RejectReason reason) { metrics_.on_reject(reason); }
  // Lets ladder and gauges follow the load when nobody asks for anything.
  void update(const LoadSnapshot& load, TimePoint now);

 private:
  void answer_without_engine(const Caller& caller, PreparedGeneration& prepared);

  const std::function<std::optional<std::string>(const Caller&, std::string_view)> cached_answer_;
  AdmissionControl control_;
  AdmissionMetrics metrics_;
};

// 503 while the breaker keeps requests away from the engine.
ApiError breaker_open(double retry_after_ms);

}  // namespace sparrow::api
