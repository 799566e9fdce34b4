// Does this binary hold machine code that the current device runs?
#include <cuda_runtime.h>

#include <string>

#include "base/status.h"

namespace sparrow::gpu_cuda {
namespace {

__global__ void empty_kernel() {}

}  // namespace

Status check_code_for_this_device();

Status check_code_for_this_device() {
  cudaFuncAttributes attributes = {};
  if (cudaFuncGetAttributes(&attributes, empty_kernel) == cudaSuccess) return ok_status();
  (void)cudaGetLastError();
  return failed_precondition(
      "this binary holds no code for this GPU (built for: " SPARROW_CUDA_ARCHITECTURES
      "). Build with -DSPARROW_CUDA_ARCHITECTURES for it: 75 (T4), 80 (A100, A10G, A40, RTX 30), "
      "89 "
      "(L4, L40, RTX 40), 90a (H100, H200)");
}

}  // namespace sparrow::gpu_cuda
