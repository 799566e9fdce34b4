#include "faults.h"

#include <numeric>

#include "seeded_random.h"

namespace sparrow {
namespace {

constexpr uint64_t kSwarmStream = 2;
constexpr uint64_t kFirstFaultStream = 100;

struct Row {
  std::string_view name;
  int most_per_mille;
};

constexpr std::array<Row, kNumFaultKinds> kRows = {{
    {"hang_up_queued", 300},
    {"hang_up_prefill", 300},
    {"hang_up_decode", 200},
    {"hang_up_ended", 500},
    {"double_cancel", 150},
    {"unknown_cancel", 800},
    {"retry", 150},
    {"duplicate_id", 500},
    {"invalid_request", 300},
    {"slow_reader", 400},
    {"deadline", 500},
    {"mask_dead_end", 300},
    {"mask_refusal", 300},
    {"failed_step", 100},
    {"not_finite", 40},
    {"long_step", 100},
    {"instant_step", 300},
    {"clock_hour", 50},
    {"clock_back", 200},
    {"clock_frozen", 300},
    {"stop_accepting", 5},
    {"abort_all", 15},
    {"burst", 20},
    {"abrupt_end", 10},
    {"hang_up_prepared", 300},
    {"prep_stall", 300},
    {"stale_snapshot", 500},
    {"foreign_memory", 300},
    {"early_return", 800},
}};

}  // namespace

std::string_view fault_name(FaultKind kind) { return kRows[static_cast<size_t>(kind)].name; }

std::optional<FaultKind> fault_of_name(std::string_view name) {
  for (size_t kind = 0; kind < kNumFaultKinds; ++kind) {
    if (kRows[kind].name == name) return static_cast<FaultKind>(kind);
  }
  return std::nullopt;
}

uint64_t total(const FaultCounts& counts) {
  return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
}

FaultPlan::FaultPlan(uint64_t seed, const FaultSet& disabled) : seed_(seed) {
  SeededRandom random(seed, kSwarmStream);
  const int num_active = random.between(3, 8);
  FaultSet chosen;
  while (chosen.count() < static_cast<size_t>(num_active)) {
    const auto kind = static_cast<size_t>(random.between(0, static_cast<int>(kNumFaultKinds) - 1));
    const int per_mille = random.between(1, kRows[kind].most_per_mille);
    if (!chosen[kind] && !disabled[kind]) per_mille_[kind] = per_mille;
    chosen.set(kind);
  }
}

bool FaultPlan::hits(FaultKind kind, uint64_t at) const {
  const int per_mille = per_mille_[static_cast<size_t>(kind)];
  if (per_mille == 0) return false;
  const uint64_t bits = random_bits(seed_, kFirstFaultStream + static_cast<uint64_t>(kind), at);
  return bits % 1000 < static_cast<uint64_t>(per_mille);
}

}  // namespace sparrow
