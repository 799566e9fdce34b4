// The launchers of products: they choose a kernel.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "kernels/cuda/linear/linear_work.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

bool is_aligned(const void* memory) { return reinterpret_cast<uintptr_t>(memory) % 16 == 0; }

void run(GpuStream stream, const LinearWork& work, bool has_matrix_units) {
  if (work.num_rows == 0 || work.matrix.rows == 0) return;
  LinearShape shape;
  shape.format = work.matrix.format;
  shape.cols = work.matrix.cols;
  shape.group = work.matrix.group;
  shape.num_x_rows = work.num_rows;
  shape.x_type = work.x_type;
  shape.has_matrix_units = has_matrix_units;
  shape.is_aligned = is_aligned(work.x) && is_aligned(work.matrix.values) &&
                     (!work.is_gated || is_aligned(work.up.values));
  switch (choose_linear_kernel(shape)) {
    case LinearKernel::kRowDots:
      return run_row_dots(stream, work);
    case LinearKernel::kRowDotsByValue:
      return run_row_dots_by_value(stream, work);
    case LinearKernel::kTiles:
      return run_tiles(stream, work);
    case LinearKernel::kMatrixUnits:
      return run_matrix_units(stream, work);
  }
}

}  // namespace

void linear(GpuStream stream, const LinearArgs& args) {
  LinearWork work;
  work.matrix = args.matrix;
  work.x = args.x;
  work.x_type = args.x_type;
  work.num_rows = args.num_rows;
  work.bias = args.bias;
  work.out = args.out;
  work.out_stride = args.out_stride;
  work.add_to_out = args.add_to_out;
  work.tiles = args.tiles;
  run(stream, work, args.has_matrix_units);
}

void gated_linear(GpuStream stream, const GatedLinearArgs& args) {
  LinearWork work;
  work.matrix = args.gate;
  work.up = args.up;
  work.x = args.x;
  work.x_type = args.x_type;
  work.num_rows = args.num_rows;
  work.out = args.out;
  work.out_stride = args.gate.rows;
  work.is_gated = true;
  work.tiles = args.tiles;
  run(stream, work, args.has_matrix_units);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
