#pragma once
// SimDoor: what stands before the engine in a server: a bounded queue of requests that are being
// prepared, then AdmissionControl with key limits and ladder. Clients that are refused may come
// back. What admission promises is checked against books of its own. One thread; deterministic.

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "admission/admission_control.h"
#include "admission/admission_metrics.h"
#include "faults.h"
#include "seeded_random.h"
#include "workload.h"

namespace sparrow {

class SimDoor {
 public:
  using Violate = std::function<void(const std::string&)>;
  // Hands a request to the engine; its tag if the engine took it.
  using Submit = std::function<std::optional<size_t>(const Arrival&, uint64_t request_id)>;

  SimDoor(uint64_t seed, const DoorOptions& options, const FaultPlan& faults, FaultCounts& counts,
          MetricsRegistry& metrics, Violate violate);

  void arrive(const Arrival& arrival, uint64_t request_id, uint64_t step);
  // Clients whose time to come back has come, then those that were prepared since the last step.
  void work(const LoadSnapshot& load, TimePoint now, uint64_t step, const Submit& submit);
  // What was let in has ended; of others it does nothing.
  void on_end(size_t tag, int64_t num_tokens_used);

  bool has_work() const { return !prepared_.empty() || !returning_.empty(); }
  // When the next client comes back; empty while somebody stands at the door.
  std::optional<TimePoint> next_return() const;
  // Nothing is held any more, and the counters say what happened.
  void check_end(TimePoint now);

  uint64_t num_refused() const { return num_refused_; }
  uint64_t num_shortened() const { return num_shortened_; }
  uint64_t num_messages() const { return num_messages_; }

 private:
  struct Visitor {
    Arrival arrival;
    uint64_t request_id = 0;
    int num_visits = 0;
    TimePoint returns_at{};
  };
  struct Ticket {
    std::string key;
    Verdict verdict;
    TimePoint let_in_at{};  // never goes back
  };
  struct KeyBook {
    TimePoint latest = TimePoint::min();  // clocks go back, buckets do not
    std::map<uint64_t, Ticket> held;      // by serial
    std::deque<TimePoint> requests;       // those counted, never goes back
  };

  AdmissionRequest question_of(const Visitor& visitor, TimePoint now) const;
  void decide(Visitor visitor, const LoadSnapshot& load, TimePoint now, uint64_t step,
              const Submit& submit);
  void send_away(Visitor visitor, const Verdict& verdict, TimePoint now, uint64_t step);
  void settle(uint64_t serial, const std::string& key, int64_t num_tokens_used);
  void check_verdict(const LoadSnapshot& load, const AdmissionRequest& question,
                     const Verdict& verdict, TimePoint now);
  void check_level(const Verdict& verdict, TimePoint now);
  void check_key(const AdmissionRequest& question, const Verdict& verdict);
  void check_shortening(const AdmissionRequest& question, const Verdict& verdict);
  void check_refusal(const LoadSnapshot& load, const AdmissionRequest& question,
                     const Verdict& verdict);
  void check_given_back(TimePoint now);
  bool strikes(FaultKind kind, uint64_t at);

  const DoorOptions options_;
  const FaultPlan& faults_;
  FaultCounts& counts_;
  MetricsRegistry& registry_;
  const Violate violate_;
  SeededRandom random_;
  AdmissionControl control_;
  AdmissionMetrics metrics_;

  std::deque<Visitor> prepared_;
  std::vector<Visitor> returning_;
  LoadSnapshot last_load_;
  int level_ = 0;
  TimePoint level_moved_at_{};
  uint64_t last_let_in_step_ = 0;
  uint64_t next_serial_ = 1;
  std::map<std::string, KeyBook> books_;
  std::map<size_t, std::pair<std::string, uint64_t>> let_in_;  // tag to key and serial
  std::array<uint64_t, kNumRejectReasons> num_rejected_{};
  uint64_t num_let_in_ = 0;
  uint64_t num_refused_ = 0;
  uint64_t num_shortened_ = 0;
  uint64_t num_messages_ = 0;
};

}  // namespace sparrow
