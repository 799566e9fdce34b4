// Attention: hands the items to the kernels for them.
#include "kernels/cuda/attention/attention_launchers.h"
#include "kernels/cuda/attention/attention_result.cuh"
#include "kernels/cuda/gpu_launchers.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

void attention(GpuStream stream, const AttentionArgs& args) {
  if (args.num_items == 0) return;
  attention_rows(stream, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
