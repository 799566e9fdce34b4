#pragma once
// Gate: AdmissionControl seen from the API. Turns verdicts into errors, headers and changed
// requests, keeps the metrics, and gives each request that was let in a ticket, which settles the
// key's account when it is over. Owned by ApiContext; thread-safe.
//
//   if (const MaybeError refusal = gate.pass(http_request, caller, engine.snapshot(), now,
//   prepared))
//     …send it with prepared.headers…

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admission/admission_control.h"
#include "admission/admission_metrics.h"
#include "api/api_options.h"
#include "api/caller.h"
#include "api/errors.h"
#include "api/stream/generation.h"

namespace sparrow::api {

class Gate {
 public:
  // A kept answer to what was prepared, for when nothing can be computed. Prep threads; null: none.
  using FindAnswer =
      std::function<std::optional<std::vector<StreamEvent>>(const PreparedGeneration&)>;

  Gate(const ApiOptions& options, MetricsRegistry& metrics, FindAnswer find_answer);

  // Decides about prepared requests, shortens them where the load asks for it, and adds headers
  // (x-ratelimit-*, x-sparrow-degraded) to `prepared`. Prep threads.
  MaybeError pass(const http::Request& http_request, const Caller& caller, const LoadSnapshot& load,
                  TimePoint now, PreparedGeneration& prepared);
  // For what costs the engine nothing (a kept answer, counting tokens): it counts as one of the
  // key's requests per minute, and adds their headers. Any thread.
  MaybeError pass_without_work(const Caller& caller, TimePoint now, http::Headers& headers);
  // Something behind or before this gate refused.
  void note_refusal(RejectReason reason) { metrics_.on_reject(reason); }
  // Lets ladder and gauges follow the load when nobody asks for anything.
  void update(const LoadSnapshot& load, TimePoint now);

 private:
  void answer_without_engine(PreparedGeneration& prepared);

  const FindAnswer find_answer_;
  const std::string degrade_message_;
  const double degrade_lower_ms_;
  const int max_num_queued_reqs_;
  AdmissionControl control_;
  AdmissionMetrics metrics_;
};

// 503 while the breaker keeps requests away from the engine.
ApiError breaker_open(double retry_after_ms);

}  // namespace sparrow::api
