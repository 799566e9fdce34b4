// The launchers of products: they choose a kernel.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "kernels/cuda/linear/linear_work.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

void run(GpuStream stream, const LinearWork& work, const LinearShape& shape) {
  if (work.num_rows == 0 || work.matrix.rows == 0) return;
  switch (choose_linear_kernel(shape)) {
    case LinearKernel::kFewRows:
      return run_few_rows(stream, work);
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

LinearWork work_of(const LinearArgs& args) {
  LinearWork work;
  work.matrix = args.matrix;
  work.x = args.x;
  work.norm = args.norm;
  work.card = args.card;
  work.x_type = args.x_type;
  work.num_rows = args.num_rows;
  work.bias = args.bias;
  work.out = args.out;
  work.out_stride = args.out_stride;
  work.add_to_out = args.add_to_out;
  work.tiles = args.tiles;
  return work;
}

}  // namespace

void linear(GpuStream stream, const LinearArgs& args) {
  run(stream, work_of(args), linear_shape(args));
}

void linear_rope_store(GpuStream stream, const LinearArgs& args, const RopeStoreArgs& rope) {
  if (args.num_rows > 0) run_few_rows_rope(stream, work_of(args), rope);
}

void gated_linear(GpuStream stream, const GatedLinearArgs& args) {
  LinearWork work;
  work.matrix = args.gate;
  work.up = args.up;
  work.x = args.x;
  work.norm = args.norm;
  work.card = args.card;
  work.x_type = args.x_type;
  work.num_rows = args.num_rows;
  work.out = args.out;
  work.out_stride = args.gate.rows;
  work.is_gated = true;
  work.tiles = args.tiles;
  run(stream, work, linear_shape(args));
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
