#include "quant/search_int_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/int_group_blocks.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr TensorType kTypes[] = {TensorType::kI4G32, TensorType::kI4G64, TensorType::kI4G128};
constexpr int64_t kCols = 256;

std::vector<float> random_row(uint64_t seed) {
  std::vector<float> row(kCols);
  for (size_t i = 0; i < row.size(); ++i) {
    double sum = -2;  // of four: nearly normal
    for (uint64_t part = 0; part < 4; ++part) sum += random_uniform(seed, part, i);
    row[i] = static_cast<float>(sum);
  }
  return row;
}

std::vector<float> searched(TensorType type, const std::vector<float>& row,
                            const std::vector<float>& weights,
                            TensorType scale_type = TensorType::kBF16) {
  std::vector<std::byte> bytes(tensor_row_bytes(type, static_cast<int64_t>(row.size())) + 1);
  std::vector<float> back(row.size());
  const auto cols = static_cast<int64_t>(row.size());
  search_int4_groups(type, scale_type, row.data(), weights.empty() ? nullptr : weights.data(), cols,
                     bytes.data() + 1);  // rows need no alignment
  dequantize_row(type, bytes.data() + 1, cols, back.data());
  return back;
}

double weighted_error(const std::vector<float>& a, const std::vector<float>& b,
                      const std::vector<float>& weights, size_t begin, size_t count) {
  double error = 0;
  for (size_t i = begin; i < begin + count; ++i) {
    const double difference = double{a[i]} - b[i];
    error += (weights.empty() ? 1.0 : double{weights[i]}) * difference * difference;
  }
  return error;
}

// The search written down again, in double: every scale of the documented grid, every value rounded
// by itself.
double best_error(const std::vector<float>& row, const std::vector<float>& weights, size_t begin,
                  size_t count) {
  float largest = 0;
  for (size_t i = begin; i < begin + count; ++i) largest = std::max(largest, std::fabs(row[i]));
  double best = std::numeric_limits<double>::infinity();
  for (double divisor = 6.5; divisor <= 10.25; divisor += 0.25) {
    for (const double sign : {1.0, -1.0}) {
      const float wanted = static_cast<float>(sign * largest) / static_cast<float>(divisor);
      const double scale = float_from_bf16(bf16_from_float(wanted));
      double error = 0;
      for (size_t i = begin; i < begin + count; ++i) {
        const double q = std::clamp(std::nearbyint(row[i] / scale), -8.0, 7.0);
        error += (weights.empty() ? 1.0 : double{weights[i]}) * std::pow(scale * q - row[i], 2);
      }
      best = std::min(best, error);
    }
  }
  return best;
}

TEST(SearchIntGroups, EveryGroup_HasTheSmallestErrorOfTheGrid) {
  for (const TensorType type : kTypes) {
    const auto group = static_cast<size_t>(tensor_type_info(type).block_elements);
    for (uint64_t seed = 0; seed < 8; ++seed) {
      const std::vector<float> row = random_row(seed);
      std::vector<float> weights;  // none, or of four orders of magnitude
      for (size_t i = 0; seed % 2 == 1 && i < row.size(); ++i) {
        weights.push_back(static_cast<float>(std::pow(10.0, 4 * random_uniform(seed, 9, i) - 2)));
      }
      const std::vector<float> back = searched(type, row, weights);
      for (size_t begin = 0; begin < row.size(); begin += group) {
        const double least = best_error(row, weights, begin, group);
        // Sums of `group` fp32 terms: their rounding may choose another scale that is as good.
        EXPECT_NEAR(weighted_error(back, row, weights, begin, group), least, 1e-5 * least)
            << tensor_type_info(type).name << " seed " << seed << " at " << begin;
      }
    }
  }
}

