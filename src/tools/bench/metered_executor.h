#pragma once
// MeteredExecutor: passes every call on to another executor and adds up what the steps had to move
// and compute, and what time the machine's limits leave for each. So a workload that runs through
// the real scheduler, whose steps nobody planned by hand, has a limit to be compared with. Engine
// thread only; the other executor outlives it.

#include "model/executor.h"
#include "tools/bench/step_work.h"

namespace sparrow {

class MeteredExecutor final : public Executor {
 public:
  struct Totals {
    int64_t num_steps = 0;
    int64_t num_spans = 0;   // sequences, summed over the steps
    StepWork work;           // of all steps
    double limit_s = 0;      // the slower limit of each step, summed
    double bandwidth_s = 0;  // of that, in steps where memory is the slower one
    double executor_s = 0;   // as the executor reports it
  };

  MeteredExecutor(Executor& executor, const BenchCost& cost, const MachineLimits& limits);

  ExecutorLimits limits() const override { return executor_.limits(); }
  Status load(TensorSource& source) override { return executor_.load(source); }
  Ticket begin(const BatchPlan& plan) override;
  void sample(Ticket ticket, const TokenMasks& masks) override { executor_.sample(ticket, masks); }
  const StepResult& wait(Ticket ticket) override;
  void release(SlotId slot) override { executor_.release(slot); }

  const Totals& totals() const { return totals_; }
  void reset_totals() { totals_ = {}; }

 private:
  Executor& executor_;
  const BenchCost cost_;
  const MachineLimits limits_;
  Totals totals_;
};

}  // namespace sparrow
