#pragma once
// SimMasker: a constraint for simulations: which tokens may come is a hash of how many came before.
// It can have a dead end (a position where nothing may come) and a position where it refuses the
// token it allowed. Deterministic; one per sequence.

#include <cstdint>

#include "core/token_masker.h"

namespace sparrow {

struct MaskRules {
  uint64_t seed = 0;     // 0: no constraint
  int dead_end_at = -1;  // number of tokens before it; -1: none
  int refuses_at = -1;
};

class SimMasker final : public TokenMasker {
 public:
  explicit SimMasker(const MaskRules& rules) : rules_(rules) {}

  bool fill(std::span<uint32_t> mask) override;
  bool accept(TokenId token) override;
  void roll_back(int num_tokens) override;

 private:
  bool allows(TokenId token) const;

  const MaskRules rules_;
  int num_accepted_ = 0;
};

}  // namespace sparrow