TEST(SearchIntGroups, RandomRows_LoseLessThanByRoundingToNearest) {
  for (const TensorType type : kTypes) {
    double nearest_error = 0, searched_error = 0;
    for (uint64_t seed = 20; seed < 40; ++seed) {
      const std::vector<float> row = random_row(seed);
      std::vector<std::byte> bytes(tensor_row_bytes(type, kCols));
      std::vector<float> back(row.size());
      quantize_int_groups(type, TensorType::kBF16, row.data(), kCols, bytes.data());
      dequantize_row(type, bytes.data(), kCols, back.data());
      nearest_error += weighted_error(back, row, {}, 0, row.size());
      searched_error += weighted_error(searched(type, row, {}), row, {}, 0, row.size());
    }
    EXPECT_LT(searched_error, 0.9 * nearest_error) << tensor_type_info(type).name;
  }
}

// -8 has no counterpart: a group up to +8 is exact only with the range turned round.
TEST(SearchIntGroups, LargestValueIsPositive_NegativeScaleMakesItExact) {
  std::vector<float> row(32);
  for (size_t i = 0; i < row.size(); ++i) row[i] = 0.5f * static_cast<float>(int(i % 16) - 7);
  EXPECT_EQ(searched(TensorType::kI4G32, row, {}), row);  // -3.5 ... 4
  for (float& value : row) value = -value;
  EXPECT_EQ(searched(TensorType::kI4G32, row, {}), row);
}

TEST(SearchIntGroups, InputsThatDoNotMatter_DoNotSetTheScale) {
  std::vector<float> row = random_row(50), weights(row.size(), 1.0f);
  row.resize(32);
  weights.resize(32);
  row[5] = 3.0f;  // half as large again as the rest may be
  const std::vector<float> even = searched(TensorType::kI4G32, row, weights);
  weights[5] = 0;
  const std::vector<float> without = searched(TensorType::kI4G32, row, weights);
  EXPECT_LT(weighted_error(without, row, weights, 0, 32),
            weighted_error(even, row, weights, 0, 32));
}

TEST(SearchIntGroups, ScaleTypes_ScaleIsAValueOfThem) {
  const std::vector<float> row = random_row(60);
  for (const TensorType scale_type : {TensorType::kF16, TensorType::kBF16, TensorType::kF32}) {
    std::vector<std::byte> bytes(tensor_row_bytes(TensorType::kI4G128, kCols));
    search_int4_groups(TensorType::kI4G128, scale_type, row.data(), nullptr, kCols, bytes.data());
    float scale;
    std::memcpy(&scale, bytes.data(), sizeof scale);
    if (scale_type == TensorType::kF16) {
      EXPECT_EQ(float_from_f16(f16_from_float(scale)), scale);
    } else if (scale_type == TensorType::kBF16) {
      EXPECT_EQ(float_from_bf16(bf16_from_float(scale)), scale);
    }
  }
}

TEST(SearchIntGroups, ZerosTinyAndBrokenValues) {
  const std::vector<float> zeros(kCols, 0.0f);
  EXPECT_EQ(searched(TensorType::kI4G32, zeros, {}), zeros);
  EXPECT_EQ(searched(TensorType::kI4G32, zeros, std::vector<float>(kCols, 0.0f)), zeros);
  // Below what a scale can hold: zeros, and nothing that is not a number.
  for (const float tiny : {1e-45f, 1e-40f, 1e-38f}) {
    for (const float value : searched(TensorType::kI4G32, std::vector<float>(kCols, tiny), {})) {
      EXPECT_TRUE(std::isfinite(value) && std::fabs(value - tiny) <= tiny) << tiny;
    }
  }
  for (const float broken : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<float> row = random_row(70);
    row[100] = broken;
    std::vector<std::byte> bytes(tensor_row_bytes(TensorType::kI4G32, kCols));
    search_int4_groups(TensorType::kI4G32, TensorType::kBF16, row.data(), nullptr, kCols,
                       bytes.data());
    EXPECT_EQ(first_non_finite(TensorType::kI4G32, bytes) / 32, 100 / 32);  // as rounding does
  }
}

}  // namespace
}  // namespace sparrow
