#include "kernels/cuda/linear/pack_gpu_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/cuda/linear/int4_order.h"
#include "quant/block_formats.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int kLongestBlock = 128;

// A block of integers, whatever the type: weight = scale * (code - zero).
struct Codes {
  float scale = 0;
  int zero = 0;
  std::array<int16_t, kLongestBlock> codes = {};
};

template <typename Block>
Block block_at(const std::byte* bytes, int64_t index) {
  Block block;
  std::memcpy(&block, bytes + static_cast<size_t>(index) * sizeof(Block), sizeof(Block));
  return block;
}

template <size_t kGroup>
void read_int4(const BlockI4<kGroup>& block, Codes& out) {
  out.scale = block.scale;
  out.zero = block.zero;
  for (size_t i = 0; i < kGroup / 2; ++i) {
    out.codes[2 * i] = block.nibbles[i] & 15;
    out.codes[2 * i + 1] = block.nibbles[i] >> 4;
  }
}

template <size_t kGroup>
void read_int8(const BlockI8<kGroup>& block, Codes& out) {
  out.scale = block.scale;
  out.zero = 0;
  std::copy(std::begin(block.values), std::end(block.values), out.codes.begin());
}

void read_codes(TensorType type, const std::byte* row, int64_t index, Codes& out) {
  switch (type) {
    case TensorType::kQ8_0: {
      const auto block = block_at<BlockQ8_0>(row, index);
      out.scale = float_from_f16(block.scale);
      out.zero = 0;
      std::copy(std::begin(block.values), std::end(block.values), out.codes.begin());
      return;
    }
    case TensorType::kQ4_0: {
      const auto block = block_at<BlockQ4_0>(row, index);
      out.scale = float_from_f16(block.scale);
      out.zero = 8;
      for (size_t i = 0; i < kQuantBlock / 2; ++i) {
        out.codes[i] = block.nibbles[i] & 15;
        out.codes[i + kQuantBlock / 2] = block.nibbles[i] >> 4;
      }
      return;
    }
    case TensorType::kI4G32:
      return read_int4(block_at<BlockI4<32>>(row, index), out);
    case TensorType::kI4G64:
      return read_int4(block_at<BlockI4<64>>(row, index), out);
    case TensorType::kI4G128:
      return read_int4(block_at<BlockI4<128>>(row, index), out);
    case TensorType::kI8G32:
      return read_int8(block_at<BlockI8<32>>(row, index), out);
    case TensorType::kI8G64:
      return read_int8(block_at<BlockI8<64>>(row, index), out);
    case TensorType::kI8G128:
      return read_int8(block_at<BlockI8<128>>(row, index), out);
    default:
      CHECK(false && "not a type of integer codes");
  }
}

bool is_int8(TensorType type) { return type == TensorType::kQ8_0 || is_int8_group(type); }
bool is_int4(TensorType type) { return type == TensorType::kQ4_0 || is_int4_group(type); }

bool is_integer(GpuWeightFormat format) {
  return format == GpuWeightFormat::kInt8 || format == GpuWeightFormat::kInt4;
}

TensorType int_group_type(const GpuPacking& packing) {
  const bool is_8 = packing.format == GpuWeightFormat::kInt8;
  switch (packing.group) {
    case 32:
      return is_8 ? TensorType::kI8G32 : TensorType::kI4G32;
    case 64:
      return is_8 ? TensorType::kI8G64 : TensorType::kI4G64;
    case 128:
      return is_8 ? TensorType::kI8G128 : TensorType::kI4G128;
    default:
      CHECK(false && "codes are made in groups of 32, 64 or 128");
      return TensorType::kI8G32;
  }
}

class RowPacker {
 public:
  RowPacker(TensorType type, int64_t cols, const GpuPacking& packing, const GpuMatrixSpans& out)
      : type_(type),
        cols_(cols),
        packing_(packing),
        out_(out),
        bytes_(gpu_matrix_bytes(packing, 1, cols)),
        values_(static_cast<size_t>(cols)) {}

  Status pack(const std::byte* row, int64_t index) {
    if (!is_integer(packing_.format)) return pack_16_bits(row, index);
    const bool has_codes =
        packing_.format == GpuWeightFormat::kInt8 ? is_int8(type_) : is_int4(type_);
    if (has_codes) return pack_codes(type_, row, index);
    const TensorType codes_type = int_group_type(packing_);
    RETURN_IF_ERROR(read_values(row));
    codes_.resize(tensor_row_bytes(codes_type, cols_));
    quantize_int_groups(codes_type, packing_.has_f32_scales ? TensorType::kF32 : TensorType::kF16,
                        values_.data(), cols_, codes_.data());
    return pack_codes(codes_type, codes_.data(), index);
  }

 private:
  Status read_values(const std::byte* row) {
    dequantize_row(type_, row, cols_, values_.data());
    if (first_non_finite(TensorType::kF32, std::as_bytes(std::span(values_))) >= 0) {
      return data_loss("a value or scale is not a finite number");
    }
    return ok_status();
  }

  Status pack_16_bits(const std::byte* row, int64_t index) {
    RETURN_IF_ERROR(read_values(row));
    std::byte* to = out_.values.data() + static_cast<size_t>(index) * bytes_.values;
    const bool is_f16 = packing_.format == GpuWeightFormat::kF16;
    for (size_t i = 0; i < values_.size(); ++i) {
      const uint16_t half = is_f16 ? f16_from_float(values_[i]) : bf16_from_float(values_[i]);
      const float back = is_f16 ? float_from_f16(half) : float_from_bf16(half);
      if (!std::isfinite(back)) {
        return data_loss(fmt::format("{} is too large for {}", values_[i],
                                     is_f16 ? "fp16 (bf16 would do)" : "bf16"));
      }
      std::memcpy(to + 2 * i, &half, sizeof half);
    }
    return ok_status();
  }

