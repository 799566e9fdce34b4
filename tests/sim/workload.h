#pragma once
// Workload: what one seed means: a machine, options, requests with their arrivals, and which faults
// are active. Swarm testing (Groce et al. 2012): every seed switches a random subset of faults on,
// so that combinations vary. Also what each request must answer, worked out without any engine.

#include <string>
#include <vector>

#include "base/random.h"
#include "engine/engine.h"
#include "model/fake_executor.h"

namespace sparrow {

// Random numbers of one seed, in order of asking.
class SeededRandom {
 public:
  explicit SeededRandom(uint64_t seed) : seed_(seed) {}
  uint64_t next() { return random_bits(seed_, 1, counter_++); }
  // Both ends included.
  int between(int low, int high) {
    return low + static_cast<int>(next() % static_cast<uint64_t>(high - low + 1));
  }
  bool chance(int per_mille) { return between(0, 999) < per_mille; }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[between(0, static_cast<int>(values.size()) - 1)];
  }

 private:
  const uint64_t seed_;
  uint64_t counter_ = 0;
};

struct Faults {
  int cancel_per_mille = 0;    // per step: some live request is cancelled
  int deadline_per_mille = 0;  // per request
  int failed_step_per_mille = 0;
  int not_finite_per_mille = 0;  // per sampled row
  int slow_step_per_mille = 0;   // ten seconds
  int clock_jump_per_mille = 0;  // one hour ahead, one second back, or frozen
  int duplicate_id_per_mille = 0;
  int too_long_per_mille = 0;
  int drain_per_mille = 0;  // per step: refuse from now on
  int abort_per_mille = 0;  // per step: everything ends
};

struct Arrival {
  TimePoint at{};
  Request request;
  bool is_refused = false;  // submit() must say kInvalidArgument
};

struct Workload {
  FakeExecutorOptions executor;
  EngineOptions engine;
  Faults faults;
  std::vector<Arrival> arrivals;  // in order of time
};

Workload make_workload(uint64_t seed);

// What a choice shows after its first `num_tokens` tokens, and why it ends there (kNone: it does
// not). `tokens` is what the executor draws for it alone.
struct Outcome {
  std::string answer;
  std::string reasoning;
  int num_reasoning_tokens = 0;
  FinishReason finish = FinishReason::kNone;
};
Outcome expected_outcome(const Tokenizer& tokenizer, const Request& request,
                         std::span<const TokenId> tokens, int max_tokens);

}  // namespace sparrow
