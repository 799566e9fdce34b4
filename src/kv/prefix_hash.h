#pragma once
// PrefixHasher: names for the contents of KV blocks. The hash of a block covers the salt, every
// token before it and its own, so equal hashes mean equal K and V. Keyed with a secret of the
// process: nobody can aim at another's blocks. Pure; thread-compatible.

#include <cstddef>
#include <span>
#include <string_view>

#include "base/sip_hash.h"
#include "core/ids.h"

namespace sparrow {

class PrefixHasher {
 public:
  // `num_bits` below 128 exists for tests: what is found must be right even when hashes collide.
  explicit PrefixHasher(SipKey key, int num_bits = 128) : key_(key), num_bits_(num_bits) {}

  // What stands before the first block of everything under this salt.
  Hash128 root(std::string_view salt) const;
  // Of the block with these tokens, behind the block (or root) with the hash `before`.
  Hash128 next(const Hash128& before, std::span<const TokenId> tokens) const;

 private:
  SipKey key_;
  int num_bits_;
};

// For unordered containers.
struct Hash128Hasher {
  size_t operator()(const Hash128& hash) const { return static_cast<size_t>(hash.low); }
};

}  // namespace sparrow
