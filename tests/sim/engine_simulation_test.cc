// The short form of the simulation: seeds that once found something, and many others in seconds.
// A failure tells its replay command (sparrow_sim).

#include <gtest/gtest.h>

#include <cstring>

#include "sim_runner.h"

namespace sparrow {
namespace {

constexpr uint64_t kNumSeeds = 1500;

TEST(EngineSimulation, RandomLives_KeepEveryPromise) {
  SimRunnerOptions options;
  options.num_seeds = kNumSeeds;
  options.num_jobs = 2;
  const SimRunnerReport report = run_simulations(options);
  ASSERT_EQ(report.failure, "");
  // The runs really reach what they are about.
  const SimulationCounts& counts = report.counts;
  EXPECT_EQ(counts.num_runs, kNumSeeds);
  EXPECT_GT(counts.num_ordinary_ends, counts.num_choices / 4);
  EXPECT_GT(counts.num_preemptions, kNumSeeds);
  EXPECT_GT(counts.num_accepted, counts.num_tokens / 25);
  EXPECT_GT(counts.num_drafted, counts.num_accepted + kNumSeeds);
  EXPECT_GT(counts.num_steps_ahead, counts.num_steps / 20);
  EXPECT_GT(counts.num_steps_worthless, kNumSeeds / 20);
  EXPECT_GT(counts.num_refused_at_door, kNumSeeds);
  EXPECT_GT(counts.num_shortened, kNumSeeds / 4);
  EXPECT_GT(counts.num_messages, kNumSeeds / 10);
  EXPECT_GT(total(counts.faults), 10 * kNumSeeds);
  for (size_t kind = 0; kind < kNumFaultKinds; ++kind) {
    EXPECT_GT(counts.faults[kind], 10u) << fault_name(static_cast<FaultKind>(kind));
  }
}

TEST(EngineSimulation, SameSeed_SameRun) {
  for (uint64_t seed = 7; seed <= 400; seed += 19) {
    const SimulationResult first = Simulation({.seed = seed}).run();
    const SimulationResult again = Simulation({.seed = seed}).run();
    EXPECT_EQ(first.trace_hash, again.trace_hash) << "seed " << seed;
    EXPECT_EQ(first.counts.num_steps, again.counts.num_steps);
  }
}

// What shrinking relies on.
TEST(EngineSimulation, LeavingOutRequestsOrFaults_ChangesNoOther) {
  const FaultPlan faults(11, {});
  const Workload whole = make_workload(11, faults, 1'000, {});
  const Workload part = make_workload(11, faults, 2, {});
  ASSERT_GT(whole.arrivals.size(), 2u);
  ASSERT_EQ(part.arrivals.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(part.arrivals[i].at, whole.arrivals[i].at);
    EXPECT_EQ(part.arrivals[i].request.prompt, whole.arrivals[i].request.prompt);
    EXPECT_EQ(part.arrivals[i].request.sampling.seed, whole.arrivals[i].request.sampling.seed);
  }
  for (size_t kind = 0; kind < kNumFaultKinds; ++kind) {
    FaultSet disabled;
    disabled.set(kind);
    const FaultPlan without(11, disabled);
    for (size_t other = 0; other < kNumFaultKinds; ++other) {
      const auto other_kind = static_cast<FaultKind>(other);
      for (uint64_t at = 0; at < 50; ++at) {
        EXPECT_EQ(without.hits(other_kind, at), other != kind && faults.hits(other_kind, at));
      }
    }
  }
}

TEST(ArrivalProcess, GammaGaps_HaveTheirMeanAndVariation) {
  SeededRandom random(5);
  double sum = 0, sum_of_squares = 0;
  constexpr int kCount = 200'000;
  for (int i = 0; i < kCount; ++i) {
    const double gap = random.gamma(1.0 / 9, 9.0);
    sum += gap;
    sum_of_squares += gap * gap;
  }
  const double mean = sum / kCount;
  EXPECT_NEAR(mean, 1.0, 0.03);
  EXPECT_NEAR(std::sqrt(sum_of_squares / kCount - mean * mean) / mean, 3.0, 0.1);
}

}  // namespace
}  // namespace sparrow
