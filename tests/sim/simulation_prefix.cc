// What the prefix cache promises in a simulated run: what a running sequence has computed is found,
// and what it is about to compute is waited for, so that nothing is computed twice at once.

#include <algorithm>

#include "simulation.h"

namespace sparrow {
namespace {

// Positions from the start that both will hold, as far as their prompts tell.
int common_prefix(const Request& a, const Request& b) {
  if (a.cache_salt != b.cache_salt) return 0;
  const size_t length = std::min(a.prompt.size(), b.prompt.size());
  size_t common = 0;
  while (common < length && a.prompt[common] == b.prompt[common]) ++common;
  return static_cast<int>(common);
}

}  // namespace

// A sequence that holds a slot begins with the same block, or may with its answer. Where hashes
// collide one may wait for a block that turns out to be another's.
bool Simulation::may_wait_for_prefix(size_t tag) const {
  const PrefixOptions& prefix = workload_.engine.prefix;
  if (!prefix.enabled) return false;
  if (prefix.hash_bits < 128) return true;
  const Request& request = jobs_[tag].request;
  const int size = workload_.executor.limits.block_tokens;
  return std::any_of(executor_.held_tags().begin(), executor_.held_tags().end(), [&](size_t held) {
    const Request& other = jobs_[held].request;
    const int whole = std::min(size, static_cast<int>(other.prompt.size()));
    return other.cache_salt == request.cache_salt && common_prefix(request, other) >= whole;
  });
}

// A quarantine takes blocks out of reach, and so do hashes that collide.
bool Simulation::has_whole_cache() const {
  const PrefixOptions& prefix = workload_.engine.prefix;
  return prefix.enabled && prefix.hash_bits == 128 && !faults_.is_active(FaultKind::kNotFinite) &&
         !faults_.is_active(FaultKind::kMaskDeadEnd);
}

void Simulation::check_reuse(const Start& start) {
  if (!start.is_first || !has_whole_cache()) return;
  const int size = workload_.executor.limits.block_tokens;
  const Request& request = jobs_[start.tag].request;
  const int found = executor_.record(start.tag, start.choice).first_cached;
  const int usable = (static_cast<int>(request.prompt.size()) - 1) / size * size;
  for (const HeldBefore& held : executor_.held_before()) {
    if (held.tag == start.tag && held.choice == start.choice) continue;
    const Request& other = jobs_[held.tag].request;
    const int common = std::min(common_prefix(request, other) / size * size, usable);
    if (found < std::min(common, held.num_computed / size * size)) {
      violate(jobs_[start.tag], start.choice, "computes what a running sequence holds");
    }
    const int next = found + size;
    const bool is_named = next <= static_cast<int>(other.prompt.size()) - 1;
    if (next <= common && is_named && held.num_computed < next) {
      violate(jobs_[start.tag], start.choice, "computes what another is computing");
    }
  }
}

}  // namespace sparrow
