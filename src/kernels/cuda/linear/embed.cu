// Embedding rows as fp32: one block a token.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/weight_at.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr int kPending = -1;  // kPendingToken

template <GpuWeightFormat kFormat>
__global__ void __launch_bounds__(kThreads) embed_kernel(EmbedArgs args) {
  const unsigned token = blockIdx.x;
  int id = args.token_ids[token];
  if (id == kPending) id = args.last_tokens[args.slots[token]];
  const int hidden_size = args.embedding.cols;
  float* out = args.out + int64_t{token} * hidden_size;
  for (int k = static_cast<int>(threadIdx.x); k < hidden_size; k += kThreads) {
    out[k] = weight_at<kFormat>(args.embedding, id, k);
  }
}

}  // namespace

void embed(GpuStream stream, const EmbedArgs& args) {
  if (args.num_rows == 0) return;
  with_weight_format(args.embedding.format, [&]<GpuWeightFormat kFormat>() {
    launch(stream, dim3{static_cast<unsigned>(args.num_rows)}, dim3{kThreads}, 0,
           embed_kernel<kFormat>, args);
  });
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
