#include "store/keyed_hash.h"

#include <bit>

namespace sparrow {
namespace {

struct State {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
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

// Little-endian, like the files the hashes are kept in.
uint64_t load_word(const char* bytes, size_t count) {
  uint64_t word = 0;
  for (size_t i = 0; i < count; ++i) {
    word |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return word;
}

}  // namespace

Hash128 keyed_hash(const HashSecret& secret, std::string_view text) {
  State state{secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du ^ 0xeeu,
              secret[0] ^ 0x6c7967656e657261u, secret[1] ^ 0x7465646279746573u};
  const size_t num_words = text.size() / 8;
  for (size_t word = 0; word < num_words; ++word) state.absorb(load_word(&text[word * 8], 8));
  const size_t rest = text.size() % 8;
  const uint64_t last = rest == 0 ? 0 : load_word(&text[num_words * 8], rest);
  state.absorb(last | static_cast<uint64_t>(text.size()) << 56);
  state.v2 ^= 0xee;
  const uint64_t low = state.squeeze();
  state.v1 ^= 0xdd;
  return {low, state.squeeze()};
}

}  // namespace sparrow
