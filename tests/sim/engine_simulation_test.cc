// Hundreds of seeds in seconds. A failing seed is in the message and replays exactly:
//   SPARROW_SIM_SEED=<seed> sim_engine_simulation_test
// SPARROW_SIM_SEEDS=<count> runs more of them.

#include <gtest/gtest.h>

#include <cstdlib>

#include "simulation.h"

namespace sparrow {
namespace {

constexpr uint64_t kDefaultSeeds = 1500;

uint64_t number_from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(EngineSimulation, RandomLives_KeepEveryPromise) {
  const uint64_t only = number_from_environment("SPARROW_SIM_SEED", 0);
  const uint64_t first = only != 0 ? only : 1;
  const uint64_t last =
      only != 0 ? only : number_from_environment("SPARROW_SIM_SEEDS", kDefaultSeeds);
  SimulationResult sum;
  for (uint64_t seed = first; seed <= last; ++seed) {
    const SimulationResult result = Simulation(seed).run();
    ASSERT_EQ(result.violation, "");
    sum.num_steps += result.num_steps;
    sum.num_choices += result.num_choices;
    sum.num_finished_by_themselves += result.num_finished_by_themselves;
    sum.num_faults += result.num_faults;
    sum.num_preemptions += result.num_preemptions;
    sum.num_tokens += result.num_tokens;
    sum.num_drafted += result.num_drafted;
    sum.num_accepted += result.num_accepted;
  }
  RecordProperty("steps", sum.num_steps);
  RecordProperty("choices", sum.num_choices);
  RecordProperty("faults", sum.num_faults);
  RecordProperty("preemptions", std::to_string(sum.num_preemptions));
  RecordProperty("tokens", std::to_string(sum.num_tokens));
  RecordProperty("drafted", std::to_string(sum.num_drafted));
  RecordProperty("accepted", std::to_string(sum.num_accepted));
  if (only != 0) return;
  // The runs really reach what they are about.
  EXPECT_GT(sum.num_finished_by_themselves, sum.num_choices / 4);
  EXPECT_GT(sum.num_preemptions, last);
  EXPECT_GT(sum.num_faults, static_cast<int>(last));
  EXPECT_GT(sum.num_accepted, sum.num_tokens / 20);
  EXPECT_GT(sum.num_drafted, sum.num_accepted + last);
}

TEST(EngineSimulation, SameSeed_SameRun) {
  for (uint64_t seed = 7; seed <= 400; seed += 19) {
    const SimulationResult first = Simulation(seed).run();
    const SimulationResult again = Simulation(seed).run();
    EXPECT_EQ(first.trace_hash, again.trace_hash) << "seed " << seed;
    EXPECT_EQ(first.num_steps, again.num_steps);
  }
}

}  // namespace
}  // namespace sparrow
