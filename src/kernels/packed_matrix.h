#pragma once
// PackedMatrix: a weight matrix in the layout of kernels.h (strips of 32 rows, zero-padded). Values
// are exactly those of the source: packing only moves bytes. Owns its memory, or lies in memory
// that someone else keeps (many matrices in one piece waste no large pages); movable.
//
//   ASSIGN_OR_RETURN(PackedMatrix matrix, PackedMatrix::allocate(format, rows, cols));
//   RETURN_IF_ERROR(matrix.pack_rows(0, rows, source.type, source.bytes));
//
// A kI8Row matrix takes I8G32, I8G64 and I8G128 rows whose blocks all have the same scale.
//
// pack_rows may be called from several threads for disjoint ranges of whole strips. Errors: a
// grouped format whose cols are no multiple of its block, a source of another type, a scale that is
// not finite, a row of kI8Row whose scales differ or whose sums could pass int32.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "kernels/kernels.h"
#include "quant/tensor_type.h"
#include "tensor/aligned_buffer.h"

namespace sparrow {

const char* weight_format_name(WeightFormat format);
// The packed format that keeps a tensor type's values, and the type whose values a format has (of
// several the one of the same name).
WeightFormat weight_format_for(TensorType type);
TensorType tensor_type_for(WeightFormat format);
// As weight_format_for() for rows of `cols` values whose blocks all have the row's scale.
WeightFormat weight_format_for_row_scales(TensorType type, int64_t cols);

class PackedMatrix {
 public:
  PackedMatrix() = default;
  // All rows zero.
  static Result<PackedMatrix> allocate(WeightFormat format, int64_t rows, int64_t cols);
  // The same at `memory`: zeros, on a 64-byte border, bytes_of() of them, which outlive the matrix.
  static Result<PackedMatrix> in_memory(WeightFormat format, int64_t rows, int64_t cols,
                                        std::span<std::byte> memory);
  // What allocate() would take; cols as it wants them.
  static int64_t bytes_of(WeightFormat format, int64_t rows, int64_t cols);

  // Packs num_rows rows in the source's row format to the rows from row_begin on. Bytes may be
  // unaligned; `bytes` must be exactly num_rows rows.
  Status pack_rows(int64_t row_begin, int64_t num_rows, TensorType type,
                   std::span<const std::byte> bytes);
  // Writes cols floats: the exact values of one row.
  void unpack_row(int64_t row, float* out) const;

  int64_t rows() const { return view_.rows; }
  int64_t cols() const { return view_.cols; }
  int64_t num_strips() const { return (view_.rows + kStripRows - 1) / kStripRows; }
  int64_t bytes() const { return num_strips() * view_.strip_bytes; }
  WeightFormat format() const { return view_.format; }
  bool empty() const { return view_.data == nullptr; }
  const PackedView& view() const { return view_; }

 private:
  // Everything but the memory.
  static Result<PackedMatrix> shaped(WeightFormat format, int64_t rows, int64_t cols);

  AlignedBuffer owned_;  // empty: the memory is someone else's
  uint8_t* data_ = nullptr;
  PackedView view_;
};

}  // namespace sparrow
