#include "model/cuda/plans/gpu_matrix_format.h"

#include <fmt/format.h>

#include "base/check.h"

namespace sparrow {
namespace {

GpuMatrixFormat sixteen_bits(const SourceTensor& tensor, const GpuExecutorOptions& options) {
  if (options.plain_format) return {*options.plain_format, 0, false};
  const bool is_f16 = tensor.type == TensorType::kF16;
  return {is_f16 ? GpuWeightFormat::kF16 : GpuWeightFormat::kBF16, 0, false};
}

GpuMatrixFormat format_of_file(const SourceTensor& tensor, const GpuExecutorOptions& options) {
  constexpr GpuWeightFormat kInt8 = GpuWeightFormat::kInt8, kInt4 = GpuWeightFormat::kInt4;
  const auto int8_groups = [&](int32_t group_size) {
    return GpuMatrixFormat{kInt8, tensor.one_scale_per_row ? 0 : group_size, false, true};
  };
  switch (tensor.type) {
    case TensorType::kF32:
    case TensorType::kBF16:
    case TensorType::kF16:
      return sixteen_bits(tensor, options);
    case TensorType::kQ4_0:
      return {kInt4, 32, false};
    case TensorType::kI4G32:
      return {kInt4, 32, true, true};
    case TensorType::kI4G64:
      return {kInt4, 64, true, true};
    case TensorType::kI4G128:
      return {kInt4, 128, true, true};
    case TensorType::kI8G64:
      return int8_groups(64);
    case TensorType::kI8G128:
      return int8_groups(128);
    case TensorType::kI8G32:
      return int8_groups(32);
    case TensorType::kQ8_0:
      return {kInt8, tensor.one_scale_per_row ? 0 : 32, false};
    default:
      return {kInt8, 32, false};
  }
}

bool is_integer(GpuWeightFormat type) {
  return type == GpuWeightFormat::kInt8 || type == GpuWeightFormat::kInt4;
}

}  // namespace

std::string gpu_matrix_format_name(const GpuMatrixFormat& format) {
  switch (format.type) {
    case GpuWeightFormat::kBF16:
      return "bf16";
    case GpuWeightFormat::kF16:
      return "f16";
    case GpuWeightFormat::kInt8:
    case GpuWeightFormat::kInt4:
      break;
  }
  const char* type = format.type == GpuWeightFormat::kInt8 ? "int8" : "int4";
  if (format.group_size == 0) return fmt::format("{} per row", type);
  return fmt::format("{} g{}", type, format.group_size);
}

GpuPackTarget GpuMatrixFormat::packing(int64_t cols) const {
  GpuPackTarget packing;
  packing.format = type;
  packing.has_zeros = has_zeros;
  packing.has_f32_scales = has_f32_scales;
  if (is_integer(type)) packing.group = group_size > 0 ? group_size : static_cast<int32_t>(cols);
  return packing;
}

GpuMatrixBytes GpuMatrixFormat::bytes(int64_t rows, int64_t cols) const {
  return gpu_matrix_bytes(type, rows, cols, packing(cols).group, has_f32_scales, has_zeros);
}

GpuMatrixFormat gpu_matrix_format(std::string_view name, const SourceTensor& tensor,
                                  bool tied_embeddings, const GpuExecutorOptions& options) {
  const bool is_embedding = name == "model.embed_tokens.weight";
  const bool is_head = name == "lm_head.weight" || (is_embedding && tied_embeddings);
  std::optional<GpuWeightFormat> wish = options.weight_format;
  if (is_head) {
    wish = options.head_format;
    if (is_embedding && !wish) wish = options.embedding_format;
  } else if (is_embedding) {
    wish = options.embedding_format;
    if (!wish) return sixteen_bits(tensor, options);
  }
  const GpuMatrixFormat of_file = format_of_file(tensor, options);
  if (!wish || wish == of_file.type) return of_file;
  if (!is_integer(*wish)) return {*wish, 0, false};
  if (of_file.type == GpuWeightFormat::kInt4) return of_file;
  for (const int32_t group_size : {128, 64, 32}) {
    if (tensor.cols % group_size == 0) return {*wish, group_size, false};
  }
  return is_integer(of_file.type) ? of_file : sixteen_bits(tensor, options);
}

}  // namespace sparrow
