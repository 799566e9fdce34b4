// Rows of the embedding table as fp32.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/weight_row.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 128;

template <GpuWeightFormat kFormat>
__global__ void __launch_bounds__(kThreads) embed_kernel(EmbedArgs args) {
  const int64_t row = blockIdx.x;
  int token = args.token_ids[row];
  if (token < 0) token = args.last_tokens[args.slots[row]];
  const int cols = args.embedding.cols;
  for (int col = static_cast<int>(threadIdx.x); col < cols; col += kThreads) {
    args.out[row * cols + col] = weight_at<kFormat>(args.embedding, token, col);
  }
}

template <GpuWeightFormat kFormat>
void embed_with(GpuStream stream, const EmbedArgs& args) {
  launch(stream, dim3{static_cast<unsigned>(args.num_rows)}, dim3{kThreads}, 0,
         embed_kernel<kFormat>, args);
}

}  // namespace

void embed(GpuStream stream, const EmbedArgs& args) {
  if (args.num_rows == 0) return;
  switch (args.embedding.format) {
    case GpuWeightFormat::kBF16:
      return embed_with<GpuWeightFormat::kBF16>(stream, args);
    case GpuWeightFormat::kF16:
      return embed_with<GpuWeightFormat::kF16>(stream, args);
    case GpuWeightFormat::kInt8:
      return embed_with<GpuWeightFormat::kInt8>(stream, args);
    case GpuWeightFormat::kInt4:
      return embed_with<GpuWeightFormat::kInt4>(stream, args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
