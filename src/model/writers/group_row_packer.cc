#include "model/writers/group_row_packer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"

namespace sparrow {
namespace {

// int_group_blocks.h
constexpr size_t kInt4Header = 8, kInt8Header = 4, kZeroOffset = 4;

void append(std::vector<std::byte>& out, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

const char* dtype_name(TensorType type) {
  return type == TensorType::kF32 ? "F32" : type == TensorType::kF16 ? "F16" : "BF16";
}

}  // namespace

std::vector<SafetensorsPlan> packed_tensors(const std::string& name, TensorType type, int64_t rows,
                                            int64_t cols, TensorType scale_type) {
  CHECK(is_int_group(type));
  const int64_t words = cols / (is_int4_group(type) ? 8 : 4);
  const int64_t scales = is_int4_group(type) ? cols / tensor_type_info(type).block_elements : 1;
  const auto scale_bytes = static_cast<uint64_t>(tensor_type_info(scale_type).block_bytes);
  return {{name + "_packed", "I32", {rows, words}, static_cast<uint64_t>(rows * words) * 4},
          {name + "_scale",
           dtype_name(scale_type),
           {rows, scales},
           static_cast<uint64_t>(rows * scales) * scale_bytes},
          {name + "_shape", "I64", {2}, 16}};
}

GroupRowPacker::GroupRowPacker(TensorType type, int64_t rows, int64_t cols, TensorType scale_type)
    : type_(type), rows_(rows), cols_(cols), scale_type_(scale_type) {
  CHECK(is_int_group(type) && tensor_type_info(scale_type).block_elements == 1);
}

Status GroupRowPacker::add(std::span<const std::byte> bytes, std::vector<std::byte>& out) {
  const size_t row_bytes = tensor_row_bytes(type_, cols_);
  while (!bytes.empty()) {
    CHECK(rows_done_ < rows_);
    const size_t count = std::min(bytes.size(), row_bytes - partial_row_.size());
    const std::byte* row = bytes.data();
    if (count < row_bytes) {
      append(partial_row_, bytes.data(), count);
      row = partial_row_.data();
    }
    bytes = bytes.subspan(count);
    if (!partial_row_.empty() && partial_row_.size() < row_bytes) break;
    RETURN_IF_ERROR(add_row(row, out));
    partial_row_.clear();
  }
  if (rows_done_ < rows_) return ok_status();
  append(out, scales_.data(), scales_.size());
  const int64_t shape[2] = {rows_, cols_};
  append(out, shape, sizeof shape);
  return ok_status();
}

Status GroupRowPacker::add_row(const std::byte* row, std::vector<std::byte>& out) {
  const TensorTypeInfo& info = tensor_type_info(type_);
  const auto block_bytes = static_cast<size_t>(info.block_bytes);
  const auto group = static_cast<size_t>(info.block_elements);
  const bool four = is_int4_group(type_);
  float first = 0;
  for (int64_t block = 0; block < cols_ / info.block_elements; ++block, row += block_bytes) {
    float scale;
    std::memcpy(&scale, row, sizeof scale);
    if (four) {
      if (row[kZeroOffset] != std::byte{8}) {
        return invalid_argument(
            fmt::format("row {}: found zero point {}, expected 8: only symmetric weights are "
                        "written",
                        rows_done_, std::to_integer<int>(row[kZeroOffset])));
      }
      append(out, row + kInt4Header, group / 2);
      RETURN_IF_ERROR(add_scale(scale));
      continue;
    }
    if (block == 0) {
      first = scale;
      RETURN_IF_ERROR(add_scale(scale));
    } else if (scale != first) {
      return invalid_argument(
          fmt::format("row {}: found scales {} and {}, expected one scale a row for 8 bit",
                      rows_done_, first, scale));
    }
    const size_t begin = out.size();
    append(out, row + kInt8Header, group);
    // Stored plus 128.
    for (size_t i = begin; i < out.size(); ++i) out[i] ^= std::byte{0x80};
  }
  ++rows_done_;
  return ok_status();
}

Status GroupRowPacker::add_scale(float scale) {
  std::byte stored[4];
  float back;
  quantize_row(scale_type_, &scale, 1, stored);
  dequantize_row(scale_type_, stored, 1, &back);
  if (!(back == scale)) {
    return invalid_argument(
        fmt::format("row {}: the scale {} has no exact value in {}; quantize with scales of that "
                    "type",
                    rows_done_, scale, tensor_type_info(scale_type_).name));
  }
  append(scales_, stored, static_cast<size_t>(tensor_type_info(scale_type_).block_bytes));
  return ok_status();
}

}  // namespace sparrow
