#pragma once
// Simulation: one seeded life of the serving core: engine, scheduler, KV blocks on the fake
// executor and a simulated clock, with arrivals, cancels, deadlines and faults. Everything a user
// relies on is checked after each step and at the end; the first violation is a sentence. One
// thread; the same seed gives the same run.

#include <map>
#include <string>

#include "engine/test_support.h"
#include "workload.h"

namespace sparrow {

struct SimulationResult {
  std::string violation;  // empty: none
  uint64_t trace_hash = 0;
  int num_steps = 0;
  int num_choices = 0;  // of accepted requests
  int num_finished_by_themselves = 0;
  int num_faults = 0;
  uint64_t num_preemptions = 0;
  uint64_t num_tokens = 0;
  uint64_t num_drafted = 0;
  uint64_t num_accepted = 0;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed);
  SimulationResult run();

 private:
  // A request the engine accepted.
  struct Live {
    const Request* request = nullptr;  // of the workload
    bool must_end_now = false;         // cancelled or aborted before this step
    bool has_ended = false;
    uint64_t order = 0;  // of acceptance
  };

  void submit_due();
  void submit(const Arrival& arrival);
  void inject();
  void move_clock(const StepReport& report);
  void check_step(const StepReport& report);
  void check_request(uint64_t id, Live& live);
  void check_choice(const Request& request, int choice);
  void check_end();
  void check_order_of_service();
  uint64_t counter(const char* name);
  void violate(const std::string& what);
  bool all_choices_ended(const Request& request);

  const uint64_t seed_;
  const Workload workload_;
  SeededRandom random_;
  std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  MetricsRegistry metrics_;
  FakeExecutor executor_;
  CollectingSink sink_;
  Engine engine_;
  int max_context_ = 0;

  TimePoint now_{};
  size_t next_arrival_ = 0;
  bool is_closed_ = false;
  std::map<uint64_t, Live> live_;  // accepted, by id; ended ones stay
  SimulationResult result_;
};

}  // namespace sparrow
