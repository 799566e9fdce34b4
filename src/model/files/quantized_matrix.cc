#include "model/files/quantized_matrix.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

// Rows converted together: two cache lines of a GPTQ file's words, one of an AWQ file's. Where the
// file has outputs innermost, each line is then read once, and the rows being written fit the L1.
constexpr int64_t kTileRows = 128;
// The header of a block: an fp32 scale and, for 4 bit, the zero point and three bytes of padding.
constexpr int64_t kInt4Header = 8;
constexpr int64_t kInt8Header = 4;
constexpr int64_t kQ4_0Header = 2;
// Nibble i of an AWQ word belongs to output 8c + kAwqOrder[i].
constexpr std::array<int64_t, 8> kAwqOrder = {0, 2, 4, 6, 1, 3, 5, 7};

uint32_t load_word(const std::byte* bytes, int64_t index) {
  uint32_t word;
  std::memcpy(&word, bytes + index * 4, 4);
  return word;
}

float load_scale(const QuantizedMatrix& matrix, int64_t index) {
  if (matrix.scale_type == TensorType::kF32) {
    float value;
    std::memcpy(&value, matrix.scales.data() + index * 4, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, matrix.scales.data() + index * 2, 2);
  return matrix.scale_type == TensorType::kF16 ? float_from_f16(half) : float_from_bf16(half);
}

float scale_of(const QuantizedMatrix& matrix, int64_t row, int64_t group) {
  const bool outputs_innermost =
      matrix.layout == QuantizationLayout::kAwq || matrix.layout == QuantizationLayout::kGptq;
  return load_scale(
      matrix, outputs_innermost ? group * matrix.rows + row : row * matrix.num_groups() + group);
}

// Position of an output's nibble in a word of AWQ, the inverse of kAwqOrder.
int64_t awq_position(int64_t output) { return output % 2 == 0 ? output / 2 : 4 + output / 2; }

// As unsigned as the file's integers are, 0..15 or 0..255.
uint8_t zero_of(const QuantizedMatrix& matrix, int64_t row, int64_t group) {
  if (matrix.zeros.empty()) return static_cast<uint8_t>(1 << (matrix.bits - 1));
  const int64_t words_per_group = matrix.rows / 8;
  switch (matrix.layout) {
    case QuantizationLayout::kAwq: {
      const uint32_t word = load_word(matrix.zeros.data(), group * words_per_group + row / 8);
      return static_cast<uint8_t>(word >> (4 * awq_position(row % 8)) & 15);
    }
    case QuantizationLayout::kGptq: {
      const int64_t per_word = 32 / matrix.bits;
      const uint32_t word =
          load_word(matrix.zeros.data(), group * (matrix.rows / per_word) + row / per_word);
      const uint32_t stored = word >> (matrix.bits * (row % per_word));
      // A stored 15 (or 255) is the true zero point 0: the sum wraps in its bits.
      return static_cast<uint8_t>((stored + (matrix.zeros_minus_one ? 1 : 0)) &
                                  ((1u << matrix.bits) - 1));
    }
    default: {
      // Packed along the outputs; stored plus 8, as the weights are.
      const uint32_t word = load_word(matrix.zeros.data(), row / 8 * matrix.num_groups() + group);
      return static_cast<uint8_t>(word >> (4 * (row % 8)) & 15);
    }
  }
}

// x[i] has nibble j of input i; afterwards x[j] has nibble i of it: blocks of 4, 2 and 1 nibbles
// are swapped across the diagonal (the bit matrix transpose of Hacker's Delight 7-3, on nibbles).
void transpose_nibbles(uint32_t* x) {
  constexpr std::array<uint32_t, 3> kLow = {0x0000ffff, 0x00ff00ff, 0x0f0f0f0f};
  for (int step = 0; step < 3; ++step) {
    const int distance = 4 >> step, shift = 4 * distance;
    const uint32_t low = kLow[static_cast<size_t>(step)];
    for (int i = 0; i < 8; ++i) {
      if ((i & distance) != 0) continue;
      const uint32_t changed = ((x[i] >> shift) ^ x[i + distance]) & low;
      x[i + distance] ^= changed;
      x[i] ^= changed << shift;
    }
  }
}

// A piece of a matrix: inputs [k, k + count) of the rows [row, row + num_rows). Row r's integers go
// to out + r * stride: 4 bit as nibbles with the even input low, 8 bit as signed bytes. `count` is
// a multiple of 8, `row` of 8.
struct Piece {
  int64_t row, num_rows, k, count;
  std::byte* out;
  int64_t stride;
};

void copy_awq(const QuantizedMatrix& matrix, const Piece& piece) {
  const int64_t words = matrix.rows / 8;
  for (int64_t k = 0; k < piece.count; k += 8) {
    for (int64_t column = 0; column < piece.num_rows / 8; ++column) {
      uint32_t x[8];
      for (int64_t i = 0; i < 8; ++i) {
        x[i] = load_word(matrix.weights.data(), (piece.k + k + i) * words + piece.row / 8 + column);
      }
      transpose_nibbles(x);
      for (size_t i = 0; i < 8; ++i) {
        std::memcpy(piece.out + (column * 8 + kAwqOrder[i]) * piece.stride + k / 2, &x[i], 4);
      }
    }
  }
}

// A word of GPTQ is four bytes of ours; in 8 bits ours are signed.
void copy_gptq(const QuantizedMatrix& matrix, const Piece& piece) {
  const int64_t per_word = 32 / matrix.bits;
  const uint32_t offset = matrix.bits == 8 ? 0x80808080 : 0;
  for (int64_t k = 0; k < piece.count; k += per_word) {
    const int64_t first = (piece.k + k) / per_word * matrix.rows + piece.row;
    for (int64_t row = 0; row < piece.num_rows; ++row) {
      const uint32_t word = load_word(matrix.weights.data(), first + row) ^ offset;
      std::memcpy(piece.out + row * piece.stride + k * matrix.bits / 8, &word, 4);
    }
  }
}

// Rows of a file that has inputs innermost; 8-bit words hold values plus 128.
void copy_rows(const QuantizedMatrix& matrix, const Piece& piece) {
  const auto bytes = static_cast<size_t>(piece.count * matrix.bits / 8);
  const int64_t values_per_word = 32 / matrix.bits;
  const int64_t row_bytes = matrix.layout == QuantizationLayout::kInt8
                                ? matrix.cols
                                : (matrix.cols + values_per_word - 1) / values_per_word * 4;
  for (int64_t row = 0; row < piece.num_rows; ++row) {
    std::byte* out = piece.out + row * piece.stride;
    std::memcpy(out,
                matrix.weights.data() + (piece.row + row) * row_bytes + piece.k * matrix.bits / 8,
                bytes);
    if (matrix.layout == QuantizationLayout::kPacked && matrix.bits == 8) {
      for (size_t i = 0; i < bytes; ++i) out[i] ^= std::byte{0x80};
    }
  }
}

void copy_integers(const QuantizedMatrix& matrix, const Piece& piece) {
  if (matrix.layout == QuantizationLayout::kAwq) return copy_awq(matrix, piece);
  if (matrix.layout == QuantizationLayout::kGptq) return copy_gptq(matrix, piece);
  copy_rows(matrix, piece);
}

// 32 nibbles, the even input low, as Q4_0 has them: byte j holds inputs j and j + 16.
void order_as_q4_0(std::byte* nibbles) {
  uint8_t pairs[16];
  std::memcpy(pairs, nibbles, sizeof pairs);
  for (size_t i = 0; i < 8; ++i) {
    const int low = pairs[i], high = pairs[i + 8];
    nibbles[2 * i] = static_cast<std::byte>((low & 15) | (high & 15) << 4);
    nibbles[2 * i + 1] = static_cast<std::byte>(low >> 4 | (high & 0xf0));
  }
}

void write_header(const QuantizedMatrix& matrix, int64_t row, int64_t group, std::byte* block) {
  const float scale = scale_of(matrix, row, group);
  if (matrix.is_q4_0) {
    const uint16_t half = f16_from_float(scale);
    std::memcpy(block, &half, sizeof half);
    return;
  }
  std::memcpy(block, &scale, sizeof scale);
  if (matrix.bits == 8) return;
  block[4] = std::byte{zero_of(matrix, row, group)};
  std::memset(block + 5, 0, 3);
}

void convert_to_blocks(const QuantizedMatrix& matrix, std::byte* out) {
  const TensorTypeInfo& info = tensor_type_info(matrix.block_type());
  const auto stride = static_cast<int64_t>(tensor_row_bytes(info.type, matrix.cols));
  const int64_t header = matrix.is_q4_0     ? kQ4_0Header
                         : matrix.bits == 8 ? kInt8Header
                                            : kInt4Header;
  for (int64_t row = 0; row < matrix.rows; row += kTileRows) {
    const int64_t num_rows = std::min(kTileRows, matrix.rows - row);
    for (int64_t k = 0; k < matrix.cols; k += info.block_elements) {
      std::byte* block = out + row * stride + k / info.block_elements * info.block_bytes;
      for (int64_t i = 0; i < num_rows; ++i) {
        write_header(matrix, row + i, k / matrix.group_size, block + i * stride);
      }
      copy_integers(matrix, {row, num_rows, k, info.block_elements, block + header, stride});
      if (!matrix.is_q4_0) continue;
      for (int64_t i = 0; i < num_rows; ++i) order_as_q4_0(block + header + i * stride);
    }
  }
}

// Values, with the group looked up per input. Rows in tiles of 32: their scales and zero points of
// all groups stay in the L1.
void convert_to_floats(const QuantizedMatrix& matrix, std::byte* out) {
  constexpr int64_t kRows = 32, kInputs = 32;
  const auto num_groups = static_cast<size_t>(matrix.num_groups());
  std::vector<float> scales(num_groups * kRows), zeros(num_groups * kRows);
  std::array<std::byte, kRows* kInputs> integers = {};
  std::array<float, kInputs> values = {};
  std::array<int64_t, kInputs> groups = {};
  const bool in_order = matrix.group_of_input.empty();
  const int64_t stride = kInputs * matrix.bits / 8;
  const float signed_by = matrix.bits == 8 ? 128 : 0;  // what copy_integers() took off
  for (int64_t row = 0; row < matrix.rows; row += kRows) {
    const int64_t num_rows = std::min(kRows, matrix.rows - row);
    for (int64_t i = 0; i < num_rows; ++i) {
      for (size_t group = 0; group < num_groups; ++group) {
        const size_t at = static_cast<size_t>(i) * num_groups + group;
        scales[at] = scale_of(matrix, row + i, static_cast<int64_t>(group));
        zeros[at] = zero_of(matrix, row + i, static_cast<int64_t>(group)) - signed_by;
      }
    }
    for (int64_t k = 0; k < matrix.cols; k += kInputs) {
      copy_integers(matrix, {row, num_rows, k, kInputs, integers.data(), stride});
      for (int64_t j = 0; j < kInputs; ++j) {
        groups[static_cast<size_t>(j)] = in_order
                                             ? (k + j) / matrix.group_size
                                             : matrix.group_of_input[static_cast<size_t>(k + j)];
      }
      for (int64_t i = 0; i < num_rows; ++i) {
        const auto* row_integers = reinterpret_cast<const uint8_t*>(integers.data() + i * stride);
        const size_t base = static_cast<size_t>(i) * num_groups;
        for (size_t j = 0; j < kInputs; ++j) {
          const int integer = matrix.bits == 8 ? static_cast<int8_t>(row_integers[j])
                                               : row_integers[j / 2] >> (j % 2 * 4) & 15;
          const size_t at = base + static_cast<size_t>(groups[j]);
          values[j] = scales[at] * (static_cast<float>(integer) - zeros[at]);
        }
        std::memcpy(out + ((row + i) * matrix.cols + k) * 4, values.data(), sizeof values);
      }
    }
  }
}

}  // namespace

