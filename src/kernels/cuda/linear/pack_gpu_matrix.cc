#include "kernels/cuda/linear/pack_gpu_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/cuda/linear/int4_order.h"
#include "quant/block_codes.h"
#include "quant/block_formats.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int kSymmetricZero = 8;  // of nibbles; what Q4_0 takes off too
constexpr int kHighestZero = 15;
constexpr int32_t kGroupMultiple = 32;

bool is_integer(GpuWeightFormat format) {
  return format == GpuWeightFormat::kInt8 || format == GpuWeightFormat::kInt4;
}

struct BlockScale {
  float scale = 0;
  uint8_t zero = kSymmetricZero;

  // By bits: -0 is another scale than 0, and its products differ in their sign.
  bool operator==(const BlockScale& other) const {
    return bits_from_float(scale) == bits_from_float(other.scale) && zero == other.zero;
  }
};

// One row as integers: element k = codes[k] * blocks[k / block].scale. From nibbles the zero is
// already taken off.
struct CodedRow {
  int64_t block = 0;
  std::vector<int8_t> codes;
  std::vector<BlockScale> blocks;

  CodedRow(int64_t cols, int64_t block_inputs)
      : block(block_inputs),
        codes(static_cast<size_t>(cols)),
        blocks(static_cast<size_t>(cols / block_inputs)) {}
};

template <size_t kGroup>
BlockScale read_block(const BlockI8<kGroup>& block, int8_t* codes) {
  std::copy(block.values, block.values + kGroup, codes);
  return {block.scale, kSymmetricZero};
}

template <size_t kGroup>
BlockScale read_block(const BlockI4<kGroup>& block, int8_t* codes) {
  const int zero = std::min<int>(block.zero, kHighestZero);  // a higher one is refused later
  for (size_t i = 0; i < kGroup / 2; ++i) {
    codes[2 * i] = static_cast<int8_t>((block.nibbles[i] & 15) - zero);
    codes[2 * i + 1] = static_cast<int8_t>((block.nibbles[i] >> 4) - zero);
  }
  return {block.scale, block.zero};
}

template <typename Block>
void read_blocks(const std::byte* row, CodedRow& out) {
  int8_t* codes = out.codes.data();
  for (BlockScale& scale : out.blocks) {
    Block block;
    std::memcpy(&block, row, sizeof block);
    scale = read_block(block, codes);
    row += sizeof block;
    codes += out.block;
  }
}

// Block types of 32 with one fp16 scale and no minimum.
void read_file_blocks(TensorType type, const std::byte* row, CodedRow& out) {
  BlockCodes block = {};
  int8_t* codes = out.codes.data();
  for (BlockScale& scale : out.blocks) {
    unpack_block(type, row, block);
    std::copy(block.codes, block.codes + kQuantBlock, codes);
    scale = {float_from_f16(block.scale), kSymmetricZero};
    row += tensor_type_info(type).block_bytes;
    codes += kQuantBlock;
  }
}

void read_row(TensorType type, const std::byte* row, CodedRow& out) {
  switch (type) {
    case TensorType::kI4G32:
      return read_blocks<BlockI4<32>>(row, out);
    case TensorType::kI4G64:
      return read_blocks<BlockI4<64>>(row, out);
    case TensorType::kI4G128:
      return read_blocks<BlockI4<128>>(row, out);
    case TensorType::kI8G32:
      return read_blocks<BlockI8<32>>(row, out);
    case TensorType::kI8G64:
      return read_blocks<BlockI8<64>>(row, out);
    case TensorType::kI8G128:
      return read_blocks<BlockI8<128>>(row, out);
    default:
      read_file_blocks(type, row, out);
  }
}

// The least fp16 number that is not below a value >= 0; infinity if none is.
float f16_not_below(float value) {
  const uint16_t nearest = f16_from_float(value);
  if (float_from_f16(nearest) >= value) return float_from_f16(nearest);
  return float_from_f16(static_cast<uint16_t>(nearest + 1));  // the next in order of bits
}

