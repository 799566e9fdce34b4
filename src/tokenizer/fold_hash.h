#pragma once
// One mixing step for the folder's hash tables: a 64 x 64 -> 128 bit product folded to 64 bits (the
// idea of wyhash, Wang Yi 2019). Tables seed it at random, so that a file cannot be written to make
// its own entries collide.

#include <cstdint>

namespace sparrow {

__extension__ using Product128 = unsigned __int128;

constexpr uint64_t kFoldMultiplier = 0x9E3779B97F4A7C15u;

constexpr uint64_t fold_multiply(uint64_t a, uint64_t b) {
  const Product128 product = static_cast<Product128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace sparrow
