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
int nearest_clamped(float value, int low, int high) {
  constexpr float kNoFraction = 12582912.0f;
  if (!(value > static_cast<float>(low))) return low;
  if (value >= static_cast<float>(high)) return high;
  return static_cast<int>((value + kNoFraction) - kNoFraction);
}

// A group as scale * level - depth, depth >= 0.
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

class GroupSearch {
 public:
  GroupSearch(const float* x, const ScaleSearch& search) : x_(x), search_(search) {
    float sum_squares = 0;
    for (int i = 0; i < kGroup; ++i) sum_squares += x[i] * x[i];
    const float rms = std::sqrt(sum_squares / kGroup);
    smallest_ = largest_ = x[0];
    for (int i = 0; i < kGroup; ++i) {
      weights_[i] = rms + std::fabs(x[i]);
      sum_w_ += weights_[i];
      sum_wx_ += weights_[i] * x[i];
      smallest_ = std::min(smallest_, x[i]);
      largest_ = std::max(largest_, x[i]);
    }
    smallest_ = std::min(smallest_, 0.0f);
  }

  // `levels` are those of the best trial.
  GroupFit run(uint8_t* levels) {
    if (largest_ == smallest_) {
      std::memset(levels, 0, kGroup);
      return {0, -smallest_};
    }
    const float range = largest_ - smallest_;
    const float plain_inverse = static_cast<float>(search_.max_level) / range;
    float scale = 1 / plain_inverse, low = smallest_;
    choose_levels(plain_inverse, levels);
    float least = error_of(scale, low, levels);
    for (int trial = 0; trial < search_.num_trials; ++trial) {
      const float levels_wanted =
          search_.first + 0.1f * static_cast<float>(trial) + static_cast<float>(search_.max_level);
      uint8_t tried[kGroup];
      choose_levels(levels_wanted / range, tried);
      float tried_scale, tried_low;
      if (!solve(tried, tried_scale, tried_low)) continue;
      const float error = error_of(tried_scale, tried_low, tried);
      if (!(error < least)) continue;
      least = error;
      scale = tried_scale;
      low = tried_low;
      std::memcpy(levels, tried, kGroup);
    }
    return {scale, -low};
  }

 private:
  void choose_levels(float inverse, uint8_t* levels) const {
    for (int i = 0; i < kGroup; ++i) {
      levels[i] = static_cast<uint8_t>(
          nearest_clamped(inverse * (x_[i] - smallest_), 0, search_.max_level));
    }
  }

  // Weighted least squares of x by scale * level + low, low <= 0. False: levels all equal.
  bool solve(const uint8_t* levels, float& scale, float& low) const {
    float sum_l = 0, sum_ll = 0, sum_xl = 0;
    for (int i = 0; i < kGroup; ++i) {
      const auto level = static_cast<float>(levels[i]);
      const float weighted = weights_[i] * level;
      sum_l += weighted;
      sum_ll += weighted * level;
      sum_xl += weighted * x_[i];
    }
    const float determinant = sum_w_ * sum_ll - sum_l * sum_l;
    if (!(determinant > 0)) return false;
    scale = (sum_w_ * sum_xl - sum_wx_ * sum_l) / determinant;
    low = (sum_ll * sum_wx_ - sum_l * sum_xl) / determinant;
    if (low > 0) {
      low = 0;
      scale = sum_xl / sum_ll;
    }
    return true;
  }

  float error_of(float scale, float low, const uint8_t* levels) const {
    float error = 0;
    for (int i = 0; i < kGroup; ++i) {
      const float difference = scale * static_cast<float>(levels[i]) + low - x_[i];
      error += weights_[i] * (difference * difference);
    }
    return error;
  }

  const float* const x_;
  const ScaleSearch& search_;
  float weights_[kGroup];
  float sum_w_ = 0, sum_wx_ = 0;
  float smallest_ = 0, largest_ = 0;
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
  for (int g = 0; g < kNumGroups; ++g) {
    fits[g] = GroupSearch(values + g * kGroup, search).run(out.levels + g * kGroup);
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

// One group of Q6_K by scale * level, levels -32..31, weights x^2. Returns the scale.
float fit_group_q6(const float* x, int8_t* levels) {
  float largest = 0, signed_largest = 0;
  for (int i = 0; i < kGroup6; ++i) {
    if (std::fabs(x[i]) > largest) {
      largest = std::fabs(x[i]);
      signed_largest = x[i];
    }
  }
  std::memset(levels, 0, kGroup6);
  if (largest < kTiny) return 0;
  if (largest > kHuge) return std::numeric_limits<float>::infinity();
  float scale = 0, best = -1;
  // The plain scale first, then its neighbours: a later one has to be better.
  for (int step = 0; step < 19; ++step) {
    const int trial = step == 0 ? 0 : step <= 9 ? step - 10 : step - 9;
    const float inverse = -(32 + 0.1f * static_cast<float>(trial)) / signed_largest;
    int8_t tried[kGroup6];
    float sum_xl = 0, sum_ll = 0;
    for (int i = 0; i < kGroup6; ++i) {
      const int level = nearest_clamped(inverse * x[i], -32, 31);
      tried[i] = static_cast<int8_t>(level);
      const float weight = x[i] * x[i];
      sum_xl += weight * x[i] * static_cast<float>(level);
      sum_ll += weight * static_cast<float>(level) * static_cast<float>(level);
    }
    if (step == 0 ? !(sum_ll > 0) : !(sum_ll > 0 && sum_xl * sum_xl > best * sum_ll)) continue;
    scale = sum_xl / sum_ll;
    best = scale * sum_xl;
    std::memcpy(levels, tried, sizeof tried);
  }
  return scale;
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
  for (int g = 0; g < kNumGroups6; ++g) {
    scales[g] = fit_group_q6(values + g * kGroup6, levels + g * kGroup6);
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