// Finite values to integers in groups of out.block. A scale may come out infinite.
void round_row(const std::vector<float>& values, const GpuPackTarget& target, CodedRow& out) {
  const bool is_int4 = target.format == GpuWeightFormat::kInt4;
  const float low = is_int4 ? -8 : -128, high = is_int4 ? 7 : 127;
  const auto group = static_cast<size_t>(out.block);
  for (size_t g = 0; g < out.blocks.size(); ++g) {
    float largest = 0;
    for (size_t k = g * group; k < (g + 1) * group; ++k) {
      largest = std::max(largest, std::fabs(values[k]));
    }
    float scale = largest / (high + 0.5f);
    if (!target.has_f32_scales) scale = f16_not_below(scale);
    out.blocks[g] = {scale, kSymmetricZero};
    for (size_t k = g * group; k < (g + 1) * group; ++k) {
      const float code = scale > 0 ? std::nearbyint(values[k] / scale) : 0.0f;
      out.codes[k] = static_cast<int8_t>(std::clamp(code, low, high));
    }
  }
}

void write_int4_values(const CodedRow& row, std::byte* values) {
  for (size_t word_begin = 0; word_begin < row.codes.size(); word_begin += kInt4WordInputs) {
    const int zero = row.blocks[word_begin / static_cast<size_t>(row.block)].zero;
    uint8_t bytes[kInt4WordInputs / 2] = {};
    for (int i = 0; i < kInt4WordInputs; ++i) {
      const int nibble = row.codes[word_begin + static_cast<size_t>(i)] + zero;
      const int position = gpu_int4_nibble_position(i);
      bytes[position / 2] =
          static_cast<uint8_t>(bytes[position / 2] | (nibble << (position % 2 * 4)));
    }
    std::memcpy(values + word_begin / 2, bytes, sizeof bytes);
  }
}

void write_scale(float scale, bool is_f32, std::byte* scales, size_t index) {
  if (is_f32) {
    std::memcpy(scales + index * sizeof scale, &scale, sizeof scale);
    return;
  }
  const uint16_t half = f16_from_float(scale);
  std::memcpy(scales + index * sizeof half, &half, sizeof half);
}

bool is_f16_number(float value) {
  const uint16_t half = f16_from_float(value);
  return f16_is_finite(half) && bits_from_float(float_from_f16(half)) == bits_from_float(value);
}

// Where the parts of one row go.
struct RowParts {
  std::byte* values = nullptr;
  std::byte* scales = nullptr;
  std::byte* zeros = nullptr;
};

Status write_coded_row(const CodedRow& row, const GpuPackTarget& target, int64_t row_index,
                       const RowParts& out) {
  const auto cols = static_cast<int64_t>(row.codes.size());
  for (int64_t begin = 0; begin < cols; begin += target.group) {
    const auto group = static_cast<size_t>(begin / target.group);
    const BlockScale& first = row.blocks[static_cast<size_t>(begin / row.block)];
    for (int64_t k = begin; k < begin + target.group; k += row.block) {
      if (row.blocks[static_cast<size_t>(k / row.block)] == first) continue;
      return data_loss(fmt::format("row {}, group {} of {}: its blocks of {} have different scales",
                                   row_index, group, target.group, row.block));
    }
    if (first.zero > kHighestZero) {
      return data_loss(fmt::format("row {}, group {}: zero {}, above {}", row_index, group,
                                   first.zero, kHighestZero));
    }
    if (target.format == GpuWeightFormat::kInt4 && !target.has_zeros &&
        first.zero != kSymmetricZero) {
      return invalid_argument(fmt::format("row {}, group {}: zero {} where all should be {}",
                                          row_index, group, first.zero, kSymmetricZero));
    }
    if (!target.has_f32_scales && !is_f16_number(first.scale)) {
      return invalid_argument(fmt::format("row {}, group {}: scale {} is no fp16 number", row_index,
                                          group, first.scale));
    }
    write_scale(first.scale, target.has_f32_scales, out.scales, group);
    if (target.has_zeros) out.zeros[group] = static_cast<std::byte>(first.zero);
  }
  if (target.format == GpuWeightFormat::kInt4) {
    write_int4_values(row, out.values);
  } else {
    std::memcpy(out.values, row.codes.data(), row.codes.size());
  }
  return ok_status();
}

bool has_type(GpuWeightFormat format, TensorType type) {
  return (format == GpuWeightFormat::kBF16 && type == TensorType::kBF16) ||
         (format == GpuWeightFormat::kF16 && type == TensorType::kF16);
}

