#pragma once
// Weight matrices from the form a file has to that of a GpuMatrix (gpu_linear.h), on the host, some
// rows at a time. Exact: plain types to the same 16-bit type, Q8_0, Q4_0 and the grouped integers
// of quantized checkpoints to int8 and int4 of the same group. Anything else is rounded once: to 16
// bits, or to the nearest codes of a group (quant/convert_int_groups.h). Stateless, thread-safe.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "kernels/cuda/gpu_linear.h"
#include "quant/tensor_type.h"

namespace sparrow {

struct GpuPacking {
  GpuWeightFormat format = GpuWeightFormat::kBF16;
  int32_t group = 0;  // inputs that share a scale; divides the columns; 0: no scales
  bool has_zeros = false;
  bool has_f32_scales = false;
};

struct GpuMatrixBytes {
  size_t values = 0;
  size_t scales = 0;
  size_t zeros = 0;
};

GpuMatrixBytes gpu_matrix_bytes(const GpuPacking& packing, int64_t rows, int64_t cols);

struct GpuMatrixSpans {
  std::span<std::byte> values;
  std::span<std::byte> scales;
  std::span<std::byte> zeros;
};

// `rows`: num_rows rows of `type`, unaligned. The spans have the sizes of gpu_matrix_bytes(packing,
// num_rows, cols). A group that is longer than the blocks of the type takes the scale of its first
// block: for rows whose blocks all carry one scale. Errors: a value that is not finite, or too
// large for the 16-bit type.
Status pack_gpu_rows(TensorType type, std::span<const std::byte> rows, int64_t num_rows,
                     int64_t cols, const GpuPacking& packing, const GpuMatrixSpans& out);

// One row of a packed matrix in host memory: what kernels are tested with.
void unpack_gpu_row(const GpuMatrix& matrix, int64_t row, float* out);

}  // namespace sparrow
