#pragma once
// GpuExecutorOptions: what the CUDA executor is built with. Zero means "choose"; the chosen numbers
// are in Executor::limits() and in the GpuMemoryPlan (gpu_memory_plan.h).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_linear.h"
#include "model/cuda/plans/gpu_forward_choices.h"

namespace sparrow {

struct GpuExecutorOptions {
  // Behaviour.
  GpuKvFormat kv_type = GpuKvFormat::kBF16;
  // What matrices are in device memory (gpu_matrix_format.h); none: as the file has them.
  std::optional<GpuWeightFormat> weight_format;  // of all matrices but the next two
  std::optional<GpuWeightFormat> head_format;    // also when it is the embedding
  // None: 16 bits. One row is read per token, so a smaller one saves memory, not time.
  std::optional<GpuWeightFormat> embedding_format;
  // What weights of 16 and 32 bits become: bf16 or fp16. None: what the file has (bf16 of fp32),
  // but fp16 on a card without bf16 units.
  std::optional<GpuWeightFormat> plain_format;
  bool enforce_eager = false;  // no CUDA graphs
  // The same bits for a sequence whatever it is batched with; costs speed at small batches, and
  // memory for attention partials that grows with max_context.
  bool batch_invariant = false;
  // Products of more than 8 rows are tried at start, in every way there is (product_trials.h). Not
  // tried: the tiles are chosen by the number of rows alone, and no library is used.
  bool tries_products = false;
  // Of those trials: "off", "auto" (where it is found and its memory costs at most a tenth of the
  // KV cache), or the path of libcublasLt.
  std::string product_library = "off";
  // It computes what took it less than this share of our kernels' time when both were tried.
  double product_library_margin = 0.95;
  // The way of a decode step: as the choices say, or tried at start between them and the plain way
  // (decode_trials.h).
  GpuForwardChoices choices;
  bool tries_decode = false;
  // Ids without a token (padding rows of the head): never sampled.
  std::vector<TokenId> disallowed_tokens;

  // Sizes.
  // Share of the card's whole memory this process may use, context and graphs included.
  double memory_utilization = 0.9;
  int32_t num_slots = 64;          // sequences in one step
  int32_t max_batch_tokens = 512;  // rows of one step; each costs workspace
  int32_t max_context = 0;         // tokens of a sequence; 0: what model and memory allow
  int64_t kv_cache_bytes = 0;      // 0: num_slots full sequences, or what the share leaves
  int32_t max_logit_rows = 64;     // rows of logits held at a time; more are done in turns
};

}  // namespace sparrow
