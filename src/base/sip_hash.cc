#include "base/sip_hash.h"

#include <bit>
#include <cstddef>

namespace sparrow {
namespace {

struct State {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void absorb(uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  uint64_t squeeze() {
    for (int i = 0; i < 4; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

uint64_t little_endian(std::span<const unsigned char> bytes) {
  uint64_t word = 0;
  for (size_t i = 0; i < bytes.size(); ++i) word |= uint64_t{bytes[i]} << (8 * i);
  return word;
}

}  // namespace

Hash128 sip_hash(const SipKey& key, std::span<const unsigned char> bytes) {
  // The paper's constants ("somepseudorandomlygeneratedbytes"); 0xee marks the long output.
  State state{key.first ^ 0x736f6d6570736575u, key.second ^ 0x646f72616e646f6du ^ 0xee,
              key.first ^ 0x6c7967656e657261u, key.second ^ 0x7465646279746573u};
  const size_t num_whole = bytes.size() / 8 * 8;
  for (size_t at = 0; at < num_whole; at += 8) state.absorb(little_endian(bytes.subspan(at, 8)));
  const uint64_t length = uint64_t{bytes.size() & 0xff} << 56;
  state.absorb(length | little_endian(bytes.subspan(num_whole)));
  state.v2 ^= 0xee;
  Hash128 hash;
  hash.low = state.squeeze();
  state.v1 ^= 0xdd;
  hash.high = state.squeeze();
  return hash;
}

}  // namespace sparrow
