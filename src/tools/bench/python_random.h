#pragma once
// PythonRandom: the numbers of Python's `random` module after random.seed(n), so that workloads
// which other projects define by a Python script have the same lengths here. Never for randomness
// of our own (base/random.h). Value type; one thread.
//
// MT19937 (Matsumoto, Nishimura 1998) with its init_by_array seeding over the 32-bit words of the
// seed; randint draws as many high bits as the range needs until they fall inside (CPython 3.2 and
// later: Lib/random.py, _randbelow_with_getrandbits).

#include <array>
#include <cstddef>
#include <cstdint>

namespace sparrow {

class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);

  // random.getrandbits(num_bits), 1 to 32.
  uint32_t getrandbits(int num_bits);
  // random.randint(low, high): both ends included, low <= high, at most 2^32 - 2 apart.
  int64_t randint(int64_t low, int64_t high);

 private:
  static constexpr size_t kStateWords = 624;

  uint32_t next();
  void refill();

  std::array<uint32_t, kStateWords> state_;
  size_t num_used_ = kStateWords;
};

}  // namespace sparrow
