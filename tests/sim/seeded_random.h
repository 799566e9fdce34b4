#pragma once
// SeededRandom: random numbers of one (seed, stream), in order of asking. What must not change when
// something else is left out (a request, a kind of fault) has a stream of its own, so that a
// failing run can be shrunk.

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>

#include "base/random.h"

namespace sparrow {

class SeededRandom {
 public:
  explicit SeededRandom(uint64_t seed, uint64_t stream = 1) : seed_(seed), stream_(stream) {}

  uint64_t next() { return random_bits(seed_, stream_, counter_++); }
  // Both ends included.
  int between(int low, int high) {
    return low + static_cast<int>(next() % static_cast<uint64_t>(high - low + 1));
  }
  bool chance(int per_mille) { return between(0, 999) < per_mille; }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[between(0, static_cast<int>(values.size()) - 1)];
  }

  // In (0, 1]: its logarithm is finite.
  double uniform() { return 1.0 - random_uniform(seed_, stream_, counter_++); }
  double exponential(double mean) { return -mean * std::log(uniform()); }
  // Marsaglia and Tsang 2000; shapes below one by the usual power of a uniform number.
  double gamma(double shape, double scale) {
    if (shape < 1) return gamma(shape + 1, scale) * std::pow(uniform(), 1 / shape);
    const double d = shape - 1.0 / 3;
    const double c = 1 / std::sqrt(9 * d);
    while (true) {
      const double x = normal();
      const double v = std::pow(1 + c * x, 3);
      if (v > 0 && std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) {
        return d * v * scale;
      }
    }
  }

 private:
  double normal() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

  const uint64_t seed_;
  const uint64_t stream_;
  uint64_t counter_ = 0;
};

}  // namespace sparrow
