#pragma once
// Rows of a weight matrix from the form of a file into the form a GpuMatrix (gpu_linear.h) has in
// device memory, some rows at a time: a loader packs one strip into host memory, copies it to the
// card and packs the next, so no more than a strip is ever held. Host code; stateless; disjoint
// rows may be packed from different threads.
//
// What becomes of the source types ("group" is that of the target, a multiple of 32 that divides
// cols; group = cols is one scale per row):
//
//   kBF16, kF16  from every type. The target's own type: the same bits. Others: dequantize_row(),
//                rounded to nearest even.
//   kInt8        Q8_0, Q4_0, Q5_0, IQ4_NL and grouped integers: the same values, exactly.
//                F32, F16, BF16, Q4_1, Q5_1 and K types: rounded.
//   kInt4        Q4_0 and 4-bit groups: exactly. Every other type: rounded.
//
// Exact packing may cut the source's blocks into shorter groups. It merges them into longer ones
// only where all blocks of a group have the same scale and zero, as in rows with one scale.
//
// Rounded groups are symmetric, q = x / scale to nearest, ties to even: scale = max|x| / 127.5 with
// q in [-128, 127], or max|x| / 7.5 with q in [-8, 7] (as compressed-tensors does). An fp16 scale
// is rounded up, so no value is further than half a step from its own, up to fp32's own rounding.
//
// int4 nibbles lie as int4_order.h says. One scale and one zero per group, in the order of inputs.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "kernels/cuda/gpu_linear.h"
#include "quant/tensor_type.h"

namespace sparrow {

// The form to pack into: the fields of GpuMatrix. has_zeros only with kInt4.
struct GpuPackTarget {
  GpuWeightFormat format = GpuWeightFormat::kBF16;
  int32_t group = 0;  // inputs that share a scale; 0 for kBF16 and kF16
  bool has_f32_scales = false;
  bool has_zeros = false;
};

// Rows as they lie in a file; bytes may be unaligned.
struct GpuSourceRows {
  TensorType type = TensorType::kF32;
  int64_t num_rows = 0;
  int64_t cols = 0;
  std::span<const std::byte> bytes;  // exactly num_rows rows
  int64_t row_begin = 0;             // of the first in its matrix: messages name rows by it
};

// Where packed rows go, in host memory: exactly gpu_matrix_bytes() of these rows each; parts of
// size 0 are empty spans. Any alignment.
struct GpuPackedRows {
  std::span<std::byte> values;
  std::span<std::byte> scales;
  std::span<std::byte> zeros;
};

// Bytes of each part, without padding.
struct GpuMatrixBytes {
  size_t values = 0;
  size_t scales = 0;
  size_t zeros = 0;

  size_t total() const { return values + scales + zeros; }
  bool operator==(const GpuMatrixBytes&) const = default;
};

// For integer formats `group` divides cols and is a multiple of 32; rows and cols below 2^31.
GpuMatrixBytes gpu_matrix_bytes(GpuWeightFormat format, int64_t rows, int64_t cols, int32_t group,
                                bool has_f32_scales, bool has_zeros);

// Whether packing keeps the values of every finite row; else they are rounded.
bool gpu_packing_is_exact(TensorType type, GpuWeightFormat format);

// Whether every scale of some rows, usually of the whole matrix, is an fp16 number: has_f32_scales
// is needed only where not. True for types without scales of fp32: those of the blocks are fp16 and
// those that rounding makes fit. Not finite: false.
bool scales_fit_f16(TensorType type, std::span<const std::byte> bytes);

// Whether some group of 4 bits has a zero other than 8: has_zeros is needed only then.
bool needs_zeros(TensorType type, std::span<const std::byte> bytes);

// Errors: a group that does not fit cols or the source; a NaN or infinity in the source; a value or
// scale too large for the target, or a scale it does not hold exactly; blocks to be merged that
// differ; a zero other than 8 without has_zeros. They name the row. What was written of `out` then
// means nothing.
Status pack_gpu_rows(const GpuPackTarget& target, const GpuSourceRows& source,
                     const GpuPackedRows& out);

// The plain reading of the packed form, of a matrix in host memory: writes cols floats. Kernels are
// tested against it.
void unpack_gpu_row(const GpuMatrix& host_matrix, int64_t row, float* out);

}  // namespace sparrow
