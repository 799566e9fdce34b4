#pragma once
// The launchers that the kernel sources define and gpu_kernel_table.cu collects, once for the card
// and once for the twin. For files of this folder only.

#include "kernels/cuda/gpu_compiler.h"
#include "kernels/cuda/gpu_kernels.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

void rms_norm(GpuStream stream, const RmsNormArgs& args);
void linear(GpuStream stream, const LinearArgs& args);
void gated_linear(GpuStream stream, const GatedLinearArgs& args);
void embed(GpuStream stream, const EmbedArgs& args);

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
