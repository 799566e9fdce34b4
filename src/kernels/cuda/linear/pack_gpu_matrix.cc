#include "kernels/cuda/linear/pack_gpu_matrix.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "quant/block_codes.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int kInputsPerWord = 8;
constexpr uint8_t kSymmetricZero = 8;

// Blocks of 32 whose elements are an integer times one fp16 scale.
bool is_scaled_block(TensorType type) {
  return type == TensorType::kQ8_0 || type == TensorType::kQ4_0 || type == TensorType::kQ5_0 ||
         type == TensorType::kIQ4_NL;
}

// Bit of input `k` of a row in its 32-bit word.
int int4_shift(int64_t k) {
  const auto in_word = static_cast<int>(k % kInputsPerWord);
  return in_word / 2 * 4 + in_word % 2 * 16;
}

void store_int4(std::byte* row, int64_t k, int nibble) {
  std::byte* word_bytes = row + k / kInputsPerWord * 4;
  uint32_t word;
  std::memcpy(&word, word_bytes, sizeof word);
  if (k % kInputsPerWord == 0) word = 0;  // inputs come in order: the first clears the word
  word |= static_cast<uint32_t>(nibble) << int4_shift(k);
  std::memcpy(word_bytes, &word, sizeof word);
}

int load_int4(const std::byte* row, int64_t k) {
  uint32_t word;
  std::memcpy(&word, row + k / kInputsPerWord * 4, sizeof word);
  return static_cast<int>(word >> int4_shift(k) & 15u);
}

void store_scale(bool as_f32, float scale, std::byte* scales, int64_t index) {
  if (as_f32) {
    std::memcpy(scales + index * 4, &scale, sizeof scale);
    return;
  }
  const uint16_t bits = f16_from_float(scale);
  std::memcpy(scales + index * 2, &bits, sizeof bits);
}

float load_scale(const GpuMatrix& matrix, int64_t index) {
  const auto* bytes = static_cast<const std::byte*>(matrix.scales);
  if (matrix.has_f32_scales) {
    float scale;
    std::memcpy(&scale, bytes + index * 4, sizeof scale);
    return scale;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes + index * 2, sizeof bits);
  return float_from_f16(bits);
}

bool is_f16(float value) { return float_from_f16(f16_from_float(value)) == value; }

// A block of a source: int8 values or nibbles.
struct Block {
  float scale = 0;
  uint8_t zero = kSymmetricZero;
  int8_t values[kSuperBlock];
};

// The scale and the zero point alone, of grouped integers.
void read_head(TensorType type, const std::byte* bytes, Block& block) {
  std::memcpy(&block.scale, bytes, sizeof block.scale);
  if (is_int4_group(type)) std::memcpy(&block.zero, bytes + offsetof(BlockI4<32>, zero), 1);
}

void read_block(TensorType type, const std::byte* bytes, Block& block) {
  const int count = tensor_type_info(type).block_elements;
  if (is_int4_group(type)) {
    read_head(type, bytes, block);
    for (int i = 0; i < count / 2; ++i) {
      const auto byte =
          static_cast<unsigned>(bytes[offsetof(BlockI4<32>, nibbles) + static_cast<size_t>(i)]);
      block.values[2 * i] = static_cast<int8_t>(byte & 15u);
      block.values[2 * i + 1] = static_cast<int8_t>(byte >> 4);
    }
  } else if (is_int_group(type)) {
    read_head(type, bytes, block);
    std::memcpy(block.values, bytes + offsetof(BlockI8<32>, values), static_cast<size_t>(count));
  } else {
    BlockCodes codes;
    unpack_block(type, bytes, codes);
    block.scale = float_from_f16(codes.scale);
    const int offset = type == TensorType::kQ4_0 ? kSymmetricZero : 0;  // unpack took it off
    for (int i = 0; i < count; ++i) block.values[i] = static_cast<int8_t>(codes.codes[i] + offset);
  }
}

// What the contents of grouped integers ask for.
void look_at_groups(const GpuPackInput& input, GpuMatrixLayout& layout) {
  if (input.bytes.empty()) {
    layout.has_f32_scales = true;
    layout.has_zeros = is_int4_group(input.type);
    return;
  }
  const auto step = static_cast<size_t>(tensor_type_info(input.type).block_bytes);
  Block block;
  for (size_t at = 0; at < input.bytes.size(); at += step) {
    read_head(input.type, input.bytes.data() + at, block);
    layout.has_f32_scales |= !is_f16(block.scale);
    layout.has_zeros |= block.zero != kSymmetricZero;
  }
}

