#include "model/cuda/gpu_kv_cache.h"

namespace sparrow {
namespace {

size_t bytes_of_element(GpuKvFormat format) { return format == GpuKvFormat::kBF16 ? 2 : 1; }

}  // namespace

Result<GpuKvCache> GpuKvCache::create(GpuDevice& device, const ModelConfig& config,
                                      GpuKvFormat format, int32_t num_blocks) {
  const size_t num_tokens = static_cast<size_t>(num_blocks) * kGpuBlockTokens;
  const size_t value_bytes =
      num_tokens * static_cast<size_t>(config.kv_size()) * bytes_of_element(format);
  const size_t scale_bytes =
      format == GpuKvFormat::kInt8
          ? num_tokens * static_cast<size_t>(config.num_kv_heads) * sizeof(float)
          : 0;
  const auto num_layers = static_cast<size_t>(config.num_layers);
  GpuKvCache cache;
  ASSIGN_OR_RETURN(cache.memory_,
                   GpuBuffer::create(device, num_layers * 2 * (value_bytes + scale_bytes)));
  size_t offset = 0;
  const auto next = [&](size_t bytes) {
    void* part = bytes == 0 ? nullptr : cache.memory_.as<std::byte>(offset);
    offset += bytes;
    return part;
  };
  for (size_t i = 0; i < num_layers; ++i) {
    GpuKvLayer layer;
    layer.format = format;
    layer.keys = next(value_bytes);
    layer.values = next(value_bytes);
    layer.key_scales = static_cast<float*>(next(scale_bytes));
    layer.value_scales = static_cast<float*>(next(scale_bytes));
    cache.layers_.push_back(layer);
  }
  return cache;
}

}  // namespace sparrow
