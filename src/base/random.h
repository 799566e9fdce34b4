#pragma once
// Counter-based randomness: one pure function from a key and a position to 64 bits or a uniform
// number. A replay, a batch and a preemption therefore draw the same numbers. Stateless.
// Mixing is SplitMix64's finaliser (Steele, Lea, Flood 2014), applied twice per input word.

#include <cstdint>

namespace sparrow {

constexpr uint64_t mix64(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

constexpr uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t counter) {
  return mix64(mix64(mix64(seed) ^ stream) ^ counter);
}

// Uniform in [0, 1) with 53 bits.
constexpr double random_uniform(uint64_t seed, uint64_t stream, uint64_t counter) {
  return static_cast<double>(random_bits(seed, stream, counter) >> 11) * 0x1.0p-53;
}

// From the operating system; for seeds and ids, never for a reproducible result.
uint64_t entropy64();

}  // namespace sparrow
