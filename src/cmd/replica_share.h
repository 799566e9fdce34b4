#pragma once
// What one of several equal executors (--data-parallel-size) gets of the machine: on a CPU its part
// of the compute threads and of the memory, on GPUs a card of its own. Pure functions.

#include <cstdint>

#include "base/status.h"
#include "cmd/options/thread_options.h"

namespace sparrow {

struct ReplicaShare {
  int index = 0;
  int count = 1;
};

// The first ones get one thread more where the number does not divide.
ComputeThreads threads_of(const ReplicaShare& share, const ComputeThreads& all);
// An error names the option and the numbers.
Status check_threads_for(int num_replicas, int num_threads);
Status check_cards_for(int num_replicas, int num_cards);

}  // namespace sparrow
