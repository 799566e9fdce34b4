#pragma once
// SamplerState: what the sampler remembers of one running sequence: its parameters and how often
// each token appeared. Lives in an executor slot; one thread at a time. The parameters and the
// banned ids belong to the sequence and outlive the slot's use (core/batch_plan.h).

#include <cstdint>
#include <span>
#include <vector>

#include "core/batch_plan.h"
#include "core/ids.h"
#include "core/sampling_params.h"

namespace sparrow {

// Open-addressing table of token -> (in the prompt?, times generated). Grows by doubling with the
// number of different tokens, so it is bounded by the sequence's length.
class TokenCounts {
 public:
  struct Entry {
    TokenId id = -1;  // -1: free
    int32_t num_generated = 0;
    bool in_prompt = false;
  };

  void clear();
  void add_prompt(TokenId id) { find_or_add(id).in_prompt = true; }
  void add_generated(TokenId id) { ++find_or_add(id).num_generated; }
  // Every slot of the table; skip those whose id is -1.
  std::span<const Entry> entries() const { return entries_; }

 private:
  Entry& find_or_add(TokenId id);
  void grow();

  std::vector<Entry> entries_;  // a power of two
  size_t num_used_ = 0;
};

class SamplerState {
 public:
  // Forgets the old sequence and replays the tokens known of the new one.
  void start(const SlotStart& start);
  // A token was sampled (or forced) and belongs to the sequence from now on.
  void record(TokenId id);

  const SamplingParams& params() const { return *params_; }
  const TokenCounts& counts() const { return counts_; }
  std::span<const TokenId> banned_now() const {
    return num_generated_ < min_tokens_ ? banned_early_ : std::span<const TokenId>();
  }

 private:
  const SamplingParams* params_ = nullptr;
  TokenCounts counts_;
  std::span<const TokenId> banned_early_;
  int32_t min_tokens_ = 0;
  int32_t num_generated_ = 0;
};

}  // namespace sparrow
