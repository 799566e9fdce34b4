#pragma once
// CpuExecutorOptions: what the CPU executor is built with. Zero means "choose"; the chosen numbers
// are in Executor::limits() and in the MemoryPlan (cpu_memory_plan.h).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "kernels/kernels.h"

namespace sparrow {

// What matrices become while they are loaded; empty: they stay as the file has them. Needs a
// quantizer (can_quantize), and rows that are whole blocks of the type: else the next wish that
// fits counts (head, embedding, plain), or they stay as they are; a warning says so.
struct PackedFormats {
  std::optional<WeightFormat> plain;      // those of F32, F16 and BF16
  std::optional<WeightFormat> head;       // the head, whatever it is; also when it is the embedding
  std::optional<WeightFormat> embedding;  // the embedding, whatever it is
};

struct CpuExecutorOptions {
  // Behaviour.
  // Type of the cached K and V. bf16 halves the memory; f32 is for tests of exactness.
  KvType kv_type = KvType::kBF16;
  PackedFormats formats;
  // Ids without a token (padding rows of the head): never sampled.
  std::vector<TokenId> disallowed_tokens;
  // One of kIsaNames (kernels/cpu_features.h); empty: the best this machine has.
  std::string isa;

  // Sizes.
  int num_threads = 0;             // 0: ComputePool::default_num_threads()
  std::vector<int> pinned_cpus;    // CPU of each thread, or empty: not pinned
  int32_t num_slots = 64;          // sequences in one step
  int32_t max_batch_tokens = 512;  // rows of one step; each costs workspace
  int32_t max_context = 0;         // tokens of a sequence; 0: what model and KV cache allow
  int32_t num_blocks = 0;          // KV blocks of 16 tokens; 0: from kv_cache_bytes
  int64_t kv_cache_bytes = 0;   // 0: num_slots full sequences, at most 4 GiB and 1/4 of the memory
  int32_t max_logit_rows = 16;  // rows of logits held at a time; more are done in turns
  // Memory the whole executor may use; 0: what the machine (or its container) has available.
  int64_t memory_limit_bytes = 0;
};

}  // namespace sparrow
