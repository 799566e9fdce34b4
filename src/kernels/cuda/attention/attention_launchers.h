#pragma once
// The two ways to run attention's items, for attention.cu alone: each does the items that
// goes_by_tiles() gives it and leaves the others.

#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_compiler.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

// fp32 arithmetic, any even D up to 256, any group, every card: a block for each row and KV head.
void attention_rows(GpuStream stream, const AttentionArgs& args);

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
