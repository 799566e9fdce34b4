// Attention: picks the kernels for the card and the shape. The choice is the same for every launch
// of a model, so a row's bits do not depend on it.
#include "kernels/cuda/attention/attention_launchers.h"
#include "kernels/cuda/gpu_launchers.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

void attention(GpuStream stream, const GpuAttentionArgs& args) {
  if (args.num_items == 0) return;
  if (has_attention_tiles(args)) {
    attention_tiles(stream, args);
  } else {
    attention_rows(stream, args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