Status plan_conversion(const GpuPackInput& input, const GpuPackOptions& options,
                       GpuMatrixLayout& layout) {
  layout.is_exact = false;
  if (options.conversion == GpuWeightConversion::kInt8) {
    if (input.cols % kQuantBlock != 0) {
      return invalid_argument(
          fmt::format("int8 weights need inputs in multiples of 32, not {}", input.cols));
    }
    layout.format = GpuWeightFormat::kInt8;
    layout.group = layout.cols;
    return ok_status();
  }
  for (const int32_t group : {128, 64, 32}) {
    if (layout.cols % group != 0) continue;
    layout.format = GpuWeightFormat::kInt4;
    layout.group = group;
    return ok_status();
  }
  return invalid_argument(
      fmt::format("int4 weights need inputs in multiples of 32, not {}", input.cols));
}

Status plan_plain(const GpuPackInput& input, const GpuPackOptions& options,
                  GpuMatrixLayout& layout) {
  if (options.conversion != GpuWeightConversion::kNone) {
    return plan_conversion(input, options, layout);
  }
  if (input.type == TensorType::kF32 && !options.may_round_f32) {
    return invalid_argument(
        "F32 weights would be rounded to 16 bits on the GPU, and rounding was not asked for");
  }
  const bool bf16 = options.plain_type == GpuFloat::kBF16;
  layout.format = bf16 ? GpuWeightFormat::kBF16 : GpuWeightFormat::kF16;
  layout.is_exact = input.type == (bf16 ? TensorType::kBF16 : TensorType::kF16);
  return ok_status();
}

Status bad_row(int64_t row, const char* what) {
  return data_loss(fmt::format("row {} of a weight matrix: {}", row, what));
}

TensorType int4_type(int32_t group) {
  if (group == 128) return TensorType::kI4G128;
  return group == 64 ? TensorType::kI4G64 : TensorType::kI4G32;
}

}  // namespace

size_t GpuMatrixLayout::values_row_bytes() const {
  const auto inputs = static_cast<size_t>(cols);
  if (format == GpuWeightFormat::kInt8) return inputs;
  return format == GpuWeightFormat::kInt4 ? inputs / 2 : inputs * 2;
}
size_t GpuMatrixLayout::scales_row_bytes() const {
  if (group == 0) return 0;
  return static_cast<size_t>(cols / group) * (has_f32_scales ? 4 : 2);
}
size_t GpuMatrixLayout::zeros_row_bytes() const {
  return has_zeros ? static_cast<size_t>(cols / group) : 0;
}
size_t GpuMatrixLayout::total_bytes() const {
  return static_cast<size_t>(rows) * (values_row_bytes() + scales_row_bytes() + zeros_row_bytes());
}
GpuMatrix GpuMatrixLayout::matrix(const void* values, const void* scales,
                                  const uint8_t* zeros) const {
  return {format,
          rows,
          cols,
          group,
          values,
          group != 0 ? scales : nullptr,
          has_zeros ? zeros : nullptr,
          has_f32_scales};
}

Result<GpuMatrixLayout> plan_gpu_matrix(const GpuPackInput& input, const GpuPackOptions& options) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  const TensorTypeInfo& info = tensor_type_info(input.type);
  if (input.rows < 1 || input.rows > kMax || input.cols < 1 || input.cols > kMax ||
      input.cols % info.block_elements != 0) {
    return invalid_argument(
        fmt::format("a {} x {} matrix cannot be of type {}", input.rows, input.cols, info.name));
  }
  const size_t expected_bytes =
      tensor_row_bytes(input.type, input.cols) * static_cast<size_t>(input.rows);
  if (!input.bytes.empty() && input.bytes.size() != expected_bytes) {
    return invalid_argument(fmt::format("a {} x {} matrix of type {} has {} bytes, not {}",
                                        input.rows, input.cols, info.name, expected_bytes,
                                        input.bytes.size()));
  }
  GpuMatrixLayout layout;
  layout.source_type = input.type;
  layout.rows = static_cast<int32_t>(input.rows);
  layout.cols = static_cast<int32_t>(input.cols);
  layout.is_exact = true;
  if (is_int_group(input.type)) {
    const bool int4 = is_int4_group(input.type);
    layout.format = int4 ? GpuWeightFormat::kInt4 : GpuWeightFormat::kInt8;
    layout.group = !int4 && input.one_scale_per_row ? layout.cols : info.block_elements;
    look_at_groups(input, layout);
  } else if (is_scaled_block(input.type)) {
    const bool int4 = input.type == TensorType::kQ4_0;
    layout.format = int4 ? GpuWeightFormat::kInt4 : GpuWeightFormat::kInt8;
    layout.group = kQuantBlock;
  } else {
    RETURN_IF_ERROR(plan_plain(input, options, layout));
  }
  return layout;
}

GpuRowPacker::GpuRowPacker(const GpuMatrixLayout& layout) : layout_(layout) {
  if (is_int_group(layout.source_type) || is_scaled_block(layout.source_type)) return;
  values_.resize(static_cast<size_t>(layout.cols));
  if (layout.group == 0) return;
  const TensorType type =
      layout.format == GpuWeightFormat::kInt4 ? int4_type(layout.group) : TensorType::kI8G32;
  blocks_.resize(tensor_row_bytes(type, layout.cols));
}

