// The same calls in a binary built without CUDA.
#include "kernels/cuda/cuda_device.h"

namespace sparrow {
namespace {

constexpr const char* kWhy = "this binary was built without CUDA (nvcc was not found)";

}  // namespace

bool has_cuda_support() { return false; }
int num_cuda_devices() { return 0; }
std::string why_no_cuda_device() { return kWhy; }
Result<std::unique_ptr<GpuDevice>> open_cuda_device(int) { return unavailable(kWhy); }

}  // namespace sparrow
