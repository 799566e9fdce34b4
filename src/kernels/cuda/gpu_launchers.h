#pragma once
// The launchers that the kernel sources define and gpu_kernel_table.cu collects, once for the card
// and once for the twin. For files of this folder only.

#include "kernels/cuda/gpu_compiler.h"
#include "kernels/cuda/gpu_kernels.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

void embed(GpuStream stream, const EmbedArgs& args);
void rms_norm(GpuStream stream, const RmsNormArgs& args);
void linear(GpuStream stream, const LinearArgs& args);
void gated_linear(GpuStream stream, const GatedLinearArgs& args);
void silu_multiply(GpuStream stream, const SiluMultiplyArgs& args);
void expand_matrix(GpuStream stream, const ExpandMatrixArgs& args);
void linear_rope_store(GpuStream stream, const LinearArgs& args, const RopeStoreArgs& rope);
void rope_store(GpuStream stream, const RopeStoreArgs& args);
void attention(GpuStream stream, const GpuAttentionArgs& args);
void attention_combine(GpuStream stream, const GpuAttentionArgs& args);
void start_sampler_slot(GpuStream stream, const StartSamplerSlotArgs& args);
void sample(GpuStream stream, const SampleArgs& args);
void record_samples(GpuStream stream, const RecordSamplesArgs& args);

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
