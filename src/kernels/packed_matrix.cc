#include "kernels/packed_matrix.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/pack_strip.h"
#include "kernels/strip_layout.h"
#include "quant/convert_int_groups.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

int64_t plain_element_bytes(WeightFormat format) { return format == WeightFormat::kF32 ? 4 : 2; }

int64_t strip_bytes_of(WeightFormat format, int64_t cols) {
  const StripLayout layout = strip_layout(format);
  if (is_grouped(format)) {
    return strip_header_bytes(layout) + cols / layout.block_inputs * block_bytes(layout);
  }
  // Strips start on cache lines whatever cols is: 32 elements are at least 64 bytes.
  return cols * kStripRows * plain_element_bytes(format);
}

void pack_plain_row(uint8_t* strip, int64_t lane, const std::byte* source, int64_t cols,
                    int64_t element_bytes) {
  uint8_t* out = strip + lane * element_bytes;
  const int64_t stride = kStripRows * element_bytes;
  for (int64_t k = 0; k < cols; ++k) {
    std::memcpy(out + k * stride, source + k * element_bytes, static_cast<size_t>(element_bytes));
  }
}

uint16_t load_u16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, 2);
  return value;
}

struct FormatOfType {
  TensorType type;
  WeightFormat format;
};

constexpr FormatOfType kFormats[] = {
    {TensorType::kF32, WeightFormat::kF32},       {TensorType::kF16, WeightFormat::kF16},
    {TensorType::kBF16, WeightFormat::kBF16},     {TensorType::kQ8_0, WeightFormat::kQ8_0},
    {TensorType::kQ4_0, WeightFormat::kQ4_0},     {TensorType::kQ4_1, WeightFormat::kQ4_1},
    {TensorType::kQ5_1, WeightFormat::kQ5_1},     {TensorType::kQ2_K, WeightFormat::kQ2_K},
    {TensorType::kQ3_K, WeightFormat::kQ3_K},     {TensorType::kQ4_K, WeightFormat::kQ4_K},
    {TensorType::kQ5_K, WeightFormat::kQ5_K},     {TensorType::kQ6_K, WeightFormat::kQ6_K},
    {TensorType::kI4G32, WeightFormat::kI4G32},   {TensorType::kI4G64, WeightFormat::kI4G64},
    {TensorType::kI4G128, WeightFormat::kI4G128}, {TensorType::kI8G32, WeightFormat::kI8G32},
    {TensorType::kI8G64, WeightFormat::kI8G64},   {TensorType::kI8G128, WeightFormat::kI8G128},
};

}  // namespace

const char* weight_format_name(WeightFormat format) {
  if (format == WeightFormat::kI8Row) return "I8ROW";
  return tensor_type_info(tensor_type_for(format)).name;
}

WeightFormat weight_format_for(TensorType type) {
  // Their codes, offset taken off, are whole numbers in [-127, 113]: nothing is lost as int8.
  if (type == TensorType::kQ5_0 || type == TensorType::kIQ4_NL) return WeightFormat::kQ8_0;
  for (const FormatOfType& pair : kFormats) {
    if (pair.type == type) return pair.format;
  }
  CHECK(false && "tensor type without a packed format");
  return WeightFormat::kF32;
}

WeightFormat weight_format_for_row_scales(TensorType type, int64_t cols) {
  const bool fits = cols <= max_row_inputs(strip_layout(WeightFormat::kI8Row));
  return is_int8_group(type) && fits ? WeightFormat::kI8Row : weight_format_for(type);
}

TensorType tensor_type_for(WeightFormat format) {
  if (format == WeightFormat::kI8Row) return TensorType::kI8G32;
  for (const FormatOfType& pair : kFormats) {
    if (pair.format == format) return pair.type;
  }
  CHECK(false && "unknown packed format");
  return TensorType::kF32;
}

int64_t PackedMatrix::bytes_of(WeightFormat format, int64_t rows, int64_t cols) {
  return (rows + kStripRows - 1) / kStripRows * strip_bytes_of(format, cols);
}

