#pragma once
// AdmissionControl: whether a request is let in, and in what shape. A snapshot and a request in, a
// verdict out; no thread, no clock. Server, simulation and planner use this one object.
//
//   const Verdict verdict = control.decide(engine.snapshot(), request, clock.now());
//   … verdict.decision, verdict.shortening …
//   control.settle(key, verdict, num_tokens_used);      // once, when what was let in has ended
//
// Refused are: everything while the breaker is open or the ladder stands at its top; a key beyond
// its limits; what the queue has no place for; and what would wait longer for its first token than
// its client does, or than the operator allows. Work let in since the snapshot was taken counts, so
// a burst between two steps is not let in as a whole.
//
// Who is refused for load is told when to come back: the excess of the predicted wait, and behind
// everybody who was told before, as the machine can serve only one after the other. Those who come
// back find the door open: newcomers leave them a fifth of the allowed wait.
//
// Thread-safe: one mutex, held for some arithmetic. The scheduler's order may differ from that of
// arrival (priorities, fairness), so a prediction is right on average only.

#include <array>
#include <mutex>
#include <optional>
#include <string_view>

#include "admission/degradation.h"
#include "admission/key_limits.h"
#include "admission/load_snapshot.h"
#include "admission/predicted_wait.h"

namespace sparrow {

struct AdmissionOptions {
  double max_queue_wait_ms = 60'000;  // predicted, to the first token; 0: no limit
  int max_num_queued_reqs = 1024;     // sequences that wait
  KeyLimits key_limits;               // of keys that have none of their own
  DegradationOptions degradation;
};

enum class RejectReason {
  kNone,
  kQueueFull,
  kPredictedWait,  // longer than the operator allows
  kDeadline,       // longer than the client waits
  kBreakerOpen,
  kDegraded,  // the ladder's last step
  kRequestsPerMinute,
  kTokensPerMinute,
  kConcurrentPerKey,
  // Decided by the server, counted here:
  kConcurrency,  // --limit-concurrency
  kConnections,  // --max-connections
  kBodyMemory,   // the bodies of all requests together
  kPrepQueue,    // the queue in front of templates and tokenizer
};
inline constexpr int kNumRejectReasons = 13;

const char* reject_reason_name(RejectReason reason);  // "queue_full"
// A quota of the key, and not the state of the server.
bool is_key_limit(RejectReason reason);

struct AdmissionRequest {
  std::string_view key;  // whose limits count; empty: all callers without a key
  KeyLimits limits;      // of the key itself: a 0 takes the default
  int64_t num_prompt_tokens = 0;
  int num_sequences = 1;
  RequestShape shape;
  // How long the client waits, from now on.
  std::optional<double> first_token_within_ms;
  std::optional<double> total_within_ms;
  bool is_retry = false;  // comes back after a refusal
};

enum class Decision {
  kAccept,
  kMessage,  // nothing is computed: a cached answer or a friendly message
  kReject,
};

struct Verdict {
  Decision decision = Decision::kAccept;
  RejectReason reason = RejectReason::kNone;
  double retry_after_ms = 0;
  bool retry_cannot_help = false;
  double predicted_wait_ms = 0;
  Shortening shortening;
  int level = 0;         // of the ladder
  KeyStatus key_status;  // after this decision
  int64_t num_tokens_taken = 0;
  bool holds_key = false;  // to be settled
  TimePoint decided_at{};
};

class AdmissionControl {
 public:
  explicit AdmissionControl(const AdmissionOptions& options);

  Verdict decide(const LoadSnapshot& load, const AdmissionRequest& request, TimePoint now);
  // A request that the engine never sees (a kept answer, counting tokens): only its key's requests
  // per minute bind, whatever the load. Nothing is to be settled.
  Verdict decide_without_work(std::string_view key, const KeyLimits& limits, TimePoint now);
  // What was let in has ended, or was refused behind this door: `num_tokens_used` of its prompt
  // and answer. Does nothing for a verdict that holds nothing.
  void settle(std::string_view key, const Verdict& verdict, int64_t num_tokens_used);
  // The level of the ladder under this load; decide() does the same.
  int update_level(const LoadSnapshot& load, TimePoint now);

 private:
  // Sequences let in while the engine computed one step.
  struct Recent {
    uint64_t step = 0;
    Reservation work;
  };
  Reservation recent_work(const LoadSnapshot& load) const;
  void reserve(const LoadSnapshot& load, const AdmissionRequest& request);
  bool check_key(const LoadSnapshot& load, const AdmissionRequest& request, TimePoint now,
                 Verdict& verdict);
  bool check_load(const LoadSnapshot& load, const AdmissionRequest& request, TimePoint now,
                  Verdict& verdict);
  double caution(const LoadSnapshot& load, TimePoint now);
  double appointment_ms(const LoadSnapshot& load, const AdmissionRequest& request, double excess_ms,
                        TimePoint now);
  KeyLimits limits_of(KeyLimits own) const;

  const AdmissionOptions options_;
  std::mutex mutex_;
  // Guarded by mutex_.
  DegradationLadder ladder_;
  KeyLimiter keys_;
  std::array<Recent, 2> recent_;  // by parity of the step
  double settled_step_ms_ = 0;    // of a full step, as it was over the last seconds
  TimePoint settled_at_{};
  TimePoint last_appointment_{};  // of those who were refused for load
};

}  // namespace sparrow
