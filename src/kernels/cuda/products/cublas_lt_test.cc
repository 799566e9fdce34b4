// What we ask cuBLASLt for, against a stand-in that computes what its documentation says: layouts,
// transposes, bias, sums, workspace, and what happens when it is not there or refuses.
#include "kernels/cuda/products/cublas_lt.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tensor/half.h"

namespace sparrow {
namespace {

std::unique_ptr<GpuProductLibrary> open_fake(const char* path, std::vector<std::byte>& workspace) {
  Result<std::unique_ptr<GpuProductLibrary>> library = open_cublas_lt({nullptr}, path);
  EXPECT_TRUE(library.ok()) << library.message();
  if (!library.ok()) return nullptr;
  (*library)->set_workspace(workspace.data(), workspace.size());
  return std::move(library).value();
}

std::vector<float> random_values(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

uint16_t bits_of(GpuFloat type, float value) {
  return type == GpuFloat::kBF16 ? bf16_from_float(value) : f16_from_float(value);
}
float value_of(GpuFloat type, uint16_t bits) {
  return type == GpuFloat::kBF16 ? float_from_bf16(bits) : float_from_f16(bits);
}

struct Case {
  const char* name;
  GpuFloat type;
  bool has_f32_out, has_bias, add_to_out;
};

class CublasLt : public testing::Test {
 protected:
  std::vector<std::byte> workspace_ = std::vector<std::byte>(64);
};

TEST_F(CublasLt, EveryKindOfProduct_IsXTimesWTransposed) {
  const std::unique_ptr<GpuProductLibrary> library =
      open_fake(FAKE_CUBLAS_LT_RIGHT_PATH, workspace_);
  ASSERT_NE(library, nullptr);
  EXPECT_EQ(library->name(), "cuBLASLt 13.1.2");
  constexpr int kRows = 5, kCols = 7, kXRows = 3;
  for (const Case& one : {Case{"head", GpuFloat::kBF16, true, false, false},
                          Case{"QKV", GpuFloat::kBF16, true, true, false},
                          Case{"output", GpuFloat::kF16, true, false, true},
                          Case{"gate and up", GpuFloat::kBF16, false, false, false},
                          Case{"gate and up, fp16", GpuFloat::kF16, false, false, false}}) {
    std::vector<uint16_t> weights, x;
    for (const float value : random_values(kRows * kCols, 1)) {
      weights.push_back(bits_of(one.type, value));
    }
    for (const float value : random_values(kXRows * kCols, 2)) {
      x.push_back(bits_of(one.type, value));
    }
    const std::vector<float> bias = random_values(kRows, 3), before = random_values(15, 4);
    std::vector<float> out = before;
    std::vector<uint16_t> half_out(15);
    const GpuProduct product = {kRows,           kCols,        kXRows,        one.type,
                                one.has_f32_out, one.has_bias, one.add_to_out};
    const auto plans = library->find(product, 4);
    // Of the stand-in's three ways one needs too much workspace and one is not for this card.
    ASSERT_EQ(plans.size(), 1u) << one.name;
    void* to = one.has_f32_out ? static_cast<void*>(out.data()) : half_out.data();
    const Status queued =
        plans.front()->queue({weights.data(), x.data(), one.has_bias ? bias.data() : nullptr, to});
    ASSERT_TRUE(queued.ok()) << queued.message();
    for (size_t t = 0; t < kXRows; ++t) {
      for (size_t r = 0; r < kRows; ++r) {
        double expected = one.has_bias ? static_cast<double>(bias[r]) : 0;
        if (one.add_to_out) expected += static_cast<double>(before[t * kRows + r]);
        for (size_t k = 0; k < kCols; ++k) {
          expected += static_cast<double>(value_of(one.type, x[t * kCols + k])) *
                      static_cast<double>(value_of(one.type, weights[r * kCols + k]));
        }
        const float found =
            one.has_f32_out ? out[t * kRows + r] : value_of(one.type, half_out[t * kRows + r]);
        // fp32 sums of 7 products of a few units; 16 bits round once, to 2^-8 at the worst.
        const double step = one.has_f32_out ? 0 : 0x1p-8;
        EXPECT_NEAR(static_cast<double>(found), expected, std::fabs(expected) * step + 1e-5)
            << one.name;
      }
    }
  }
}

TEST_F(CublasLt, WhatTheLibraryCannot_HasNoPlan) {
  const std::unique_ptr<GpuProductLibrary> library =
      open_fake(FAKE_CUBLAS_LT_RIGHT_PATH, workspace_);
  ASSERT_NE(library, nullptr);
  EXPECT_TRUE(library->find({4, 4, 4, GpuFloat::kBF16, true, false, false}, 2).empty());
}

TEST_F(CublasLt, RefusedProduct_IsAnErrorWithTheLibrarysWords) {
  const std::unique_ptr<GpuProductLibrary> library =
      open_fake(FAKE_CUBLAS_LT_FAILS_PATH, workspace_);
  ASSERT_NE(library, nullptr);
  const auto plans = library->find({4, 4, 4, GpuFloat::kBF16, true, false, false}, 4);
  ASSERT_EQ(plans.size(), 1u);
  std::vector<float> memory(16);
  const Status queued =
      plans.front()->queue({memory.data(), memory.data(), nullptr, memory.data()});
  EXPECT_EQ(queued.code(), StatusCode::kUnavailable);
  EXPECT_NE(queued.message().find("a status of the stand-in (15)"), std::string::npos)
      << queued.message();
}

TEST_F(CublasLt, NoLibrary_SaysWhatWasTried) {
  const auto missing = open_cublas_lt({nullptr}, "/nowhere/libcublasLt.so");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(missing.message().find("/nowhere/libcublasLt.so"), std::string::npos);
  // A library, but another one.
  const auto other = open_cublas_lt({nullptr}, "libm.so.6");
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.message().find("cublasLt"), std::string::npos) << other.message();
}

}  // namespace
}  // namespace sparrow
