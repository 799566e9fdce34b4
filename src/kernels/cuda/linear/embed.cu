// Rows of the embedding: a block a token.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/linear_work.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) embed_kernel(const EmbedArgs args) {
  const int t = static_cast<int>(blockIdx.x);
  int token = args.token_ids[t];
  if (token < 0) token = args.last_tokens[args.slots[t]];
  const int cols = args.embedding.cols;
  float* out = args.out + int64_t{t} * cols;
  for (int k = static_cast<int>(threadIdx.x); k < cols; k += kThreads) {
    const Weight weight = weight_at(args.embedding, token, k);
    out[k] = __fmul_rn(weight.value, weight.scale);
  }
}

}  // namespace

void embed(GpuStream stream, const EmbedArgs& args) {
  if (args.num_rows == 0) return;
  launch(stream, dim3{static_cast<unsigned>(args.num_rows)}, dim3{kThreads}, 0, embed_kernel, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
