#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "kernels/cuda/linear/linear_test_support.h"

namespace sparrow {
namespace {

constexpr int32_t kPadding = 3;  // columns of out behind the last

class Linear : public LinearTest {
 protected:
  // The whole of out, [num_rows][rows + kPadding].
  std::vector<float> run(const GpuMatrix& matrix, GpuFloat x_type, const std::vector<uint16_t>& x,
                         int32_t num_rows, bool has_matrix_units,
                         const std::vector<float>* bias = nullptr,
                         const std::vector<float>* residual = nullptr,
                         LinearTiles tiles = LinearTiles::kByRows) {
    LinearArgs args;
    args.tiles = tiles;
    args.matrix = matrix;
    const GpuBuffer x_gpu = upload(x);
    const GpuBuffer bias_gpu = bias != nullptr ? upload(*bias) : GpuBuffer();
    args.x = x_gpu.as<void>();
    args.x_type = x_type;
    args.num_rows = num_rows;
    args.bias = bias_gpu.as<float>();
    args.out_stride = matrix.rows + kPadding;
    const auto count = static_cast<size_t>(num_rows) * static_cast<size_t>(args.out_stride);
    const GpuBuffer out = residual != nullptr ? upload(*residual) : make<float>(count);
    args.out = out.as<float>();
    args.add_to_out = residual != nullptr;
    args.has_matrix_units = has_matrix_units;
    // Few rows: the kernel that knows the card, with many tiles a block.
    if (has_matrix_units) args.card = {3, 227 << 10};
    kernels().linear(stream(), args);
    return download<float>(out, count);
  }

  void expect_exact(const WeightCase& weights, int32_t rows, int32_t cols, GpuFloat x_type,
                    const std::vector<int32_t>& row_counts) {
    const PackedWeights packed = pack(weights, rows, cols, 7);
    const DeviceWeights on_device = to_device(packed);
    const int32_t most = *std::max_element(row_counts.begin(), row_counts.end());
    const auto all = static_cast<size_t>(most) * static_cast<size_t>(cols);
    const std::vector<uint16_t> x = random_x(x_type, all, 11);
    const Product expected = exact_product(packed.host_matrix(), x_type, x, most);
    for (const int32_t num_rows : row_counts) {
      for (const bool units : {false, true}) {
        SCOPED_TRACE(std::string(weights.name) + ", " + std::to_string(rows) + " x " +
                     std::to_string(cols) + ", rows of x " + std::to_string(num_rows) +
                     (units ? ", matrix units" : ""));
        const std::vector<uint16_t> some(x.begin(), x.begin() + int64_t{num_rows} * cols);
        expect_product(run(on_device.matrix, x_type, some, num_rows, units), expected, rows, cols,
                       num_rows);
      }
    }
  }