TensorType QuantizedMatrix::block_type() const {
  if (becomes_floats()) return TensorType::kF32;
  CHECK(group_size > 0 && group_size % 32 == 0);
  if (is_q4_0) return TensorType::kQ4_0;
  const bool four = bits == 4;
  if (group_size % 128 == 0) return four ? TensorType::kI4G128 : TensorType::kI8G128;
  if (group_size % 64 == 0) return four ? TensorType::kI4G64 : TensorType::kI8G64;
  return four ? TensorType::kI4G32 : TensorType::kI8G32;
}

namespace {

// Of BF16 scales: all in the range of fp16's normal numbers, which have more digits. A loop that
// becomes vector code.
bool are_normal_halves(std::span<const std::byte> scales) {
  int is_other = 0;
  for (size_t i = 0; i < scales.size() / 2; ++i) {
    uint16_t bits;
    std::memcpy(&bits, scales.data() + i * 2, 2);
    const int exponent = (bits & 0x7f80) >> 7;
    is_other |= (exponent < 127 - 14) | (exponent > 127 + 15);
  }
  return is_other == 0;
}

}  // namespace

bool has_q4_0_values(const QuantizedMatrix& matrix) {
  if (matrix.bits != 4 || matrix.group_size != 32 || !matrix.zeros.empty() ||
      !matrix.group_of_input.empty()) {
    return false;
  }
  if (matrix.scale_type == TensorType::kF16) return true;
  if (matrix.scale_type == TensorType::kBF16 && are_normal_halves(matrix.scales)) return true;
  const int64_t count = matrix.rows * matrix.num_groups();
  for (int64_t i = 0; i < count; ++i) {
    const float scale = load_scale(matrix, i);
    if (float_from_f16(f16_from_float(scale)) != scale) return false;  // NaN too
  }
  return true;
}

void convert_matrix(const QuantizedMatrix& matrix, std::byte* out) {
  if (!matrix.becomes_floats()) return convert_to_blocks(matrix, out);
  convert_to_floats(matrix, out);
}

bool has_free_zeros(const QuantizedMatrix& matrix) {
  if (matrix.bits != 8 || matrix.zeros.empty()) return false;
  for (int64_t group = 0; group < matrix.num_groups(); ++group) {
    for (int64_t row = 0; row < matrix.rows; ++row) {
      if (zero_of(matrix, row, group) != 128) return true;
    }
  }
  return false;
}

}  // namespace sparrow
