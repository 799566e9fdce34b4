// Launchers of the products: choose a kernel and queue it.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/simple_linear.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

template <typename Args>
void launch_linear(GpuStream stream, GpuWeightFormat format, const Args& args) {
  with_weight_format(format, [&]<GpuWeightFormat kFormat>() {
    if (args.x_type == GpuFloat::kBF16) {
      launch_simple<kFormat, BF16>(stream, args);
    } else {
      launch_simple<kFormat, F16>(stream, args);
    }
  });
}

}  // namespace

void linear(GpuStream stream, const LinearArgs& args) {
  if (args.num_rows == 0 || args.matrix.rows == 0) return;
  launch_linear(stream, args.matrix.format, args);
}

void gated_linear(GpuStream stream, const GatedLinearArgs& args) {
  if (args.num_rows == 0 || args.gate.rows == 0) return;
  launch_linear(stream, args.gate.format, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
