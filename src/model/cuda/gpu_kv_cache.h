#pragma once
// GpuKvCache: keys and values of all layers in device memory, in blocks of 16 tokens
// (kernels/cuda/gpu_attention.h gives the layout). Contents are undefined until written; no kernel
// reads a cell that was not.

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_buffer.h"
#include "model/model_config.h"

namespace sparrow {

class GpuKvCache {
 public:
  static Result<GpuKvCache> create(GpuDevice& device, const ModelConfig& config, GpuKvFormat format,
                                   int32_t num_blocks);

  const GpuKvLayer& layer(int32_t index) const { return layers_[static_cast<size_t>(index)]; }

 private:
  GpuBuffer memory_;
  std::vector<GpuKvLayer> layers_;
};

}  // namespace sparrow
