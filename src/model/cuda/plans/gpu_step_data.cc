#include "model/cuda/plans/gpu_step_data.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

constexpr size_t kAlignment = 16;

size_t padded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Hands out arrays one after the other; a base of null counts bytes only.
class Cursor {
 public:
  explicit Cursor(void* base) : base_(static_cast<std::byte*>(base)) {}

  template <typename T>
  T* next(size_t count) {
    T* array = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + offset_);
    offset_ += padded(count * sizeof(T));
    return array;
  }
  size_t offset() const { return offset_; }

 private:
  std::byte* base_;
  size_t offset_ = 0;
};

GpuStepData lay_out(Cursor& cursor, const GpuStepShape& shape) {
  const auto num_rows = static_cast<size_t>(shape.num_rows);
  GpuStepData data;
  data.shape = shape;
  data.token_ids = cursor.next<int32_t>(num_rows);
  data.positions = cursor.next<int32_t>(num_rows);
  data.slots = cursor.next<int32_t>(num_rows);
  data.cells = cursor.next<int32_t>(num_rows);
  data.items = cursor.next<AttentionItem>(static_cast<size_t>(shape.num_items));
  data.combine = cursor.next<AttentionCombineItem>(static_cast<size_t>(shape.num_combine));
  data.block_ids = cursor.next<int32_t>(0);
  return data;
}

}  // namespace

GpuStepData GpuStepData::in_memory(void* base, const GpuStepShape& shape) {
  CHECK(base != nullptr);
  Cursor cursor(base);
  return lay_out(cursor, shape);
}

size_t GpuStepData::bytes_of(const GpuStepShape& shape, size_t num_block_ids) {
  Cursor cursor(nullptr);
  lay_out(cursor, shape);
  return cursor.offset() + padded(num_block_ids * sizeof(int32_t));
}

void write_step_data(const BatchPlan& plan, std::span<const AttentionItem> items,
                     std::span<const AttentionCombineItem> combine, const GpuStepData& out) {
  const auto num_rows = static_cast<size_t>(plan.num_tokens());
  const auto padded_rows = static_cast<size_t>(out.shape.num_rows);
  CHECK(num_rows <= padded_rows && items.size() == static_cast<size_t>(out.shape.num_items) &&
        combine.size() == static_cast<size_t>(out.shape.num_combine));
  size_t row = 0;
  for (const Span& span : plan.spans) {
    CHECK(static_cast<size_t>(span.token_begin) == row);  // rows in plan order
    for (int32_t i = 0; i < span.num_tokens; ++i, ++row) {
      const int32_t position = span.first_position + i;
      const auto table = static_cast<size_t>(span.block_begin + position / kGpuBlockTokens);
      out.token_ids[row] = plan.token_ids[row];
      out.positions[row] = position;
      out.slots[row] = span.slot;
      out.cells[row] = plan.block_ids[table] * kGpuBlockTokens + position % kGpuBlockTokens;
    }
  }
  for (; row < padded_rows; ++row) {
    out.token_ids[row] = 0;
    out.positions[row] = 0;
    out.slots[row] = 0;
    out.cells[row] = -1;
  }
  std::copy(items.begin(), items.end(), out.items);
  std::copy(combine.begin(), combine.end(), out.combine);
  std::copy(plan.block_ids.begin(), plan.block_ids.end(), out.block_ids);
}

}  // namespace sparrow
