#pragma once
// GroupRowPacker: rows of grouped integers (quant/int_group_blocks.h) -> the bytes of one matrix of
// a compressed-tensors checkpoint in format pack-quantized: weight_packed, then weight_scale and
// weight_shape. 4 bit: a scale per block. 8 bit: a scale per row, which all blocks of the row must
// have. One thread. Errors: a zero point that is not 8, a scale that the file's type cannot hold
// exactly, rows of several scales.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "quant/tensor_type.h"

namespace sparrow {

// A tensor of a safetensors file.
struct SafetensorsPlan {
  std::string name;
  std::string dtype;  // "I32"
  std::vector<int64_t> shape;
  uint64_t size_bytes = 0;
};

// The tensors that stand for the matrix `name` ("....weight"), in the order of their bytes.
std::vector<SafetensorsPlan> packed_tensors(const std::string& name, TensorType type, int64_t rows,
                                            int64_t cols, TensorType scale_type);

class GroupRowPacker {
 public:
  // `scale_type` is F32, F16 or BF16.
  GroupRowPacker(TensorType type, int64_t rows, int64_t cols, TensorType scale_type);

  // The next bytes of the rows, in pieces of any size; appends what they give to `out`. After the
  // last row that includes scales and shape.
  Status add(std::span<const std::byte> bytes, std::vector<std::byte>& out);

 private:
  Status add_row(const std::byte* row, std::vector<std::byte>& out);
  Status add_scale(float scale);

  const TensorType type_;
  const int64_t rows_, cols_;
  const TensorType scale_type_;
  std::vector<std::byte> partial_row_;
  std::vector<std::byte> scales_;
  int64_t rows_done_ = 0;
};

}  // namespace sparrow