Result<PackedMatrix> PackedMatrix::shaped(WeightFormat format, int64_t rows, int64_t cols) {
  constexpr int64_t kLimit = int64_t{1} << 31;
  if (rows < 1 || cols < 1 || rows > kLimit || cols > kLimit ||
      rows + kStripRows > (int64_t{1} << 44) / cols) {
    return invalid_argument(fmt::format("matrix of {} x {}: size out of range", rows, cols));
  }
  const StripLayout layout = strip_layout(format);
  if (cols % layout.block_inputs != 0) {
    return invalid_argument(fmt::format("matrix of {} x {}: rows of {} need a multiple of {}", rows,
                                        cols, weight_format_name(format), layout.block_inputs));
  }
  if (cols > max_row_inputs(layout)) {
    return invalid_argument(fmt::format("matrix of {} x {}: rows of {} hold at most {} values",
                                        rows, cols, weight_format_name(format),
                                        max_row_inputs(layout)));
  }
  PackedMatrix matrix;
  matrix.view_ = {nullptr, strip_bytes_of(format, cols), rows, cols, format};
  return matrix;
}

Result<PackedMatrix> PackedMatrix::allocate(WeightFormat format, int64_t rows, int64_t cols) {
  ASSIGN_OR_RETURN(PackedMatrix matrix, shaped(format, rows, cols));
  // Fresh pages are zero and get touched by the thread that packs them.
  ASSIGN_OR_RETURN(matrix.owned_, AlignedBuffer::try_allocate(static_cast<size_t>(matrix.bytes()),
                                                              "a weight matrix"));
  matrix.view_.data = matrix.data_ = matrix.owned_.as<uint8_t>();
  return matrix;
}

Result<PackedMatrix> PackedMatrix::in_memory(WeightFormat format, int64_t rows, int64_t cols,
                                             std::span<std::byte> memory) {
  ASSIGN_OR_RETURN(PackedMatrix matrix, shaped(format, rows, cols));
  CHECK(static_cast<int64_t>(memory.size()) == matrix.bytes() &&
        reinterpret_cast<uintptr_t>(memory.data()) % 64 == 0);
  matrix.view_.data = matrix.data_ = reinterpret_cast<uint8_t*>(memory.data());
  return matrix;
}

Status PackedMatrix::pack_rows(int64_t row_begin, int64_t num_rows, TensorType type,
                               std::span<const std::byte> bytes) {
  const bool one_scale = view_.format == WeightFormat::kI8Row && is_int8_group(type) &&
                         cols() % tensor_type_info(type).block_elements == 0;
  if (!one_scale && weight_format_for(type) != view_.format) {
    return invalid_argument(fmt::format("cannot pack {} rows into a {} matrix",
                                        tensor_type_info(type).name,
                                        weight_format_name(view_.format)));
  }
  CHECK(row_begin >= 0 && num_rows >= 0 && row_begin <= rows() - num_rows);
  const size_t row_bytes = tensor_row_bytes(type, cols());
  if (bytes.size() != row_bytes * static_cast<size_t>(num_rows)) {
    return data_loss(fmt::format("{} rows of {} {} values need {} bytes, found {}", num_rows,
                                 cols(), tensor_type_info(type).name,
                                 row_bytes * static_cast<size_t>(num_rows), bytes.size()));
  }
  const std::byte* source = bytes.data();
  for (int64_t index = 0; index < num_rows; ++index, source += row_bytes) {
    const int64_t row = row_begin + index;
    uint8_t* strip = data_ + row / kStripRows * view_.strip_bytes;
    const int64_t lane = row % kStripRows;
    int64_t bad_group = -1;
    if (one_scale) {
      bad_group = pack_one_scale_row(type, source, cols(), lane, strip);
    } else if (is_grouped(view_.format)) {
      bad_group = pack_strip_row(view_.format, type, source, cols(), lane, strip);
    } else {
      pack_plain_row(strip, lane, source, cols(), plain_element_bytes(view_.format));
    }
    if (bad_group >= 0) {
      return data_loss(fmt::format("row {}, group {}: a scale{}", index, bad_group,
                                   one_scale ? " is not finite or not that of the whole row"
                                             : " or minimum is not a finite number"));
    }
  }
  return ok_status();
}

void PackedMatrix::unpack_row(int64_t row, float* out) const {
  CHECK(row >= 0 && row < rows());
  const uint8_t* strip = view_.data + row / kStripRows * view_.strip_bytes;
  const int64_t lane = row % kStripRows;
  if (is_grouped(view_.format)) return unpack_strip_row(view_.format, strip, lane, cols(), out);
  for (int64_t k = 0; k < cols(); ++k) {
    if (view_.format == WeightFormat::kF32) {
      std::memcpy(out + k, strip + (k * kStripRows + lane) * 4, 4);
    } else {
      const uint16_t half = load_u16(strip + (k * kStripRows + lane) * 2);
      out[k] = view_.format == WeightFormat::kF16 ? float_from_f16(half) : float_from_bf16(half);
    }
  }
}

}  // namespace sparrow
