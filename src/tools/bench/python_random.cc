#include "tools/bench/python_random.h"

#include <bit>

#include "base/check.h"

namespace sparrow {
namespace {

// Constants of MT19937 and of its seeding.
constexpr size_t kShift = 397;
constexpr uint32_t kTwist = 0x9908B0DFu;
constexpr uint32_t kArraySeed = 19650218u;

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) {
  // The key is the seed's words, the lowest first; zero has one word, too.
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  const size_t key_words = key[1] == 0 ? 1 : 2;
  state_[0] = kArraySeed;
  for (size_t i = 1; i < kStateWords; ++i) {
    const uint32_t before = state_[i - 1];
    state_[i] = 1812433253u * (before ^ (before >> 30)) + static_cast<uint32_t>(i);
  }
  size_t at = 1, word = 0;
  const auto step_on = [&] {
    if (++at < kStateWords) return;
    state_[0] = state_[kStateWords - 1];
    at = 1;
  };
  for (size_t round = 0; round < kStateWords; ++round) {
    const uint32_t before = state_[at - 1];
    state_[at] = (state_[at] ^ ((before ^ (before >> 30)) * 1664525u)) + key[word] +
                 static_cast<uint32_t>(word);
    step_on();
    word = (word + 1) % key_words;
  }
  for (size_t round = 1; round < kStateWords; ++round) {
    const uint32_t before = state_[at - 1];
    state_[at] =
        (state_[at] ^ ((before ^ (before >> 30)) * 1566083941u)) - static_cast<uint32_t>(at);
    step_on();
  }
  state_[0] = 0x80000000u;
}

void PythonRandom::refill() {
  for (size_t i = 0; i < kStateWords; ++i) {
    const uint32_t low = state_[(i + 1) % kStateWords];
    const uint32_t joined = (state_[i] & 0x80000000u) | (low & 0x7FFFFFFFu);
    const uint32_t twist = (low & 1) != 0 ? kTwist : 0;
    state_[i] = state_[(i + kShift) % kStateWords] ^ (joined >> 1) ^ twist;
  }
  num_used_ = 0;
}

uint32_t PythonRandom::next() {
  if (num_used_ == kStateWords) refill();
  uint32_t word = state_[num_used_++];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9D2C5680u;
  word ^= (word << 15) & 0xEFC60000u;
  return word ^ (word >> 18);
}

uint32_t PythonRandom::getrandbits(int num_bits) {
  CHECK(num_bits >= 1 && num_bits <= 32);
  return next() >> (32 - num_bits);
}

int64_t PythonRandom::randint(int64_t low, int64_t high) {
  CHECK(low <= high);
  const uint64_t count = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
  CHECK(count >= 1 && count <= 0xFFFFFFFFu);
  // As many bits as `count` has, even where one fewer would do: Python's choice.
  const auto num_bits = static_cast<int>(std::bit_width(count));
  for (;;) {
    const uint32_t drawn = getrandbits(num_bits);
    if (drawn < count) return low + static_cast<int64_t>(drawn);
  }
}

}  // namespace sparrow
