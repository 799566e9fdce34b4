#include "quant/quantize_k.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int kGroup = 32;  // of Q4_K and Q5_K
constexpr int kNumGroups = kSuperBlock / kGroup;
constexpr int kGroup6 = 16;  // of Q6_K
constexpr int kNumGroups6 = kSuperBlock / kGroup6;
// Groups of Q6_K below this magnitude count as zero; above the other no fp16 scale reaches them
// (and the sums of cubes would overflow).
constexpr float kTiny = 1e-15f;
constexpr float kHuge = 1e11f;

// Half to even; NaN becomes `low`. Adding 1.5 * 2^23 leaves no bits for a fraction.
constexpr float kNoFraction = 12582912.0f;
int nearest_clamped(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  if (value >= static_cast<float>(high)) return high;
  return static_cast<int>((value + kNoFraction) - kNoFraction);
}

// Four groups are searched at once, a lane each: every lane does what one group alone would, in the
// same order. (A vector of the compiler's, not of an instruction set.)
constexpr int kLanes = 4;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

Lanes all(float value) { return Lanes{value, value, value, value}; }
Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }   // b where a is NaN
Lanes smaller(Lanes a, Lanes b) { return a < b ? a : b; }  // b where a is NaN
Lanes magnitude(Lanes a) { return larger(a, -a); }
Lanes nearest_clamped(Lanes value, Lanes low, Lanes high) {
  return (smaller(larger(value, low), high) + all(kNoFraction)) - all(kNoFraction);
}

// Lane j of out[i] is value i of group j.
void gather_groups(const float* x, int group, Lanes* out) {
  for (int i = 0; i < group; ++i) {
    out[i] = Lanes{x[i], x[group + i], x[2 * group + i], x[3 * group + i]};
  }
}

// Groups as scale * level - depth, depth >= 0.
struct GroupFit {
  float scale = 0;
  float depth = 0;
};

// The trial scales of one format: (max_level + first + 0.1 * i) / (largest - smallest).
struct ScaleSearch {
  int max_level;
  float first;
  int num_trials;
};
constexpr ScaleSearch kSearchQ4 = {15, -1.0f, 21};
constexpr ScaleSearch kSearchQ5 = {31, -0.5f, 16};

// The search over kLanes groups of 32 that lie one after the other.
class GroupSearch {
 public:
  GroupSearch(const float* x, const ScaleSearch& search) : search_(search) {
    gather_groups(x, kGroup, x_);
    Lanes sum_squares = all(0);
    for (int i = 0; i < kGroup; ++i) sum_squares += x_[i] * x_[i];
    Lanes rms;
    for (int lane = 0; lane < kLanes; ++lane) rms[lane] = std::sqrt(sum_squares[lane] / kGroup);
    smallest_ = largest_ = x_[0];
    for (int i = 0; i < kGroup; ++i) {
      weights_[i] = rms + magnitude(x_[i]);
      sum_w_ += weights_[i];
      sum_wx_ += weights_[i] * x_[i];
      smallest_ = smaller(x_[i], smallest_);
      largest_ = larger(x_[i], largest_);
    }
    smallest_ = smaller(smallest_, all(0));
  }

  // `levels` are those of the best trial: kGroup of every group, one group after the other.
  void run(GroupFit* fits, uint8_t* levels) const {
    const Lanes max_level = all(static_cast<float>(search_.max_level));
    const Lanes range = largest_ - smallest_;
    Lanes best_inverse = max_level / range;
    Lanes scale = all(1) / best_inverse, low = smallest_;
    Lanes tried[kGroup];
    choose_levels(best_inverse, tried);
    Lanes least = error_of(scale, low, tried);
    for (int trial = 0; trial < search_.num_trials; ++trial) {
      const Lanes wanted = all(search_.first + 0.1f * static_cast<float>(trial) +
                               static_cast<float>(search_.max_level));
      const Lanes inverse = wanted / range;
      choose_levels(inverse, tried);
      Lanes tried_scale, tried_low;
      const Lanes determinant = solve(tried, tried_scale, tried_low);
      const Lanes error = error_of(tried_scale, tried_low, tried);
      const auto better = (determinant > all(0)) & (error < least);  // false for NaN
      least = better ? error : least;
      scale = better ? tried_scale : scale;
      low = better ? tried_low : low;
      best_inverse = better ? inverse : best_inverse;
    }
    choose_levels(best_inverse, tried);
    for (int lane = 0; lane < kLanes; ++lane) {
      // A group of equal values that are not positive is its minimum.
      const bool flat = largest_[lane] == smallest_[lane];
      fits[lane] = {flat ? 0 : scale[lane], flat ? -smallest_[lane] : -low[lane]};
      for (int i = 0; i < kGroup; ++i) {
        levels[lane * kGroup + i] = flat ? uint8_t{0} : static_cast<uint8_t>(tried[i][lane]);
      }
    }
  }

 private:
  void choose_levels(Lanes inverse, Lanes* levels) const {
    const Lanes high = all(static_cast<float>(search_.max_level));
    for (int i = 0; i < kGroup; ++i) {
      levels[i] = nearest_clamped(inverse * (x_[i] - smallest_), all(0), high);
    }
  }

