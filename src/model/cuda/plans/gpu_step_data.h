#pragma once
// GpuStepData: what the kernels of one step read beside weights and cache, in one piece of device
// memory: ids, positions and cells of the rows, the attention work list, block tables. The host
// writes it (write()) in the layout of a shape, and one copy brings it to the card.
//
// Arrays lie where the shape says, so a CUDA graph captured for a shape finds those of every later
// step of that shape in the same place; rows and items behind the real ones are padding that the
// kernels skip or whose results nobody reads.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/batch_plan.h"
#include "kernels/cuda/gpu_attention.h"

namespace sparrow {

struct GpuStepShape {
  int32_t num_rows = 0;
  int32_t num_items = 0;
  int32_t num_combine = 0;

  bool operator==(const GpuStepShape&) const = default;
};

// The arrays, in device memory or in the host's copy of it.
struct GpuStepData {
  GpuStepShape shape;
  int32_t* token_ids = nullptr;  // [num_rows]; kPendingToken: the slot's last token
  int32_t* positions = nullptr;  // [num_rows]
  int32_t* slots = nullptr;      // [num_rows]
  int32_t* cells = nullptr;      // [num_rows]; -1: padding
  AttentionItem* items = nullptr;
  AttentionCombineItem* combine = nullptr;
  int32_t* block_ids = nullptr;  // all tables, one after the other

  // The arrays of a shape in memory at `base`, 16-byte aligned each.
  static GpuStepData in_memory(void* base, const GpuStepShape& shape);
  // Bytes from `base` on that hold them.
  static size_t bytes_of(const GpuStepShape& shape, size_t num_block_ids);
};

// Fills host memory (in_memory() of the step's shape) from a plan that keeps its limits. Rows of
// padding get slot 0, position 0 and no cell.
void write_step_data(const BatchPlan& plan, std::span<const AttentionItem> items,
                     std::span<const AttentionCombineItem> combine, const GpuStepData& out);

}  // namespace sparrow
