#pragma once
// What every kind of `sparrow bench` begins with: a model opened with the sizes it needs, the
// limits of the machine, and the signals that end a measurement early.

#include <memory>
#include <string>

#include "base/options.h"
#include "base/status.h"
#include "cmd/bench_output.h"
#include "cmd/model_session.h"
#include "cmd/progress.h"
#include "tools/bench/step_work.h"

namespace sparrow {

inline constexpr int kBenchInterrupted = 130;  // what shells give for SIGINT

// From the options and the positional argument; rows of a step are as many as `needs` and the
// options want.
Result<ModelSession> open_for_bench(const OptionValues& values, SessionNeeds needs);

BenchCost cost_of(const ModelConfig& config, const ModelExecutor& executor);

const char* kv_type_name(const OptionValues& values);

// Measures the device of an executor: a CPU with as many threads as it has, or its card.
class MachineProbe {
 public:
  virtual ~MachineProbe() = default;
  static Result<std::unique_ptr<MachineProbe>> create(const ModelExecutor& executor,
                                                      const OptionValues& values);

  virtual Probe measure() = 0;
  virtual double read_pass() = 0;  // bytes per second
};

// The limits for this model's types of weights, without read passes between the steps.
MachineLimits machine_limits(const ModelSession& session, const Probe& probe);

// The first SIGINT or SIGTERM ends the measurement and prints what is there; a third one ends the
// program at once (`timeout` sends two).
void watch_bench_signals();
// Shows a line; the share is negative where nobody knows it. False: someone wants the end.
bool show_bench(Progress& progress, double share, const std::string& text);

}  // namespace sparrow