Status GpuRowPacker::pack(int64_t row, std::span<const std::byte> source, const GpuRowMemory& out) {
  CHECK(source.size() == tensor_row_bytes(layout_.source_type, layout_.cols));
  if (first_non_finite(layout_.source_type, source) >= 0) {
    return bad_row(row, "a value is NaN or infinite");
  }
  if (values_.empty()) return pack_blocks(row, layout_.source_type, source.data(), out);
  if (layout_.group == 0) return pack_plain(row, source, out.values);
  dequantize_row(layout_.source_type, source.data(), layout_.cols, values_.data());
  TensorType type = TensorType::kI8G32;
  if (layout_.format == GpuWeightFormat::kInt4) {
    type = int4_type(layout_.group);
    quantize_int_groups(type, TensorType::kF16, values_.data(), layout_.cols, blocks_.data());
  } else {
    quantize_int_channel(type, TensorType::kF16, values_.data(), layout_.cols, blocks_.data());
  }
  if (first_non_finite(type, blocks_) >= 0) {
    return bad_row(row, "values are too large for an fp16 scale");
  }
  return pack_blocks(row, type, blocks_.data(), out);
}

Status GpuRowPacker::pack_plain(int64_t row, std::span<const std::byte> source, std::byte* out) {
  if (layout_.is_exact) {
    std::memcpy(out, source.data(), source.size());
    return ok_status();
  }
  dequantize_row(layout_.source_type, source.data(), layout_.cols, values_.data());
  const bool bf16 = layout_.format == GpuWeightFormat::kBF16;
  const unsigned exponent_mask = bf16 ? 0x7f80u : 0x7c00u;
  for (size_t k = 0; k < values_.size(); ++k) {
    const uint16_t bits = bf16 ? bf16_from_float(values_[k]) : f16_from_float(values_[k]);
    if ((bits & exponent_mask) == exponent_mask) {
      return bad_row(row, bf16 ? "a value is too large for bf16" : "a value is too large for fp16");
    }
    std::memcpy(out + k * 2, &bits, sizeof bits);
  }
  return ok_status();
}

// `type` is a grouped integer or a scaled block: an integer a value, a scale a block.
Status GpuRowPacker::pack_blocks(int64_t row, TensorType type, const std::byte* source,
                                 const GpuRowMemory& out) {
  const TensorTypeInfo& info = tensor_type_info(type);
  Block block;
  float group_scale = 0;
  for (int64_t k = 0; k < layout_.cols; k += info.block_elements, source += info.block_bytes) {
    read_block(type, source, block);
    if (k % layout_.group == 0) {
      const int64_t group = k / layout_.group;
      group_scale = block.scale;
      store_scale(layout_.has_f32_scales, block.scale, out.scales, group);
      if (layout_.has_zeros) out.zeros[group] = block.zero;
    }
    const bool scale_is_kept = layout_.has_f32_scales || is_f16(block.scale);
    const bool zero_is_kept =
        block.zero == kSymmetricZero || (layout_.has_zeros && block.zero < 16);
    if (!scale_is_kept || !zero_is_kept || block.scale != group_scale) {
      return bad_row(row, "a scale or zero point contradicts the rest of the matrix");
    }
    if (layout_.format == GpuWeightFormat::kInt8) {
      std::memcpy(out.values + k, block.values, static_cast<size_t>(info.block_elements));
      continue;
    }
    for (int i = 0; i < info.block_elements; ++i) store_int4(out.values, k + i, block.values[i]);
  }
  return ok_status();
}

void unpack_gpu_row(const GpuMatrix& matrix, int64_t row, float* out) {
  const auto* values = static_cast<const std::byte*>(matrix.values);
  const int64_t groups = matrix.group != 0 ? matrix.cols / matrix.group : 0;
  for (int64_t k = 0; k < matrix.cols; ++k) {
    if (matrix.group == 0) {
      uint16_t bits;
      std::memcpy(&bits, values + (row * matrix.cols + k) * 2, sizeof bits);
      out[k] =
          matrix.format == GpuWeightFormat::kBF16 ? float_from_bf16(bits) : float_from_f16(bits);
      continue;
    }
    const int64_t index = row * groups + k / matrix.group;
    const float scale = load_scale(matrix, index);
    if (matrix.format == GpuWeightFormat::kInt4) {
      const int zero = matrix.zeros != nullptr ? matrix.zeros[index] : kSymmetricZero;
      out[k] = scale * static_cast<float>(load_int4(values + row * (matrix.cols / 2), k) - zero);
    } else {
      int8_t value;
      std::memcpy(&value, values + row * matrix.cols + k, 1);
      out[k] = scale * static_cast<float>(value);
    }
  }
}

}  // namespace sparrow
