#pragma once
// The ways to run attention's items, for attention.cu alone.

#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_compiler.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

// fp32 arithmetic, any even D up to 256, any group, every card: a block for each row and KV head.
void attention_rows(GpuStream stream, const GpuAttentionArgs& args);

// Matrix units for x_type; D 64 or 128.
bool has_attention_tiles(const GpuAttentionArgs& args);
void attention_tiles(GpuStream stream, const GpuAttentionArgs& args);

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
