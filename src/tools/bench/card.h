#pragma once
// The limits of a card by name (model/cuda/plans/known_gpus.h), to compute what a workload asks of
// one that is not at hand. From data sheets and other people's measurements, never from this
// machine: figures made of them are computed, not measured.

#include "model/cuda/plans/known_gpus.h"
#include "tools/bench/step_work.h"

namespace sparrow {

inline MachineLimits limits_of(const KnownGpu& card) {
  return {.read_bytes_per_s = card.bandwidth_gb_per_s * 1e9,
          .ops_per_s = card.peak_tflops * 1e12,
          .attention_ops_per_s = card.peak_tflops * 1e12,
          .read_pass = {}};
}

}  // namespace sparrow