  static void expect_product(const std::vector<float>& found, const Product& expected, int32_t rows,
                             int32_t cols, int32_t num_rows) {
    int num_wrong = 0;
    for (int32_t t = 0; t < num_rows; ++t) {
      for (int32_t r = 0; r < rows + kPadding; ++r) {
        const float value = found[static_cast<size_t>(t * (rows + kPadding) + r)];
        if (r >= rows) {
          num_wrong += std::isnan(value) ? 0 : 1;  // the poison
          continue;
        }
        const auto at = static_cast<size_t>(t * rows + r);
        const double error = std::fabs(value - expected.sums[at]);
        const bool right = error <= sum_tolerance(cols, expected.magnitudes[at]);
        if (!right && num_wrong++ == 0) {
          ADD_FAILURE() << "t " << t << ", r " << r << ": " << value << ", not "
                        << expected.sums[at];
        }
      }
    }
    EXPECT_EQ(num_wrong, 0);
  }
};

TEST_P(Linear, EveryFormatAndNumberOfRows_AgreesWithFloat64) {
  for (const WeightCase& weights : weight_cases()) {
    for (const GpuFloat x_type : {GpuFloat::kBF16, GpuFloat::kF16}) {
      expect_exact(weights, 64, 64, x_type, {1, 2, 3, 5, 8, 9, 17, 64});
    }
    expect_exact(weights, 96, 160 / weights.block * weights.block, GpuFloat::kBF16,
                 {1, 3, 8, 9, 33});
  }
}

// 72 inputs are no whole number of tiles, 37 not of anything.
TEST_P(Linear, RaggedShapes_AgreeWithFloat64) {
  for (const WeightCase& weights : weight_cases()) {
    const int32_t cols = weights.block == 1 ? 72 : 96 / weights.block * weights.block;
    expect_exact(weights, 33, cols, GpuFloat::kF16, {1, 2, 5, 8, 9, 17, 70});
    if (weights.block != 1) continue;
    expect_exact(weights, 5, 37, GpuFloat::kBF16, {1, 4, 7, 11});
    expect_exact(weights, 1, 1, GpuFloat::kBF16, {1, 9});
  }
}

TEST_P(Linear, ModelShapes_AgreeWithFloat64) {
  const std::vector<WeightCase> cases = weight_cases();
  for (const WeightCase& weights : cases) {
    expect_exact(weights, 7, 8960, GpuFloat::kBF16, {1, 8});
    expect_exact(weights, 256, 1536, GpuFloat::kBF16, {1, 5});
  }
  for (const size_t i : {0, 4, 6}) {  // the emulator takes a second for each
    expect_exact(cases[i], 256, 1536, GpuFloat::kBF16, {17});
  }
  expect_exact(cases[7], 7, 8960, GpuFloat::kBF16, {9});
  expect_exact(cases[0], 65, 256, GpuFloat::kBF16, {130});
  expect_exact(cases[5], 65, 256, GpuFloat::kBF16, {130});
}

TEST_P(Linear, BiasAndResidual_AreAdded) {
  const WeightCase weights = weight_cases()[2];
  const PackedWeights packed = pack(weights, 40, 64, 3);
  const DeviceWeights on_device = to_device(packed);
  for (const int32_t num_rows : {2, 11}) {
    for (const bool units : {false, true}) {
      const std::vector<uint16_t> x =
          random_x(GpuFloat::kBF16, static_cast<size_t>(num_rows) * 64, 5);
      const std::vector<float> bias = random_floats(40, 6);
      const std::vector<float> residual = random_floats(static_cast<size_t>(num_rows) * 43, 7);
      const std::vector<float> plain = run(on_device.matrix, GpuFloat::kBF16, x, num_rows, units);
      const std::vector<float> found =
          run(on_device.matrix, GpuFloat::kBF16, x, num_rows, units, &bias, &residual);
      for (size_t i = 0; i < found.size(); ++i) {
        const size_t r = i % 43;
        const float expected = r < 40 ? residual[i] + (plain[i] + bias[r]) : residual[i];
        EXPECT_EQ(found[i], expected) << i;
      }
    }
  }
}

// What a request's answer relies on: neighbours in the batch change no bit, NaN among them or not.
TEST_P(Linear, OtherRows_ChangeNoBit) {
  for (const WeightCase& weights : weight_cases()) {
    const PackedWeights packed = pack(weights, 48, 128, 9);
    const DeviceWeights on_device = to_device(packed);
    const std::vector<uint16_t> x = random_x(GpuFloat::kBF16, 40 * 128, 12);
    for (const bool units : {false, true}) {
      // The smallest batch that the kernel gets, then others of the same kernel.
      for (const std::vector<int32_t>& counts : {std::vector<int32_t>{1, 2, 3, 8}, {9, 17, 40}}) {
        const std::vector<uint16_t> few(x.begin(), x.begin() + counts[0] * 128);
        const std::vector<float> alone =
            run(on_device.matrix, GpuFloat::kBF16, few, counts[0], units);
        for (const int32_t count : counts) {
          std::vector<uint16_t> some(x.begin(), x.begin() + count * 128);
          if (count > counts[0]) std::fill_n(some.end() - 128, 128, uint16_t{0x7fc0});  // NaN
          const std::vector<float> found =
              run(on_device.matrix, GpuFloat::kBF16, some, count, units);
          EXPECT_EQ(std::memcmp(found.data(), alone.data(), alone.size() * sizeof(float)), 0)
              << weights.name << ", rows of x " << count;
        }
      }
    }
  }
}

// A larger tile is the same sums in the same order, at the edges too.
TEST_P(Linear, TilesOfMatrixUnits_ChangeNoBit) {
  for (const WeightCase& weights : weight_cases()) {
    const PackedWeights packed = pack(weights, 150, 320, 3);
    const DeviceWeights on_device = to_device(packed);
    const std::vector<uint16_t> x = random_x(GpuFloat::kBF16, 140 * 320, 4);
    const std::vector<float> bias = random_floats(150, 6);
    const std::vector<float> expected = run(on_device.matrix, GpuFloat::kBF16, x, 140, true, &bias);
    for (const LinearTiles tiles : {LinearTiles::k128By64, LinearTiles::k128By128}) {
      const std::vector<float> found =
          run(on_device.matrix, GpuFloat::kBF16, x, 140, true, &bias, nullptr, tiles);
      EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)), 0)
          << weights.name << ", tiles " << static_cast<int>(tiles);
    }
  }
}

SPARROW_ON_EVERY_GPU(Linear);

}  // namespace
}  // namespace sparrow