  // Weighted least squares of x by scale * level + low, low <= 0. Returns the determinant: without
  // a positive one all levels are equal and there is no solution.
  Lanes solve(const Lanes* levels, Lanes& scale, Lanes& low) const {
    Lanes sum_l = all(0), sum_ll = all(0), sum_xl = all(0);
    for (int i = 0; i < kGroup; ++i) {
      const Lanes weighted = weights_[i] * levels[i];
      sum_l += weighted;
      sum_ll += weighted * levels[i];
      sum_xl += weighted * x_[i];
    }
    const Lanes determinant = sum_w_ * sum_ll - sum_l * sum_l;
    scale = (sum_w_ * sum_xl - sum_wx_ * sum_l) / determinant;
    low = (sum_ll * sum_wx_ - sum_l * sum_xl) / determinant;
    const auto above_zero = low > all(0);
    scale = above_zero ? sum_xl / sum_ll : scale;
    low = above_zero ? all(0) : low;
    return determinant;
  }

  Lanes error_of(Lanes scale, Lanes low, const Lanes* levels) const {
    Lanes error = all(0);
    for (int i = 0; i < kGroup; ++i) {
      const Lanes difference = scale * levels[i] + low - x_[i];
      error += weights_[i] * (difference * difference);
    }
    return error;
  }

  const ScaleSearch& search_;
  Lanes x_[kGroup];
  Lanes weights_[kGroup];
  Lanes sum_w_ = all(0), sum_wx_ = all(0);
  Lanes smallest_ = all(0), largest_ = all(0);
};

// Groups 0..3 lie in the low six bits of bytes 0..3 and 4..7; the others in nibbles of bytes 8..11
// with their high two bits on top of those.
void pack_scales(const uint8_t* scales, const uint8_t* minima, uint8_t* out) {
  for (int g = 0; g < 4; ++g) {
    out[g] = static_cast<uint8_t>(scales[g] | (scales[g + 4] >> 4) << 6);
    out[g + 4] = static_cast<uint8_t>(minima[g] | (minima[g + 4] >> 4) << 6);
    out[g + 8] = static_cast<uint8_t>((scales[g + 4] & 15) | (minima[g + 4] & 15) << 4);
  }
}

// What Q4_K and Q5_K share: fp16 scales, packed 6-bit scales and one level per element.
struct AffineBlock {
  uint16_t scale = 0;
  uint16_t min_scale = 0;
  uint8_t packed[kNumScaleBytes];
  uint8_t levels[kSuperBlock];
};

void quantize_affine(const float* values, const ScaleSearch& search, AffineBlock& out) {
  GroupFit fits[kNumGroups];
  float largest_scale = 0, largest_depth = 0;
  for (int g = 0; g < kNumGroups; g += kLanes) {
    GroupSearch(values + g * kGroup, search).run(fits + g, out.levels + g * kGroup);
  }
  for (int g = 0; g < kNumGroups; ++g) {
    largest_scale = std::max(largest_scale, fits[g].scale);
    largest_depth = std::max(largest_depth, fits[g].depth);
  }
  const float to_scale = largest_scale > 0 ? 63 / largest_scale : 0;
  const float to_min = largest_depth > 0 ? 63 / largest_depth : 0;
  uint8_t scales[kNumGroups], minima[kNumGroups];
  for (int g = 0; g < kNumGroups; ++g) {
    scales[g] = static_cast<uint8_t>(nearest_clamped(to_scale * fits[g].scale, 0, 63));
    minima[g] = static_cast<uint8_t>(nearest_clamped(to_min * fits[g].depth, 0, 63));
  }
  pack_scales(scales, minima, out.packed);
  out.scale = f16_from_float(largest_scale / 63);
  out.min_scale = f16_from_float(largest_depth / 63);
  // The levels again, for the scales that the file holds.
  for (int g = 0; g < kNumGroups; ++g) {
    const float scale = float_from_f16(out.scale) * scales[g];
    const float depth = float_from_f16(out.min_scale) * minima[g];
    if (scale == 0) continue;
    for (int i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      out.levels[i] =
          static_cast<uint8_t>(nearest_clamped((values[i] + depth) / scale, 0, search.max_level));
    }
  }
}

// Two runs of 32 levels share 32 bytes.
void pack_nibbles(const uint8_t* levels, uint8_t* out) {
  for (int e = 0; e < kSuperBlock; e += 64) {
    for (int i = 0; i < 32; ++i) {
      *out++ = static_cast<uint8_t>((levels[e + i] & 15) | (levels[e + 32 + i] & 15) << 4);
    }
  }
}

