#pragma once
// What this machine can do right now, by the same kernels the engine runs, on the caller's compute
// pool: memory read bandwidth and int8 multiply-add peak.

#include <cstddef>

#include "base/compute_pool.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "tensor/aligned_buffer.h"

namespace sparrow {

inline constexpr size_t kProbeBytes = size_t{1} << 30;

// Reads a buffer of its own that exceeds every cache, with all threads of the pool, which outlives
// it. What a shared machine reads changes within seconds: passes between the steps of a measurement
// tell what was there for it.
class ReadProbe {
 public:
  static Result<ReadProbe> create(const Kernels& kernels, ComputePool& pool,
                                  size_t bytes = kProbeBytes);
  double pass();          // bytes per second
  double best_of_five();  // of as many passes

 private:
  ReadProbe(const Kernels& kernels, ComputePool& pool, AlignedBuffer buffer);

  const Kernels* kernels_;
  ComputePool* pool_;
  AlignedBuffer buffer_;
};

// int8 multiply-adds, counted as two operations each, per second, all threads; 0 if the table has
// no such probe.
double probe_int8_peak(const Kernels& kernels, ComputePool& pool);

}  // namespace sparrow
