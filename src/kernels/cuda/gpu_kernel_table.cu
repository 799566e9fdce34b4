// The table of one target's kernels.
#include "kernels/cuda/gpu_launchers.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

const GpuKernels& kernel_table();

const GpuKernels& kernel_table() {
#ifdef __CUDACC__
  constexpr const char* kName = "cuda";
#else
  constexpr const char* kName = "twin";
#endif
  static const GpuKernels kTable = {
      .name = kName,
      .rms_norm = rms_norm,
      .linear = linear,
      .gated_linear = gated_linear,
      .embed = embed,
  };
  return kTable;
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
