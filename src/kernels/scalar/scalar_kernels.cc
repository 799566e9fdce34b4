#include "kernels/scalar/scalar_kernels.h"

#include "kernels/cpu_features.h"

namespace sparrow {
namespace scalar {

uint64_t dot_peak(int64_t iterations) {
  volatile int32_t seed = 3;
  int32_t sums[8] = {};
  const int32_t factor = seed;
  for (int64_t i = 0; i < iterations; ++i) {
    for (int32_t& sum : sums) sum = (sum & 0xffff) * factor + 1;
  }
  for (int32_t sum : sums) seed = seed + (sum & 1);
  return static_cast<uint64_t>(iterations) * 16;
}

}  // namespace scalar

const Kernels& scalar_kernels() {
  static const Kernels table = {
      .name = "scalar",
      .gemm = scalar::gemm,
      .quantize = scalar::quantize,
      .rms_norm = scalar::rms_norm,
      .rope = scalar::rope,
      .silu_mul = scalar::silu_mul,
      .add = scalar::add,
      .exp_sum = scalar::exp_sum,
      .kv_store = scalar::kv_store,
      .attention_chunk = scalar::attention_chunk,
      .sum_waves = scalar::sum_waves,
      .attention_merge = scalar::attention_merge,
      .attention_finish = scalar::attention_finish,
      .read_bytes = scalar::read_bytes,
      .dot_peak = scalar::dot_peak,
  };
  return table;
}

}  // namespace sparrow
