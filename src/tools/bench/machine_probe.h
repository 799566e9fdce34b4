#pragma once
// What this machine can do right now, by the same kernels the engine runs: memory read bandwidth
// (the best of five passes over a large buffer by all threads) and int8 multiply-add peak.
// Runs on the caller's compute pool; allocates the buffer for the duration of the call.

#include <cstddef>

#include "base/compute_pool.h"
#include "base/status.h"
#include "kernels/kernels.h"

namespace sparrow {

inline constexpr size_t kProbeBytes = size_t{1} << 30;

// Bytes per second. The buffer must exceed every cache.
Result<double> probe_read_bandwidth(const Kernels& kernels, ComputePool& pool,
                                    size_t bytes = kProbeBytes);
// int8 multiply-adds, counted as two operations each, per second, all threads; 0 if the table has
// no such probe.
double probe_int8_peak(const Kernels& kernels, ComputePool& pool);

}  // namespace sparrow
