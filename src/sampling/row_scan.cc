#include "sampling/row_scan.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/check.h"

namespace sparrow {
namespace {

// g++ 12 makes vectors of loops over this many independent lanes, and scalar code of fewer
// (summarize() of 151,936 logits on Cascade Lake: 84 us with 16 lanes, 18 us with 32).
constexpr size_t kLanes = 32;

}  // namespace

// No branches: a NaN or an infinity makes the sum NaN.
RowSummary summarize(std::span<const float> logits) {
  float sums[kLanes] = {};
  float best[kLanes];
  std::fill(std::begin(best), std::end(best), -std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float logit = logits[i + lane];
      sums[lane] += logit * 0.0f;
      best[lane] = logit > best[lane] ? logit : best[lane];
    }
  }
  for (; i < logits.size(); ++i) {
    sums[0] += logits[i] * 0.0f;
    best[0] = std::max(best[0], logits[i]);
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return {total == 0.0f, *std::max_element(std::begin(best), std::end(best))};
}

float largest_of(std::span<const float> values) {
  float best[kLanes];
  std::fill(std::begin(best), std::end(best), -std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane)
      best[lane] = values[i + lane] > best[lane] ? values[i + lane] : best[lane];
  }
  for (; i < values.size(); ++i) best[0] = std::max(best[0], values[i]);
  return *std::max_element(std::begin(best), std::end(best));
}

TokenId first_of(std::span<const float> logits, float value) {
  size_t begin = 0;
  for (; begin + kLanes <= logits.size(); begin += kLanes) {
    uint32_t is_equal[kLanes];
    for (size_t lane = 0; lane < kLanes; ++lane)
      is_equal[lane] = logits[begin + lane] == value ? 1 : 0;
    uint32_t any = 0;
    for (const uint32_t one : is_equal) any |= one;
    if (any != 0) break;
  }
  while (begin < logits.size() && logits[begin] != value) ++begin;
  CHECK(begin < logits.size());
  return static_cast<TokenId>(begin);
}

double sum_of(std::span<const float> weights) {
  double sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= weights.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane)
      sums[lane] += static_cast<double>(weights[i + lane]);
  }
  for (; i < weights.size(); ++i) sums[0] += static_cast<double>(weights[i]);
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

}  // namespace sparrow
