#pragma once
// CpuKvCache: the arena of paged keys and values. One block holds 16 positions of all KV heads of
// one layer in the layout of kernels.h. Memory is touched when a block is first written. Owned by
// the executor; different rows may be stored by different threads.

#include <cstdint>

#include "base/status.h"
#include "core/ids.h"
#include "kernels/kernels.h"
#include "model/cpu_key_bias.h"
#include "model/model_config.h"
#include "tensor/aligned_buffer.h"

namespace sparrow {

class CpuKvCache {
 public:
  static int64_t bytes_per_token(const ModelConfig& config, KvType type) {
    return config.num_layers * config.num_kv_heads *
           (kv_head_block_bytes(config.head_dim, type) / kKvBlockTokens);
  }

  Status allocate(const ModelConfig& config, KvType type, int32_t num_blocks) {
    type_ = type;
    num_kv_heads_ = config.num_kv_heads;
    head_dim_ = config.head_dim;
    head_bytes_ = kv_head_block_bytes(head_dim_, type);
    layer_bytes_ = head_bytes_ * num_kv_heads_ * num_blocks;
    ASSIGN_OR_RETURN(
        memory_, AlignedBuffer::try_allocate(static_cast<size_t>(layer_bytes_ * config.num_layers),
                                             "the KV cache"));
    return ok_status();
  }

  KvType type() const { return type_; }
  // What is taken off K before it is stored; inactive unless the cache holds bytes.
  CpuKeyBias& key_bias() { return key_bias_; }
  const CpuKeyBias& key_bias() const { return key_bias_; }
  // Block b of this head lies at head_base() + b * block_stride().
  const uint8_t* head_base(int32_t layer, int32_t kv_head) const {
    return memory_.as<uint8_t>() + layer * layer_bytes_ + kv_head * head_bytes_;
  }
  int64_t block_stride() const { return head_bytes_ * num_kv_heads_; }

  // k and v: [num_kv_heads][head_dim] of one token at `slot` (0..15) of a block.
  void store(const Kernels& kernels, int32_t layer, BlockId block, int32_t slot, const float* k,
             const float* v) {
    uint8_t* base = memory_.as<uint8_t>() + layer * layer_bytes_ + block * block_stride();
    for (int32_t head = 0; head < num_kv_heads_; ++head) {
      const int64_t offset = int64_t{head} * head_dim_;
      kernels.kv_store({k + offset, v + offset, base + head * head_bytes_, slot, head_dim_, type_});
    }
  }

 private:
  AlignedBuffer memory_;  // [layers][blocks][kv heads][head_bytes_]
  CpuKeyBias key_bias_;
  KvType type_ = KvType::kBF16;
  int32_t num_kv_heads_ = 0;
  int32_t head_dim_ = 0;
  int64_t head_bytes_ = 0;
  int64_t layer_bytes_ = 0;
};

}  // namespace sparrow
