#include "cmd/replica_share.h"

#include <fmt/format.h>

#include <algorithm>

namespace sparrow {

ComputeThreads threads_of(const ReplicaShare& share, const ComputeThreads& all) {
  const int each = all.count / share.count;
  const int rest = all.count % share.count;
  const int begin = share.index * each + std::min(share.index, rest);
  ComputeThreads own;
  own.count = each + (share.index < rest ? 1 : 0);
  if (!all.pinned_cpus.empty()) {
    own.pinned_cpus.assign(all.pinned_cpus.begin() + begin,
                           all.pinned_cpus.begin() + begin + own.count);
  }
  return own;
}

Status check_threads_for(int num_replicas, int num_threads) {
  if (num_replicas <= num_threads) return ok_status();
  return invalid_argument(
      fmt::format("--data-parallel-size {}: each replica needs a compute thread of its own, there "
                  "{} {}. Lower it, or raise --threads",
                  num_replicas, num_threads == 1 ? "is" : "are", num_threads));
}

Status check_cards_for(int num_replicas, int num_cards) {
  if (num_replicas <= num_cards) return ok_status();
  return invalid_argument(fmt::format("--data-parallel-size {}: this machine has {} GPU{}",
                                      num_replicas, num_cards, num_cards == 1 ? "" : "s"));
}

}  // namespace sparrow
