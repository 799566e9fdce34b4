#pragma once
// PrefixAffinity: which engines have probably computed the beginning of a prompt, as far as it was
// seen pass by. A guess for routing: what an engine gave up since costs a prefill, nothing else.
//
// A beginning is known at lengths of 1, 2, 4 … 512 KV blocks, each under its salt, by a hash keyed
// with a secret: so a match tells at least half of what is cached, a prompt costs at most ten
// hashes over 8,192 tokens (some 30 us) and ten places of the table. The table is of fixed size;
// within a group of four places the one that was not used for the longest time gives way.
//
// Not thread-safe: its owner locks; name() needs no lock.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/sip_hash.h"
#include "core/ids.h"

namespace sparrow::api {

// Engines are bits of one word.
inline constexpr int kMaxEngines = 64;

class PrefixAffinity {
 public:
  static constexpr int kMaxLengths = 10;
  static constexpr int kBlockTokens = 16;

  // The names of a prompt's beginnings, the shortest first.
  struct Prefix {
    std::array<Hash128, kMaxLengths> hashes{};
    int num_lengths = 0;
  };
  static int tokens_at(int length_index) { return kBlockTokens << length_index; }

  explicit PrefixAffinity(SipKey key, size_t num_places = 16'384);

  Prefix name(std::string_view salt, std::span<const TokenId> prompt) const;
  // For each engine how many tokens of the beginning it has probably computed.
  void look_up(const Prefix& prefix, std::span<int> tokens_by_engine);
  // The prompt goes to this engine.
  void note(const Prefix& prefix, int engine);

 private:
  struct Place {
    uint64_t tag = 0;
    uint64_t engines = 0;  // bits; none: free
    uint64_t last_use = 0;
  };
  static constexpr size_t kWays = 4;
  std::span<Place> places_of(const Hash128& hash);
  Place* find(const Hash128& hash);

  const SipKey key_;
  std::vector<Place> places_;
  uint64_t num_uses_ = 0;
};

}  // namespace sparrow::api
