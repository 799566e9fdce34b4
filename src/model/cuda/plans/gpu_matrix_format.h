#pragma once
// GpuMatrixFormat: how a weight matrix lies in device memory, and which format a tensor of a file
// gets. The memory plan counts by it and the loader packs by it, so the two cannot differ.
//
//   bf16, f16   row-major
//   int8        a byte per weight, scales per group of inputs or per row
//   int4        half a byte per weight, scales per group; with zeros a byte per group more
//
// Pure; thread-safe.

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/cuda/linear/pack_gpu_matrix.h"
#include "model/cuda/plans/gpu_options.h"
#include "model/tensor_source.h"

namespace sparrow {

struct GpuMatrixFormat {
  GpuWeightFormat type = GpuWeightFormat::kBF16;
  int32_t group_size = 0;  // inputs that share a scale: 32, 64 or 128; 0: a whole row, or no scales
  bool has_zeros = false;  // int4 with a zero point per group; without, it is 8
  bool has_f32_scales = false;  // scales of checkpoints whose scales may be fp32; else fp16

  // How rows of so many columns are packed in it.
  GpuPackTarget packing(int64_t cols) const;

  // Without padding. group_size divides cols.
  GpuMatrixBytes bytes(int64_t rows, int64_t cols) const;

  bool operator==(const GpuMatrixFormat&) const = default;
};

// "bf16", "int8 per row", "int4 g128"
std::string gpu_matrix_format_name(const GpuMatrixFormat& format);

// The format of a matrix of the file; of `tensor` type and shape alone are read. Files of 4 and 8
// bits keep their groups, other quantized blocks (Q4_1, Q5, K types) become int8 in groups of 32.
// A wish for int8 or int4 converts what the file has wider, in the longest group that divides a
// row; where none does the matrix gets 16 bits. Never widens for such a wish.
GpuMatrixFormat gpu_matrix_format(std::string_view name, const SourceTensor& tensor,
                                  bool tied_embeddings, const GpuExecutorOptions& options);

}  // namespace sparrow