  Status pack_codes(TensorType type, const std::byte* row, int64_t index) {
    const int64_t block = tensor_type_info(type).block_elements;
    CHECK(packing_.group % block == 0 && cols_ % packing_.group == 0);
    std::byte* to = out_.values.data() + static_cast<size_t>(index) * bytes_.values;
    for (int64_t begin = 0; begin < cols_; begin += block) {
      Codes codes;
      read_codes(type, row, begin / block, codes);
      if (!std::isfinite(codes.scale)) return data_loss("a scale is not a finite number");
      if (begin % packing_.group == 0) {
        put_scale(codes, index * (cols_ / packing_.group) + begin / packing_.group);
      }
      if (packing_.format == GpuWeightFormat::kInt8) {
        put_int8(codes, block, to + begin);
      } else {
        put_int4(codes, block, to + begin / 2);
      }
    }
    return ok_status();
  }

  void put_scale(const Codes& codes, int64_t group) {
    const auto at = static_cast<size_t>(group);
    if (packing_.has_f32_scales) {
      std::memcpy(out_.scales.data() + at * sizeof(float), &codes.scale, sizeof(float));
    } else {
      const uint16_t half = f16_from_float(codes.scale);
      std::memcpy(out_.scales.data() + at * sizeof half, &half, sizeof half);
    }
    if (packing_.has_zeros) out_.zeros[at] = static_cast<std::byte>(codes.zero);
  }

  static void put_int8(const Codes& codes, int64_t count, std::byte* to) {
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      to[i] = static_cast<std::byte>(static_cast<int8_t>(codes.codes[i]));
    }
  }

  static void put_int4(const Codes& codes, int64_t count, std::byte* to) {
    for (size_t begin = 0; begin < static_cast<size_t>(count); begin += 8) {
      uint32_t word = 0;
      for (int i = 0; i < 8; ++i) {
        const auto code = static_cast<uint32_t>(codes.codes[begin + static_cast<size_t>(i)]);
        word |= (code & 15u) << gpu_int4_shift(i);
      }
      std::memcpy(to + begin / 2, &word, sizeof word);
    }
  }

  const TensorType type_;
  const int64_t cols_;
  const GpuPacking packing_;
  const GpuMatrixSpans out_;
  const GpuMatrixBytes bytes_;  // of one row
  std::vector<float> values_;
  std::vector<std::byte> codes_;
};

}  // namespace

GpuMatrixBytes gpu_matrix_bytes(const GpuPacking& packing, int64_t rows, int64_t cols) {
  CHECK(rows >= 0 && cols >= 0);
  const auto count = static_cast<size_t>(rows) * static_cast<size_t>(cols);
  GpuMatrixBytes bytes;
  if (!is_integer(packing.format)) {
    bytes.values = count * 2;
    return bytes;
  }
  CHECK(packing.group > 0 && cols % packing.group == 0);
  const size_t groups = count / static_cast<size_t>(packing.group);
  bytes.values = packing.format == GpuWeightFormat::kInt8 ? count : count / 2;
  bytes.scales = groups * (packing.has_f32_scales ? sizeof(float) : sizeof(uint16_t));
  bytes.zeros = packing.has_zeros ? groups : 0;
  return bytes;
}

Status pack_gpu_rows(TensorType type, std::span<const std::byte> rows, int64_t num_rows,
                     int64_t cols, const GpuPacking& packing, const GpuMatrixSpans& out) {
  const size_t row_bytes = tensor_row_bytes(type, cols);
  const GpuMatrixBytes bytes = gpu_matrix_bytes(packing, num_rows, cols);
  CHECK(rows.size() == row_bytes * static_cast<size_t>(num_rows));
  CHECK(out.values.size() == bytes.values && out.scales.size() == bytes.scales &&
        out.zeros.size() == bytes.zeros);
  RowPacker packer(type, cols, packing, out);
  for (int64_t row = 0; row < num_rows; ++row) {
    const Status packed = packer.pack(rows.data() + static_cast<size_t>(row) * row_bytes, row);
    if (!packed.ok()) {
      return Status(packed.code(), fmt::format("row {}: {}", row, packed.message()));
    }
  }
  return ok_status();
}

void unpack_gpu_row(const GpuMatrix& matrix, int64_t row, float* out) {
  const auto cols = static_cast<size_t>(matrix.cols);
  const auto at = static_cast<size_t>(row) * cols;
  for (size_t i = 0; i < cols; ++i) {
    if (!is_integer(matrix.format)) {
      const uint16_t half = static_cast<const uint16_t*>(matrix.values)[at + i];
      out[i] =
          matrix.format == GpuWeightFormat::kF16 ? float_from_f16(half) : float_from_bf16(half);
      continue;
    }
    const size_t group = (at + i) / static_cast<size_t>(matrix.group);
    const float scale = matrix.has_f32_scales
                            ? static_cast<const float*>(matrix.scales)[group]
                            : float_from_f16(static_cast<const uint16_t*>(matrix.scales)[group]);
    if (matrix.format == GpuWeightFormat::kInt8) {
      out[i] = scale * static_cast<float>(static_cast<const int8_t*>(matrix.values)[at + i]);
      continue;
    }
    const uint32_t word = static_cast<const uint32_t*>(matrix.values)[(at + i) / 8];
    const int zero = matrix.zeros != nullptr ? matrix.zeros[group] : 8;
    const auto code = static_cast<int>(word >> gpu_int4_shift(static_cast<int>(i % 8)) & 15u);
    out[i] = scale * static_cast<float>(code - zero);
  }
}

}  // namespace sparrow
