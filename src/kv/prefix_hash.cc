#include "kv/prefix_hash.h"

namespace sparrow {
// The whole hash also where blocks' hashes are shortened: it stands for the salt itself.
Hash128 PrefixHasher::root(std::string_view salt) const { return sip_hash(key_, salt); }

// The hash before becomes part of the key, so that only the tokens are read.
Hash128 PrefixHasher::next(const Hash128& before, std::span<const TokenId> tokens) const {
  const SipKey chained{key_.first ^ before.low, key_.second ^ before.high};
  Hash128 hash = sip_hash(
      chained, std::string_view(reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()));
  if (num_bits_ < 128) hash = {hash.low & ((uint64_t{1} << num_bits_) - 1), 0};
  return hash;
}

}  // namespace sparrow
