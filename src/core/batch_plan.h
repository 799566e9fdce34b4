#pragma once
// BatchPlan: the work of one step, as the scheduler writes it and the executor reads it.
//
// A plan is a list of spans; prefill and decode are not two kinds. A span is a run of tokens of one
// sequence at consecutive positions. The executor computes them, appends their K and V to the
// sequence's blocks, and samples after the last num_logit_rows of them.
//
// The last num_drafts tokens of a span may be guesses (speculation). Then num_logit_rows is
// num_drafts + 1; the executor samples these rows in order, each with the sampler state the tokens
// before it left behind, and stops behind the first token that is not the guess of the next row.
// Only what was sampled counts: 1..num_drafts + 1 tokens come out, the same as without guesses. K
// and V of wrong guesses stay in the blocks until the next spans overwrite them.
//
// The vectors are reused from step to step: after warm-up, filling a plan does not allocate.
// Written by the engine thread; read-only from Executor::begin() until wait() returned.

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"
#include "core/sampling_params.h"

namespace sparrow {

struct Span {
  SlotId slot = kNoSlot;
  int32_t first_position = 0;  // of the span's first token in its sequence
  int32_t num_tokens = 0;      // rows of this span; >= 1
  int32_t num_logit_rows = 0;  // the last this many rows are sampled; 0 inside a long prompt
  int32_t token_begin = 0;     // index into BatchPlan::token_ids
  int32_t block_begin = 0;     // index into BatchPlan::block_ids; the sequence's whole block table
  int32_t num_blocks = 0;      // covers positions [0, first_position + num_tokens)
  int32_t mask_row = -1;       // row of the masks given to Executor::sample(), -1: unconstrained;
                               // with drafts, logit row i has the mask mask_row + i
  int32_t num_drafts = 0;      // the last this many tokens are guesses
};

// Tells the executor that a slot now belongs to a new (or resumed) sequence. Comes before the
// first span of that slot, in the same plan.
struct SlotStart {
  SlotId slot = kNoSlot;
  const SamplingParams* params = nullptr;  // owned by the sequence, valid while the slot is held
  // All tokens known so far (for penalties); the first num_prompt_tokens are the prompt. Valid
  // during begin() only.
  std::span<const TokenId> tokens;
  int32_t num_prompt_tokens = 0;
  // Ids that must not be sampled while fewer than min_tokens are generated. Valid while held.
  std::span<const TokenId> banned_early;
  int32_t min_tokens = 0;
};

struct BatchPlan {
  uint64_t step = 0;
  std::vector<SlotStart> slot_starts;
  std::vector<Span> spans;
  std::vector<TokenId> token_ids;  // kPendingToken: the slot's last sampled token
  std::vector<BlockId> block_ids;

  void clear() {
    slot_starts.clear();
    spans.clear();
    token_ids.clear();
    block_ids.clear();
  }
  bool empty() const { return spans.empty(); }
  int num_tokens() const { return static_cast<int>(token_ids.size()); }
};

}  // namespace sparrow
