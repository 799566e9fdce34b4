#pragma once
// From a weight as it lies in a file to the bytes of a GpuMatrix, a row at a time, so that loading
// needs one row beside the packed weights. Host code without CUDA; stateless but for GpuRowPacker.
//
//   kBF16, kF16  [cols] values of 2 bytes
//   kInt8        [cols] int8
//   kInt4        [cols / 2] bytes; cols is a multiple of 32. 16 bytes hold 32 neighbouring inputs,
//                its little-endian word w inputs 8w..8w+7: of these, input 2i lies in bits 4i and
//                input 2i+1 in bits 16+4i (i = 0..3). (word >> 4i) & 0x000f000f is therefore the
//                pair 2i, 2i+1 in two 16-bit halves.
//
//   layout = plan_gpu_matrix(input, options);  // how large; what is kept exactly
//   GpuRowPacker packer(*layout);
//   packer.pack(row, row_bytes, {values, scales, zeros});  // into pinned memory, for each row

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "kernels/cuda/gpu_linear.h"
#include "quant/tensor_type.h"

namespace sparrow {

// Weights that have no integer form of their own on the card (plain floats, K-quants, Q4_1, Q5_1):
enum class GpuWeightConversion : uint8_t {
  kNone,  // become plain_type
  kInt8,  // become int8 with one scale a row; cols % 32 == 0
  kInt4,  // become int4 in groups of 128 (64 or 32 where 128 does not divide cols)
};

struct GpuPackOptions {
  GpuFloat plain_type = GpuFloat::kBF16;
  bool may_round_f32 = false;  // F32 weights are refused without it
  GpuWeightConversion conversion = GpuWeightConversion::kNone;
};

// A tensor as its source gives it (model/tensor_source.h).
struct GpuPackInput {
  TensorType type = TensorType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  std::span<const std::byte> bytes;  // all rows; empty: sizes are planned for the worst contents
  bool one_scale_per_row = false;    // of 8-bit groups
};

// The form on the card. Grouped integers, Q8_0, Q4_0, Q5_0 and IQ4_NL keep their integers (the last
// two as int8). Scales are fp16 if all of the matrix are exact in it, else fp32.
struct GpuMatrixLayout {
  TensorType source_type = TensorType::kF32;
  GpuWeightFormat format = GpuWeightFormat::kBF16;
  int32_t rows = 0;
  int32_t cols = 0;
  int32_t group = 0;
  bool has_f32_scales = false;
  bool has_zeros = false;
  bool is_exact = false;  // every value is what dequantize_row() of the source gives

  size_t values_row_bytes() const;
  size_t scales_row_bytes() const;
  size_t zeros_row_bytes() const;
  size_t total_bytes() const;
  // A matrix over memory laid out so.
  GpuMatrix matrix(const void* values, const void* scales, const uint8_t* zeros) const;
};

// Errors: kInvalidArgument for shapes that do not fit the type, the conversion or 31 bits, and for
// F32 without may_round_f32.
Result<GpuMatrixLayout> plan_gpu_matrix(const GpuPackInput& input, const GpuPackOptions& options);

// Where one row goes; scales and zeros may be null when the layout has none.
struct GpuRowMemory {
  std::byte* values = nullptr;
  std::byte* scales = nullptr;
  uint8_t* zeros = nullptr;
};

// Owns a row of scratch. One thread at a time.
class GpuRowPacker {
 public:
  explicit GpuRowPacker(const GpuMatrixLayout& layout);

  // `source` is row number `row` in the source's type, unaligned. Errors (kDataLoss) name the row:
  // NaN or infinity, in the source or after rounding; blocks that contradict the layout.
  Status pack(int64_t row, std::span<const std::byte> source, const GpuRowMemory& out);

 private:
  Status pack_plain(int64_t row, std::span<const std::byte> source, std::byte* out);
  Status pack_blocks(int64_t row, TensorType type, const std::byte* source,
                     const GpuRowMemory& out);

  GpuMatrixLayout layout_;
  std::vector<float> values_;      // [cols]; the source as fp32
  std::vector<std::byte> blocks_;  // the row as grouped integers, when it is converted
};

// out[cols]: the values of one row of a matrix in host memory. The oracle of the kernels.
void unpack_gpu_row(const GpuMatrix& matrix, int64_t row, float* out);

}  // namespace sparrow
