#pragma once
// SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012): a keyed hash. Whoever does not
// know the key cannot make two inputs meet, so tables keyed by it cannot be flooded by strangers.
// Pure functions.

#include <cstdint>
#include <span>
#include <string_view>

namespace sparrow {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};

struct SipKey {
  uint64_t first = 0;
  uint64_t second = 0;
};

Hash128 sip_hash(const SipKey& key, std::span<const unsigned char> bytes);
inline Hash128 sip_hash(const SipKey& key, std::string_view text) {
  return sip_hash(key, std::span(reinterpret_cast<const unsigned char*>(text.data()), text.size()));
}

}  // namespace sparrow
