#include "kernels/cuda/linear/linear_test_support.h"

namespace sparrow {
namespace {

class SiluMultiply : public LinearTest {};

// The result is rounded once to the type (2^-8 or 2^-11 relative); expf errs by 2 last places of
// fp32, the quotient and the product by one each.
TEST_P(SiluMultiply, BothTypesAndRaggedRows_AgreeWithFloat64) {
  for (const GpuFloat type : {GpuFloat::kBF16, GpuFloat::kF16}) {
    for (const int32_t n : {1, 8, 30, 264, 2056}) {
      constexpr int32_t kRows = 3;
      const auto width = static_cast<size_t>(n);
      const std::vector<uint16_t> in = random_x(type, 2 * kRows * width, 4);
      const GpuBuffer in_gpu = upload(in), out = make<uint16_t>(kRows * width + 8);
      SiluMultiplyArgs args;
      args.in = in_gpu.as<void>();
      args.out = out.as<void>();
      args.type = type;
      args.num_rows = kRows;
      args.n = n;
      kernels().silu_multiply(stream(), args);
      const std::vector<uint16_t> found = download<uint16_t>(out, kRows * width + 8);
      for (size_t i = 0; i < kRows * width; ++i) {
        const size_t at = i / width * 2 * width + i % width;
        const double gate = float_of(type, in[at]), up = float_of(type, in[at + width]);
        const double expected = gate / (1 + std::exp(-gate)) * up;
        const double step = type == GpuFloat::kBF16 ? 0x1p-8 : 0x1p-11;
        EXPECT_NEAR(float_of(type, found[i]), expected,
                    std::fabs(expected) * (step + 0x1p-20) + 0x1p-24)
            << "n " << n << " at " << i;
      }
      for (size_t i = kRows * width; i < kRows * width + 8; ++i) EXPECT_EQ(found[i], 0xffff);
    }
  }
}

// exp() overflows for gates below -88: silu is then 0, not NaN.
TEST_P(SiluMultiply, LargeNegativeGates_GiveZero) {
  std::vector<uint16_t> in(16, bf16_from_float(-200.0f));
  for (size_t i = 8; i < 16; ++i) in[i] = bf16_from_float(3.0f);
  const GpuBuffer in_gpu = upload(in), out = make<uint16_t>(8);
  kernels().silu_multiply(stream(), {in_gpu.as<void>(), out.as<void>(), GpuFloat::kBF16, 1, 8});
  for (const uint16_t bits : download<uint16_t>(out, 8)) EXPECT_EQ(float_from_bf16(bits), 0.0f);
}

SPARROW_ON_EVERY_GPU(SiluMultiply);

}  // namespace
}  // namespace sparrow
