#pragma once
// Trials at start of the ways a step of decoding can take (plans/gpu_forward_choices.h): the plain
// one, the newer one, and the newer one without overlapping launches. Each is captured as a graph
// for a few numbers of rows, timed on this card, and checked: its logits against the plain way's,
// and every replay against the one before, bit by bit, with the KV cells that the step writes full
// of NaN at its start: what is read too early shows. The fastest that is right is taken, and only
// if it wins by a margin.
//
// Runs after the products were chosen and before the graphs are captured. Overwrites KV cells.

#include <cstddef>
#include <string>

#include "base/status.h"
#include "model/cuda/gpu_forward.h"
#include "model/cuda/gpu_kv_cache.h"
#include "model/cuda/gpu_staging.h"
#include "model/cuda/gpu_step_runner.h"
#include "model/cuda/plans/gpu_memory_plan.h"
#include "model/model_config.h"

namespace sparrow {

// What the trials work with; all outlive the call.
struct DecodeTrialScene {
  const ModelConfig& config;
  const GpuMemoryPlan& plan;
  GpuDevice& device;
  GpuStaging& staging;
  const GpuKvCache& cache;
  GpuStepRunner& runner;
  float* logits = nullptr;  // [R][V]
  GpuKvFormat kv_type = GpuKvFormat::kBF16;
  void* arrivals = nullptr;  // GpuWorkspace::arrivals: zeros between steps
  size_t arrivals_bytes = 0;
};

// Sets the choices of `forward`, at most those of `newest`. A line for the log. Errors are the
// device's.
Result<std::string> choose_decode(const DecodeTrialScene& scene, const GpuForwardChoices& newest,
                                  GpuForward& forward);

}  // namespace sparrow