Status write_plain_row(const std::vector<float>& values, GpuWeightFormat format, int64_t row_index,
                       std::byte* out) {
  const bool is_bf16 = format == GpuWeightFormat::kBF16;
  for (size_t k = 0; k < values.size(); ++k) {
    const uint16_t half = is_bf16 ? bf16_from_float(values[k]) : f16_from_float(values[k]);
    const uint16_t exponent = is_bf16 ? 0x7f80 : 0x7c00;
    if ((half & exponent) == exponent) {
      return invalid_argument(fmt::format("row {}, input {}: {} is too large for {}", row_index, k,
                                          values[k], is_bf16 ? "bf16" : "fp16"));
    }
    std::memcpy(out + k * sizeof half, &half, sizeof half);
  }
  return ok_status();
}

Status check_shape(const GpuPackTarget& target, const GpuSourceRows& source) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (source.num_rows < 0 || source.num_rows > kMost || source.cols < 1 || source.cols > kMost) {
    return invalid_argument(
        fmt::format("{} rows of {} weights: size out of range", source.num_rows, source.cols));
  }
  const TensorTypeInfo& info = tensor_type_info(source.type);
  if (source.cols % info.block_elements != 0) {
    return invalid_argument(fmt::format("rows of {} weights: {} needs a multiple of {}",
                                        source.cols, info.name, info.block_elements));
  }
  if (!is_integer(target.format)) return ok_status();
  if (target.group < kGroupMultiple || target.group % kGroupMultiple != 0 ||
      source.cols % target.group != 0) {
    return invalid_argument(
        fmt::format("rows of {} weights cannot have groups of {}", source.cols, target.group));
  }
  const int32_t block = info.block_elements;
  if (gpu_packing_is_exact(source.type, target.format) && target.group % block != 0 &&
      block % target.group != 0) {
    return invalid_argument(
        fmt::format("blocks of {} cannot become groups of {}", block, target.group));
  }
  return ok_status();
}

Status pack_row(const GpuPackTarget& target, TensorType type, std::span<const std::byte> row,
                int64_t cols, int64_t row_index, const RowParts& out) {
  if (first_non_finite(type, row) >= 0) {
    return data_loss(fmt::format("row {}: a weight or scale is NaN or infinite", row_index));
  }
  if (has_type(target.format, type)) {
    std::memcpy(out.values, row.data(), row.size());
    return ok_status();
  }
  if (is_integer(target.format) && gpu_packing_is_exact(type, target.format)) {
    CodedRow coded(cols, tensor_type_info(type).block_elements);
    read_row(type, row.data(), coded);
    return write_coded_row(coded, target, row_index, out);
  }
  std::vector<float> values(static_cast<size_t>(cols));
  dequantize_row(type, row.data(), cols, values.data());
  if (!is_integer(target.format)) {
    return write_plain_row(values, target.format, row_index, out.values);
  }
  // A block's finite scale times a code may pass the largest fp32 number.
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
    return data_loss(fmt::format("row {}: a weight is too large for fp32", row_index));
  }
  CodedRow coded(cols, target.group);
  round_row(values, target, coded);
  return write_coded_row(coded, target, row_index, out);
}

float scale_at(const GpuMatrix& matrix, size_t index) {
  const auto* scales = static_cast<const std::byte*>(matrix.scales);
  if (matrix.has_f32_scales) {
    float scale;
    std::memcpy(&scale, scales + index * sizeof scale, sizeof scale);
    return scale;
  }
  uint16_t half;
  std::memcpy(&half, scales + index * sizeof half, sizeof half);
  return float_from_f16(half);
}

}  // namespace

GpuMatrixBytes gpu_matrix_bytes(GpuWeightFormat format, int64_t rows, int64_t cols, int32_t group,
                                bool has_f32_scales, bool has_zeros) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  CHECK(rows >= 0 && rows <= kMost && cols >= 0 && cols <= kMost);
  CHECK(!has_zeros || format == GpuWeightFormat::kInt4);
  // Below 2^62 and the factors below: no product passes 64 bits.
  const size_t weights = static_cast<size_t>(rows) * static_cast<size_t>(cols);
  if (!is_integer(format)) return {.values = weights * 2};
  CHECK(group >= kGroupMultiple && group % kGroupMultiple == 0 && cols % group == 0);
  const size_t groups = weights / static_cast<size_t>(group);
  return {.values = format == GpuWeightFormat::kInt4 ? weights / 2 : weights,
          .scales = groups * (has_f32_scales ? sizeof(float) : sizeof(uint16_t)),
          .zeros = has_zeros ? groups : 0};
}

