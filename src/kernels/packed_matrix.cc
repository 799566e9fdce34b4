#include "kernels/packed_matrix.h"

#include <fmt/format.h>

#include <cstring>

#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int64_t kScaleBytes = kStripRows * 2;
constexpr int64_t kQ8GroupBytes = kScaleBytes + kStripRows * kGroupSize;
constexpr int64_t kQ4GroupBytes = kScaleBytes + kStripRows * kGroupSize / 2;

bool is_grouped(WeightFormat format) {
  return format == WeightFormat::kQ8_0 || format == WeightFormat::kQ4_0;
}

int64_t plain_element_bytes(WeightFormat format) { return format == WeightFormat::kF32 ? 4 : 2; }

int64_t strip_bytes_of(WeightFormat format, int64_t cols) {
  if (format == WeightFormat::kQ8_0) return cols / kGroupSize * kQ8GroupBytes;
  if (format == WeightFormat::kQ4_0) return cols / kGroupSize * kQ4GroupBytes;
  // Strips start on cache lines whatever cols is: 32 elements are at least 64 bytes.
  return cols * kStripRows * plain_element_bytes(format);
}

void pack_plain_row(uint8_t* strip, int64_t lane, const uint8_t* source, int64_t cols,
                    int64_t element_bytes) {
  uint8_t* out = strip + lane * element_bytes;
  const int64_t stride = kStripRows * element_bytes;
  for (int64_t k = 0; k < cols; ++k) {
    std::memcpy(out + k * stride, source + k * element_bytes, static_cast<size_t>(element_bytes));
  }
}

bool is_finite_f16(const uint8_t* bytes) { return (bytes[1] & 0x7c) != 0x7c; }

// Source block: fp16 scale, 32 int8. Returns the first group with a scale that is not finite.
int64_t pack_q8_row(uint8_t* strip, int64_t lane, const uint8_t* source, int64_t cols) {
  for (int64_t group = 0; group < cols / kGroupSize; ++group) {
    const uint8_t* block = source + group * 34;
    uint8_t* out = strip + group * kQ8GroupBytes;
    if (!is_finite_f16(block)) return group;
    std::memcpy(out + lane * 2, block, 2);
    for (int64_t quad = 0; quad < 8; ++quad) {
      std::memcpy(out + kScaleBytes + (quad * kStripRows + lane) * 4, block + 2 + quad * 4, 4);
    }
  }
  return -1;
}

// Source block: fp16 scale, 16 bytes; byte j holds input j low, input j + 16 high.
int64_t pack_q4_row(uint8_t* strip, int64_t lane, const uint8_t* source, int64_t cols) {
  for (int64_t group = 0; group < cols / kGroupSize; ++group) {
    const uint8_t* block = source + group * 18;
    uint8_t* out = strip + group * kQ4GroupBytes;
    if (!is_finite_f16(block)) return group;
    std::memcpy(out + lane * 2, block, 2);
    uint8_t nibbles[kGroupSize];
    for (int j = 0; j < 16; ++j) {
      nibbles[j] = block[2 + j] & 15;
      nibbles[j + 16] = block[2 + j] >> 4;
    }
    for (int64_t octet = 0; octet < 4; ++octet) {
      uint8_t* bytes = out + kScaleBytes + (octet * kStripRows + lane) * 4;
      for (int i = 0; i < 4; ++i) {
        bytes[i] = static_cast<uint8_t>(nibbles[octet * 8 + i] | nibbles[octet * 8 + 4 + i] << 4);
      }
    }
  }
  return -1;
}

uint16_t load_u16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, 2);
  return value;
}

}  // namespace

const char* weight_format_name(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kF16:
      return "f16";
    case WeightFormat::kBF16:
      return "bf16";
    case WeightFormat::kQ8_0:
      return "q8_0";
    case WeightFormat::kQ4_0:
      return "q4_0";
  }
  return "unknown";
}

WeightFormat weight_format_for(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return WeightFormat::kF32;
    case TensorType::kF16:
      return WeightFormat::kF16;
    case TensorType::kBF16:
      return WeightFormat::kBF16;
    case TensorType::kQ8_0:
      return WeightFormat::kQ8_0;
    case TensorType::kQ4_0:
      return WeightFormat::kQ4_0;
    default:
      break;
  }
  CHECK(false && "tensor type without a packed format");
  return WeightFormat::kF32;
}

