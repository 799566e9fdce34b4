#pragma once
// The scalar table: the oracle every fast kernel is compared with, and the fallback for any CPU.

#include "kernels/kernels.h"

namespace sparrow::scalar {

void gemm(const GemmArgs& args);
void quantize(const QuantizeArgs& args);
void rms_norm(const float* x, const float* weight, int64_t size, float epsilon, float* out);
void rope(float* heads, int64_t head_stride, int32_t num_heads, int32_t head_dim,
          const float* cos_table, const float* sin_table);
void silu_mul(const float* gate, const float* up, int64_t size, float* out);
void add(float* sum, const float* x, int64_t size);
float exp_sum(float* x, int64_t size, float maximum);
void kv_store(const KvStoreArgs& args);
void attention_chunk(const AttentionArgs& args);
void sum_waves(const WavesArgs& args, float* out);
void attention_merge(float* running, const float* next, int32_t head_dim);
void attention_finish(const float* running, int32_t head_dim, float* out);
uint64_t read_bytes(const void* data, size_t size);
uint64_t dot_peak(int64_t iterations);

}  // namespace sparrow::scalar
