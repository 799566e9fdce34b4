#pragma once
// Trials at start: for every kind of product and for many numbers of rows, which tiles of our own
// kernel are fastest on this card, and whether a library is faster still. Every way is captured
// with the weights of several layers (so that they come from memory as in a step, not from L2) and
// timed; a library's is held against our kernel's result on random inputs before it may be used. A
// card decides; nothing is assumed.
//
// How long it takes is in the log; no card has told yet. Runs before graphs are captured, in the
// step's workspace.

#include <string>

#include "base/status.h"
#include "kernels/cuda/product_library.h"
#include "model/cuda/gpu_forward.h"
#include "model/cuda/gpu_products.h"
#include "model/cuda/gpu_staging.h"
#include "model/cuda/gpu_weights.h"
#include "model/cuda/plans/gpu_workspace_layout.h"
#include "model/model_config.h"

namespace sparrow {

// What the trials work with; all outlive the call.
struct ProductTrialScene {
  const ModelConfig& config;
  GpuDevice& device;
  GpuStaging& staging;
  const GpuWeights& weights;
  const GpuWorkspace& workspace;  // any contents: overwritten
  const GpuProductScratch& scratch;
  float* logits = nullptr;  // [R][V]
  GpuFloat type = GpuFloat::kBF16;
  double margin = 0.95;  // GpuExecutorOptions::product_library_margin
};

// Sets tiles, and the plans that won. library may be null. A line for the log: what was chosen.
// Errors are the device's; a way of the library that fails or errs is passed over.
Result<std::string> choose_products(const ProductTrialScene& scene, GpuProductLibrary* library,
                                    GpuProducts& products);

}  // namespace sparrow
