#include "sim_masker.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"

namespace sparrow {
namespace {

// Of ten positions two are free and the others allow four tokens of ten.
constexpr uint64_t kFreeOfTen = 2;
constexpr uint64_t kAllowedOfTen = 4;

bool is_free(const MaskRules& rules, int position) {
  const auto at = static_cast<uint64_t>(position);
  return position != rules.dead_end_at && random_bits(rules.seed, 7, at) % 10 < kFreeOfTen;
}

}  // namespace

bool SimMasker::allows(TokenId token) const {
  if (num_accepted_ == rules_.dead_end_at) return false;
  if (is_free(rules_, num_accepted_)) return true;
  const uint64_t bits =
      random_bits(rules_.seed, static_cast<uint64_t>(num_accepted_), static_cast<uint64_t>(token));
  return bits % 10 < kAllowedOfTen;
}

bool SimMasker::fill(std::span<uint32_t> mask) {
  if (is_free(rules_, num_accepted_)) return false;
  std::fill(mask.begin(), mask.end(), 0u);
  for (size_t token = 0; token < mask.size() * 32; ++token) {
    if (allows(static_cast<TokenId>(token))) mask[token / 32] |= 1u << (token % 32);
  }
  return true;
}

bool SimMasker::accept(TokenId token) {
  CHECK(allows(token));  // the engine honours the mask
  if (num_accepted_ == rules_.refuses_at) return false;
  ++num_accepted_;
  return true;
}

void SimMasker::roll_back(int num_tokens) {
  CHECK(num_tokens >= 0 && num_tokens <= num_accepted_);
  num_accepted_ -= num_tokens;
}

}  // namespace sparrow