Result<PackedMatrix> PackedMatrix::allocate(WeightFormat format, int64_t rows, int64_t cols) {
  constexpr int64_t kLimit = int64_t{1} << 31;
  if (rows < 1 || cols < 1 || rows > kLimit || cols > kLimit ||
      rows + kStripRows > (int64_t{1} << 44) / cols) {
    return invalid_argument(fmt::format("matrix of {} x {}: size out of range", rows, cols));
  }
  if (is_grouped(format) && cols % kGroupSize != 0) {
    return invalid_argument(fmt::format("matrix of {} x {}: rows of {} need a multiple of {}", rows,
                                        cols, weight_format_name(format), kGroupSize));
  }
  PackedMatrix matrix;
  matrix.view_ = {nullptr, strip_bytes_of(format, cols), rows, cols, format};
  // Fresh pages are zero and get touched by the thread that packs them.
  ASSIGN_OR_RETURN(matrix.data_, AlignedBuffer::try_allocate(static_cast<size_t>(matrix.bytes()),
                                                             "a weight matrix"));
  matrix.view_.data = matrix.data_.as<uint8_t>();
  return matrix;
}

Status PackedMatrix::pack_rows(int64_t row_begin, int64_t num_rows, TensorType type,
                               std::span<const std::byte> bytes) {
  if (weight_format_for(type) != view_.format) {
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
  const auto* source = reinterpret_cast<const uint8_t*>(bytes.data());
  for (int64_t index = 0; index < num_rows; ++index, source += row_bytes) {
    const int64_t row = row_begin + index;
    uint8_t* strip = data_.as<uint8_t>() + row / kStripRows * view_.strip_bytes;
    const int64_t lane = row % kStripRows;
    int64_t bad_group = -1;
    if (view_.format == WeightFormat::kQ8_0) {
      bad_group = pack_q8_row(strip, lane, source, cols());
    } else if (view_.format == WeightFormat::kQ4_0) {
      bad_group = pack_q4_row(strip, lane, source, cols());
    } else {
      pack_plain_row(strip, lane, source, cols(), plain_element_bytes(view_.format));
    }
    if (bad_group >= 0) {
      return data_loss(
          fmt::format("row {}, group {}: the scale is not a finite number", index, bad_group));
    }
  }
  return ok_status();
}

void PackedMatrix::unpack_row(int64_t row, float* out) const {
  CHECK(row >= 0 && row < rows());
  const uint8_t* strip = view_.data + row / kStripRows * view_.strip_bytes;
  const int64_t lane = row % kStripRows;
  for (int64_t k = 0; k < cols(); ++k) {
    const int64_t group = k / kGroupSize, inner = k % kGroupSize;
    if (view_.format == WeightFormat::kQ8_0) {
      const uint8_t* base = strip + group * kQ8GroupBytes;
      const auto weight =
          static_cast<int8_t>(base[kScaleBytes + (inner / 4 * kStripRows + lane) * 4 + inner % 4]);
      out[k] = float_from_f16(load_u16(base + lane * 2)) * static_cast<float>(weight);
    } else if (view_.format == WeightFormat::kQ4_0) {
      const uint8_t* base = strip + group * kQ4GroupBytes;
      const uint8_t pair = base[kScaleBytes + (inner / 8 * kStripRows + lane) * 4 + inner % 4];
      const int nibble = inner % 8 < 4 ? pair & 15 : pair >> 4;
      out[k] = float_from_f16(load_u16(base + lane * 2)) * static_cast<float>(nibble - 8);
    } else if (view_.format == WeightFormat::kF32) {
      std::memcpy(out + k, strip + (k * kStripRows + lane) * 4, 4);
    } else {
      const uint16_t half = load_u16(strip + (k * kStripRows + lane) * 2);
      out[k] = view_.format == WeightFormat::kF16 ? float_from_f16(half) : float_from_bf16(half);
    }
  }
}

}  // namespace sparrow
