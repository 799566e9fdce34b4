#pragma once
// Simulation: one seeded life of the serving core: the door (queue of preparation, admission),
// engine, scheduler, KV blocks on the fake executor and a virtual clock, with clients, operators
// and faults. Everything a user relies on is
// checked after each step and at every end of an answer; the first violation is a sentence. One
// thread; the same options give the same run.

#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "event_log.h"
#include "faults.h"
#include "service_order.h"
#include "sim_client.h"
#include "sim_door.h"
#include "sim_executor.h"
#include "workload.h"

namespace sparrow {

struct SimulationOptions {
  uint64_t seed = 1;
  int max_requests = std::numeric_limits<int>::max();  // the first ones of the seed
  FaultSet disabled{};
  const std::vector<TraceRow>* trace = nullptr;  // arrivals some seeds take theirs from
};

// Sums over runs. Plain numbers: processes hand it over as bytes.
struct SimulationCounts {
  uint64_t num_runs = 0;
  uint64_t num_steps = 0;
  uint64_t num_requests = 0;  // accepted
  uint64_t num_choices = 0;
  uint64_t num_ordinary_ends = 0;
  uint64_t num_tokens = 0;
  uint64_t num_prompt_tokens = 0;  // of started choices
  uint64_t num_cached_tokens = 0;  // of those, found in the cache
  uint64_t num_preemptions = 0;
  uint64_t num_drafted = 0;
  uint64_t num_accepted = 0;
  uint64_t num_steps_ahead = 0;      // begun while another was on its way
  uint64_t num_steps_worthless = 0;  // of those, behind one that failed
  uint64_t num_refused_at_door = 0;
  uint64_t num_shortened = 0;
  uint64_t num_messages = 0;  // instead of an answer
  uint64_t simulated_ms = 0;
  FaultCounts faults{};

  void add(const SimulationCounts& other);
};

struct SimulationResult {
  std::string violation;  // empty: none
  uint64_t trace_hash = 0;
  SimulationCounts counts;
};

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  SimulationResult run();

  // The last events and how to run it again; for a violation, or a CHECK that failed within.
  std::string report(const std::string& what) const;

 private:
  // A request that was submitted, accepted or not.
  struct Job {
    Request request;  // without its masker
    MaskRules mask;
    SimStream stream;
    bool is_accepted = false;
    bool must_end_now = false;  // cancelled or aborted before this step
    bool has_ended() const { return is_accepted && stream.num_open == 0; }
  };
  enum class Stage { kQueued, kPrefill, kDecode };

  void submit_due();
  void enter(const Arrival& arrival);
  void work_at_door();
  // The tag of the job, if the engine took it.
  std::optional<size_t> submit(const Arrival& arrival, uint64_t request_id);
  StatusCode expected_code(const Arrival& arrival, const Request& request);
  bool is_breaker_open() const { return breaker_.view().state == BreakerState::kOpen; }
  void note_accepted(Job& job, const Arrival& arrival);
  bool is_live(uint64_t request_id) const;
  Request request_of(const Job& job) const;

  bool strikes(FaultKind kind);
  void inject_clients();
  void inject_operators();
  void retry();
  void cancel(uint64_t request_id);
  Job* pick(bool ended, Stage stage);
  Stage stage_of(const Job& job) const;
  const ChoiceRecord& record(const Job& job, int choice) const {
    return executor_.record(job.stream.tag, choice);
  }
  void move_clock(const StepReport& report);

  void on_event(SimStream& stream, const StreamEvent& event);
  void check_choice(const Job& job, int choice);
  void check_tokens(const Job& job, int choice);
  void check_usage(const Job& job, int choice, int num_reasoning_tokens);
  bool has_cause(const Job& job, int choice) const;
  bool was_refused_a_token(const Job& job, int choice) const;
  void count_choice(const Job& job, int choice);
  void check_step(const StepReport& report);
  void check_starts();
  bool may_wait_for_prefix(size_t tag) const;
  bool has_whole_cache() const;
  void check_reuse(const Start& start);
  void check_live_job(const Job& job);
  void settle_ended();
  void check_snapshot();
  void check_next_wakeup(const StepReport& report);
  void check_end();
  void check_counters();
  uint64_t counter(const char* name, const char* reason = nullptr);
  void violate(const std::string& what);
  void violate(const Job& job, int choice, const char* what);

  const SimulationOptions options_;
  const FaultPlan faults_;
  const Workload workload_;
  const int max_context_;
  SimulationResult result_;
  SeededRandom random_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  MetricsRegistry metrics_;
  SimExecutor executor_;
  SimClient client_;
  SimDoor door_;
  std::unique_ptr<Engine> engine_;

  EventLog log_;
  ServiceOrder order_;
  TimePoint now_{};
  CircuitBreaker breaker_;  // what the engine's should say
  uint64_t step_ = 0;
  size_t next_arrival_ = 0;
  bool is_closed_ = false;
  bool is_torn_down_ = false;  // the engine was destroyed with work in it
  std::deque<Job> jobs_;       // by tag
  std::vector<size_t> live_;   // tags, in order of acceptance
  int num_open_choices_ = 0;   // of live jobs
  int num_not_started_ = 0;    // of those, never planned
  size_t num_in_inbox_ = 0;    // requests
  int num_retries_ = 0;
  std::array<uint64_t, 4> num_finished_{};  // by the metrics' reason
  uint64_t num_counted_tokens_ = 0;
  uint64_t num_counted_prompt_tokens_ = 0;
};

}  // namespace sparrow