bool gpu_packing_is_exact(TensorType type, GpuWeightFormat format) {
  switch (format) {
    case GpuWeightFormat::kBF16:
    case GpuWeightFormat::kF16:
      return has_type(format, type);
    case GpuWeightFormat::kInt4:
      return type == TensorType::kQ4_0 || is_int4_group(type);
    case GpuWeightFormat::kInt8:
      return type == TensorType::kQ8_0 || type == TensorType::kQ4_0 || type == TensorType::kQ5_0 ||
             type == TensorType::kIQ4_NL || is_int_group(type);
  }
  return false;
}

bool scales_fit_f16(TensorType type, std::span<const std::byte> bytes) {
  if (!is_int_group(type)) return true;
  const auto block_bytes = static_cast<size_t>(tensor_type_info(type).block_bytes);
  CHECK(bytes.size() % block_bytes == 0);
  for (size_t at = 0; at < bytes.size(); at += block_bytes) {
    float scale;  // the first field of every grouped block
    std::memcpy(&scale, bytes.data() + at, sizeof scale);
    if (!is_f16_number(scale)) return false;
  }
  return true;
}

bool needs_zeros(TensorType type, std::span<const std::byte> bytes) {
  if (!is_int4_group(type)) return false;
  const auto block_bytes = static_cast<size_t>(tensor_type_info(type).block_bytes);
  CHECK(bytes.size() % block_bytes == 0);
  for (size_t at = offsetof(BlockI4<32>, zero); at < bytes.size(); at += block_bytes) {
    if (std::to_integer<int>(bytes[at]) != kSymmetricZero) return true;
  }
  return false;
}

Status pack_gpu_rows(const GpuPackTarget& target, const GpuSourceRows& source,
                     const GpuPackedRows& out) {
  RETURN_IF_ERROR(check_shape(target, source));
  const size_t row_bytes = tensor_row_bytes(source.type, source.cols);
  const auto num_rows = static_cast<size_t>(source.num_rows);
  if (source.bytes.size() != row_bytes * num_rows) {
    return data_loss(fmt::format("{} rows of {} {} weights need {} bytes, found {}", num_rows,
                                 source.cols, tensor_type_info(source.type).name,
                                 row_bytes * num_rows, source.bytes.size()));
  }
  const auto bytes_of = [&](int64_t rows) {
    return gpu_matrix_bytes(target.format, rows, source.cols, target.group, target.has_f32_scales,
                            target.has_zeros);
  };
  CHECK(bytes_of(source.num_rows) ==
        (GpuMatrixBytes{out.values.size(), out.scales.size(), out.zeros.size()}));
  const GpuMatrixBytes step = bytes_of(1);
  for (size_t row = 0; row < num_rows; ++row) {
    const RowParts parts = {out.values.data() + row * step.values,
                            out.scales.data() + row * step.scales,
                            out.zeros.data() + row * step.zeros};
    RETURN_IF_ERROR(pack_row(target, source.type, source.bytes.subspan(row * row_bytes, row_bytes),
                             source.cols, source.row_begin + static_cast<int64_t>(row), parts));
  }
  return ok_status();
}

void unpack_gpu_row(const GpuMatrix& host_matrix, int64_t row, float* out) {
  CHECK(row >= 0 && row < host_matrix.rows);
  const auto cols = static_cast<size_t>(host_matrix.cols);
  const size_t first = static_cast<size_t>(row) * cols;  // weight, counted over the matrix
  const auto* values = static_cast<const std::byte*>(host_matrix.values);
  for (size_t k = 0; k < cols; ++k) {
    if (!is_integer(host_matrix.format)) {
      uint16_t half;
      std::memcpy(&half, values + (first + k) * sizeof half, sizeof half);
      out[k] = host_matrix.format == GpuWeightFormat::kBF16 ? float_from_bf16(half)
                                                            : float_from_f16(half);
      continue;
    }
    const size_t group = (first + k) / static_cast<size_t>(host_matrix.group);
    int code;
    if (host_matrix.format == GpuWeightFormat::kInt8) {
      code = std::to_integer<int8_t>(values[first + k]);
    } else {
      const int position = gpu_int4_nibble_position(static_cast<int>(k % kInt4WordInputs));
      const size_t word = (first + k) / kInt4WordInputs;
      const int two = std::to_integer<int>(values[word * 4 + static_cast<size_t>(position / 2)]);
      const int zero = host_matrix.zeros != nullptr ? host_matrix.zeros[group] : kSymmetricZero;
      code = (two >> (position % 2 * 4) & 15) - zero;
    }
    out[k] = scale_at(host_matrix, group) * static_cast<float>(code);
  }
}

}  // namespace sparrow
