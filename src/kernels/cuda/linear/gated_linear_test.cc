#include "kernels/cuda/linear/linear_test_support.h"

namespace sparrow {
namespace {

class GatedLinear : public LinearTest {};

// The result is rounded once to x_type (2^-8 or 2^-11 relative); before that both sums err as in
// linear_test.cc. silu has a slope of at most 1.1, so that the gate's error is passed on times 1.1
// |up|, and up's times |silu|. expf errs by 2 last places and the products by one each.
TEST_P(GatedLinear, EveryFormat_AgreesWithFloat64) {
  for (const WeightCase& weights : weight_cases()) {
    for (const GpuFloat x_type : {GpuFloat::kBF16, GpuFloat::kF16}) {
      constexpr int32_t kRows = 50;
      const int32_t cols = weights.block == 1 ? 72 : 128;
      for (const int32_t c : {cols, 192}) {
        const PackedWeights gate = pack(weights, kRows, c, 1), up = pack(weights, kRows, c, 2);
        const DeviceWeights gate_gpu = to_device(gate), up_gpu = to_device(up);
        const std::vector<uint16_t> x = random_x(x_type, 35 * static_cast<size_t>(c), 3);
        const GpuBuffer x_gpu = upload(x);
        const Product gates = exact_product(gate.host_matrix(), x_type, x, 35);
        const Product ups = exact_product(up.host_matrix(), x_type, x, 35);
        for (const int32_t num_rows : {1, 2, 4, 7, 10, 35}) {
          for (const bool units : {false, true}) {
            const auto count = static_cast<size_t>(num_rows) * kRows;
            const GpuBuffer out = make<uint16_t>(count + 4);
            GatedLinearArgs args;
            args.gate = gate_gpu.matrix;
            args.up = up_gpu.matrix;
            args.x = x_gpu.as<void>();
            args.x_type = x_type;
            args.num_rows = num_rows;
            args.out = out.as<void>();
            args.has_matrix_units = units;
            if (units) args.card = {3, 227 << 10};  // few rows: the kernel that knows the card
            kernels().gated_linear(stream(), args);
            const std::vector<uint16_t> found = download<uint16_t>(out, count + 4);
            int num_wrong = 0;
            for (size_t i = 0; i < count; ++i) {
              const double silu = gates.sums[i] / (1 + std::exp(-gates.sums[i]));
              const double expected = silu * ups.sums[i];
              const double error = 1.1 * sum_tolerance(c, gates.magnitudes[i]) *
                                       (std::fabs(ups.sums[i]) + ups.magnitudes[i] * 1e-3) +
                                   std::fabs(silu) * sum_tolerance(c, ups.magnitudes[i]);
              const double step = x_type == GpuFloat::kBF16 ? 0x1p-8 : 0x1p-11;
              const double tolerance = error + std::fabs(expected) * (step + 0x1p-20) + 0x1p-24;
              const double value = float_of(x_type, found[i]);
              num_wrong += std::fabs(value - expected) <= tolerance ? 0 : 1;
            }
            EXPECT_EQ(num_wrong, 0) << weights.name << ", cols " << c << ", rows of x " << num_rows
                                    << ", matrix units " << units;
            for (size_t i = count; i < count + 4; ++i) EXPECT_EQ(found[i], 0xffff);
          }
        }
      }
    }
  }
}

// A larger tile is the same sums in the same order, at the edges too.
TEST_P(GatedLinear, TilesOfMatrixUnits_ChangeNoBit) {
  for (const WeightCase& weights : weight_cases()) {
    constexpr int32_t kRows = 75, kCols = 160, kXRows = 70;
    const int32_t cols = kCols / weights.block * weights.block;
    const PackedWeights gate = pack(weights, kRows, cols, 1), up = pack(weights, kRows, cols, 2);
    const DeviceWeights gate_gpu = to_device(gate), up_gpu = to_device(up);
    const std::vector<uint16_t> x = random_x(GpuFloat::kF16, kXRows * static_cast<size_t>(cols), 3);
    const GpuBuffer x_gpu = upload(x);
    std::vector<uint16_t> expected;
    for (const LinearTiles tiles :
         {LinearTiles::kByRows, LinearTiles::k128By64, LinearTiles::k128By128}) {
      const GpuBuffer out = make<uint16_t>(kXRows * kRows);
      GatedLinearArgs args;
      args.gate = gate_gpu.matrix;
      args.up = up_gpu.matrix;
      args.x = x_gpu.as<void>();
      args.x_type = GpuFloat::kF16;
      args.num_rows = kXRows;
      args.out = out.as<void>();
      args.has_matrix_units = true;
      args.tiles = tiles;
      kernels().gated_linear(stream(), args);
      const std::vector<uint16_t> found = download<uint16_t>(out, kXRows * kRows);
      if (tiles == LinearTiles::kByRows) expected = found;
      EXPECT_EQ(found, expected) << weights.name << ", tiles " << static_cast<int>(tiles);
    }
  }
}

SPARROW_ON_EVERY_GPU(GatedLinear);

}  // namespace
}  // namespace sparrow
