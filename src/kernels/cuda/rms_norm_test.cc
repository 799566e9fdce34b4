#include <cmath>

#include "kernels/cuda/gpu_test_support.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

class RmsNorm : public GpuTest {};

// The result is rounded once to 8 bits (bf16: 2^-8 relative) or 11 (fp16: 2^-11); the sum of up to
// 1,536 squares in fp32 adds some 1e-6.
TEST_P(RmsNorm, RandomRows_AgreeWithFloat64) {
  for (const GpuFloat type : {GpuFloat::kBF16, GpuFloat::kF16}) {
    for (const int hidden : {1, 31, 64, 257, 1536, 2500}) {
      constexpr int kRows = 5;
      const std::vector<float> x = random_floats(static_cast<size_t>(kRows * hidden), 1, 3.0f);
      const std::vector<float> gain = random_floats(static_cast<size_t>(hidden), 2);
      const std::vector<int32_t> row_of = {4, 0, 0, 2};
      const GpuBuffer x_gpu = upload(x), gain_gpu = upload(gain), rows_gpu = upload(row_of);
      const auto num_out = row_of.size() * static_cast<size_t>(hidden);
      const GpuBuffer out = make<uint16_t>(num_out);
      RmsNormArgs args;
      args.x = x_gpu.as<float>();
      args.row_of = rows_gpu.as<int32_t>();
      args.gain = gain_gpu.as<float>();
      args.out = out.as<void>();
      args.out_type = type;
      args.num_rows = static_cast<int32_t>(row_of.size());
      args.hidden_size = hidden;
      kernels().rms_norm(stream(), args);
      const std::vector<uint16_t> found = download<uint16_t>(out, num_out);
      for (size_t row = 0; row < row_of.size(); ++row) {
        const float* in = x.data() + row_of[row] * hidden;
        double squares = 0;
        for (int i = 0; i < hidden; ++i) squares += static_cast<double>(in[i]) * in[i];
        const double scale = 1.0 / std::sqrt(squares / hidden + static_cast<double>(args.eps));
        for (int i = 0; i < hidden; ++i) {
          const uint16_t bits = found[row * static_cast<size_t>(hidden) + static_cast<size_t>(i)];
          const float value =
              type == GpuFloat::kBF16 ? float_from_bf16(bits) : float_from_f16(bits);
          const double expected = in[i] * scale * gain[static_cast<size_t>(i)];
          const double step = type == GpuFloat::kBF16 ? 0x1p-8 : 0x1p-11;
          EXPECT_NEAR(value, expected, std::abs(expected) * (step + 4e-6) + 1e-7) << i;
        }
      }
    }
  }
}

TEST_P(RmsNorm, NoRowMap_RowsInOrder) {
  const std::vector<float> x = {3, 4, 0, 0, 0, 2};
  const std::vector<float> gain = {1, 2};
  const GpuBuffer x_gpu = upload(x), gain_gpu = upload(gain);
  const GpuBuffer out = make<uint16_t>(6);
  RmsNormArgs args{
      x_gpu.as<float>(), nullptr, gain_gpu.as<float>(), out.as<void>(), GpuFloat::kF16, 3, 2, 0.0f};
  args.eps = 1e-12f;  // the row of zeros stays zero
  kernels().rms_norm(stream(), args);
  const std::vector<uint16_t> found = download<uint16_t>(out, 6);
  // rms of (3, 4) is sqrt(12.5), of (0, 2) is sqrt(2); fp16 steps near 1 are 2^-10.
  EXPECT_NEAR(float_from_f16(found[0]), 3 / std::sqrt(12.5), 1e-3);
  EXPECT_NEAR(float_from_f16(found[1]), 8 / std::sqrt(12.5), 2e-3);
  EXPECT_EQ(found[2], 0);
  EXPECT_EQ(found[3], 0);
  EXPECT_EQ(found[4], 0);
  EXPECT_NEAR(float_from_f16(found[5]), 4 / std::sqrt(2.0), 2e-3);
}

SPARROW_ON_EVERY_GPU(RmsNorm);

}  // namespace
}  // namespace sparrow