// kLanes groups of Q6_K, one after the other, by scale * level, levels -32..31, weights x^2.
void fit_groups_q6(const float* values, float* scales, int8_t* levels) {
  Lanes x[kGroup6], tried[kGroup6];
  gather_groups(values, kGroup6, x);
  Lanes largest = all(0), signed_largest = all(0);
  for (int i = 0; i < kGroup6; ++i) {
    const auto above = magnitude(x[i]) > largest;
    largest = above ? magnitude(x[i]) : largest;
    signed_largest = above ? x[i] : signed_largest;
  }
  Lanes scale = all(0), best = all(0), best_inverse = all(0);
  // The plain scale first, then its neighbours: a later one has to be better.
  for (int step = 0; step < 19; ++step) {
    const int trial = step == 0 ? 0 : step <= 9 ? step - 10 : step - 9;
    const Lanes inverse = all(-(32 + 0.1f * static_cast<float>(trial))) / signed_largest;
    Lanes sum_xl = all(0), sum_ll = all(0);
    for (int i = 0; i < kGroup6; ++i) {
      const Lanes level = nearest_clamped(inverse * x[i], all(-32), all(31));
      const Lanes weight = x[i] * x[i];
      sum_xl += weight * x[i] * level;
      sum_ll += weight * level * level;
    }
    const auto solved = sum_ll > all(0);
    const auto better = step == 0 ? solved : solved & (sum_xl * sum_xl > best * sum_ll);
    const Lanes tried_scale = sum_xl / sum_ll;
    scale = better ? tried_scale : scale;
    best = better ? tried_scale * sum_xl : best;
    best_inverse = better ? inverse : best_inverse;
  }
  for (int i = 0; i < kGroup6; ++i) {
    tried[i] = nearest_clamped(best_inverse * x[i], all(-32), all(31));
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool tiny = largest[lane]<kTiny, huge = largest[lane]> kHuge;
    scales[lane] = tiny ? 0 : huge ? std::numeric_limits<float>::infinity() : scale[lane];
    for (int i = 0; i < kGroup6; ++i) {
      levels[lane * kGroup6 + i] = tiny || huge ? int8_t{0} : static_cast<int8_t>(tried[i][lane]);
    }
  }
}

void pack_q6(const int8_t* levels, BlockQ6_K& block) {
  for (int half = 0; half < 2; ++half) {
    for (int l = 0; l < 32; ++l) {
      int level[4];
      for (int k = 0; k < 4; ++k) level[k] = levels[128 * half + 32 * k + l] + 32;
      uint8_t* low = block.low_bits + 64 * half + l;
      low[0] = static_cast<uint8_t>((level[0] & 15) | (level[2] & 15) << 4);
      low[32] = static_cast<uint8_t>((level[1] & 15) | (level[3] & 15) << 4);
      block.high_bits[32 * half + l] = static_cast<uint8_t>(
          level[0] >> 4 | (level[1] >> 4) << 2 | (level[2] >> 4) << 4 | (level[3] >> 4) << 6);
    }
  }
}

}  // namespace

void quantize_q4_k(const float* values, BlockQ4_K& block) {
  AffineBlock affine;
  quantize_affine(values, kSearchQ4, affine);
  block.scale = affine.scale;
  block.min_scale = affine.min_scale;
  std::memcpy(block.scales, affine.packed, sizeof block.scales);
  pack_nibbles(affine.levels, block.nibbles);
}

void quantize_q5_k(const float* values, BlockQ5_K& block) {
  AffineBlock affine;
  quantize_affine(values, kSearchQ5, affine);
  block.scale = affine.scale;
  block.min_scale = affine.min_scale;
  std::memcpy(block.scales, affine.packed, sizeof block.scales);
  pack_nibbles(affine.levels, block.nibbles);
  std::memset(block.high_bits, 0, sizeof block.high_bits);
  for (int e = 0; e < kSuperBlock; ++e) {
    block.high_bits[e % 32] =
        static_cast<uint8_t>(block.high_bits[e % 32] | (affine.levels[e] >> 4) << (e / 32));
  }
}

void quantize_q6_k(const float* values, BlockQ6_K& block) {
  int8_t levels[kSuperBlock];
  float scales[kNumGroups6];
  float largest = 0, signed_largest = 0;
  for (int g = 0; g < kNumGroups6; g += kLanes) {
    fit_groups_q6(values + g * kGroup6, scales + g, levels + g * kGroup6);
  }
  for (int g = 0; g < kNumGroups6; ++g) {
    if (std::fabs(scales[g]) > largest) {
      largest = std::fabs(scales[g]);
      signed_largest = scales[g];
    }
  }
  if (largest < kTiny) {
    std::memset(&block, 0, sizeof block);
    return;
  }
  const float inverse = -128 / signed_largest;
  block.scale = f16_from_float(1 / inverse);
  for (int g = 0; g < kNumGroups6; ++g) {
    block.scales[g] = static_cast<int8_t>(nearest_clamped(inverse * scales[g], -128, 127));
    const float scale = float_from_f16(block.scale) * block.scales[g];
    if (scale == 0) continue;
    for (int i = g * kGroup6; i < (g + 1) * kGroup6; ++i) {
      levels[i] = static_cast<int8_t>(nearest_clamped(values[i] / scale, -32, 31));
    }
  }
  pack_q6(levels, block);
}

}  // namespace sparrow
