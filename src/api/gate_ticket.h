#pragma once
// GateTicket: what a request that was let in holds of its key's limits, until it is over. Its
// destructor gives back what was not used. Used by one thread at a time.

#include <string>
#include <utility>

#include "admission/admission_control.h"
#include "admission/admission_metrics.h"

namespace sparrow::api {

class GateTicket {
 public:
  // Both outlive the ticket. It holds nothing until it is armed.
  GateTicket(AdmissionControl& control, AdmissionMetrics& metrics, std::string key)
      : control_(control), metrics_(metrics), key_(std::move(key)) {}
  void arm(const Verdict& verdict) noexcept { verdict_ = verdict; }
  GateTicket(const GateTicket&) = delete;
  GateTicket& operator=(const GateTicket&) = delete;
  ~GateTicket() { control_.settle(key_, verdict_, num_tokens_used_); }

  // Prompt and answer, as far as they were computed.
  void set_tokens_used(int64_t num_tokens) { num_tokens_used_ = num_tokens; }
  // The engine did not take it after all.
  void note_refusal(RejectReason reason) { metrics_.on_reject(reason); }

 private:
  AdmissionControl& control_;
  AdmissionMetrics& metrics_;
  const std::string key_;
  Verdict verdict_;
  int64_t num_tokens_used_ = 0;
};

}  // namespace sparrow::api
