// Products of up to 8 rows that know the card: how they are cut, and the norm that they do
// themselves. That the products are right: linear_test.cc, gated_linear_test.cc.
#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "kernels/cuda/linear/linear_test_support.h"

namespace sparrow {
namespace {

constexpr LinearCard kH200{132, 227 << 10};

TEST(FewRowsPlan, ShapesOfR1OnAnH200_FillItEvenly) {
  bool is_plain = true;
  const auto expect_plan = [&](int32_t rows, bool is_paired, int32_t tile_rows, int32_t num_tiles) {
    const FewRowsPlan plan = plan_few_rows(rows, is_paired, is_plain, kH200.num_sms);
    EXPECT_EQ(plan.tile_rows, tile_rows) << rows;
    EXPECT_EQ(plan.num_tiles, num_tiles) << rows;
    EXPECT_EQ(plan.num_blocks, std::min(num_tiles, kH200.num_sms)) << rows;
  };
  expect_plan(1024, true, 8, 128);       // QKV: pairs
  expect_plan(1536, false, 12, 128);     // output and down
  expect_plan(8960, true, 7, 1280);      // gate and up: 10 tiles of 7 a block, 9 of 8 are more
  expect_plan(151936, false, 16, 9496);  // head
  is_plain = false;
  expect_plan(1536, false, 12, 128);
  expect_plan(8960, true, 8, 1120);
}

TEST(FewRowsPlan, EveryShape_CoversTheRowsOnce) {
  for (const int32_t num_sms : {1, 3, 40, 132}) {
    for (int32_t rows = 1; rows < 700; ++rows) {
      for (const bool is_paired : {false, true}) {
        const FewRowsPlan plan = plan_few_rows(rows, is_paired, rows % 2 == 0, num_sms);
        ASSERT_LE(plan.tile_rows, is_paired ? 8 : 16);
        ASSERT_GE(plan.tile_rows * plan.num_tiles, rows);
        ASSERT_LT(plan.tile_rows * (plan.num_tiles - 1), rows);
        ASSERT_LE(plan.num_blocks, num_sms);
        ASSERT_GE(plan.num_blocks, 1);
      }
    }
  }
}

TEST(FewRowsChoice, CardShapeAndFormat_Decide) {
  LinearShape shape;
  shape.cols = 8960;
  shape.num_x_rows = 1;
  shape.has_matrix_units = true;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kRowDots);  // no card
  shape.card = kH200;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kFewRows);
  shape.card.max_shared_bytes = 99 << 10;  // 8 rows of 8,960 inputs have no room there
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kRowDots);
  shape.cols = 1536;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kFewRows);
  shape.num_x_rows = 9;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kMatrixUnits);
  shape.num_x_rows = 8;
  shape.has_matrix_units = false;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kRowDots);
  shape.has_matrix_units = true;
  shape.cols = 1540;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kRowDotsByValue);
}

class FewRows : public LinearTest {
 protected:
  std::vector<float> run(const DeviceWeights& weights, LinearArgs args, int32_t num_rows) {
    const auto count = static_cast<size_t>(num_rows * weights.matrix.rows);
    const GpuBuffer out = make<float>(count);
    args.matrix = weights.matrix;
    args.num_rows = num_rows;
    args.out = out.as<float>();
    args.out_stride = weights.matrix.rows;
    args.has_matrix_units = true;
    EXPECT_EQ(choose_linear_kernel(linear_shape(args)), LinearKernel::kFewRows);
    kernels().linear(stream(), args);
    return download<float>(out, count);
  }
};

// 160 inputs are no whole number of windows, 1,536 three for each warp.
TEST_P(FewRows, NormInTheProduct_BitsOfTheNormBeforeIt) {
  for (const WeightCase& weights : weight_cases()) {
    for (const int32_t cols : {160, 1536}) {
      if (cols % weights.block != 0) continue;
      const GpuFloat x_type =
          weights.target.format == GpuWeightFormat::kF16 ? GpuFloat::kF16 : GpuFloat::kBF16;
      const DeviceWeights on_device = to_device(pack(weights, 40, cols, 3));
      const GpuBuffer x = upload(random_floats(static_cast<size_t>(9 * cols), 4, 3.0f));
      const GpuBuffer gain = upload(random_floats(static_cast<size_t>(cols), 5));
      const GpuBuffer row_of = upload(std::vector<int32_t>{8, 0, 3, 3, 1, 2, 7, 5});
      const GpuBuffer normalised = make<uint16_t>(static_cast<size_t>(8 * cols));
      for (const int32_t num_rows : {1, 3, 8}) {
        for (const bool has_map : {false, true}) {
          RmsNormArgs norm;
          norm.x = x.as<float>();
          norm.row_of = has_map ? row_of.as<int32_t>() : nullptr;
          norm.gain = gain.as<float>();
          norm.out = normalised.as<void>();
          norm.out_type = x_type;
          norm.num_rows = num_rows;
          norm.hidden_size = cols;
          kernels().rms_norm(stream(), norm);
          LinearArgs args;
          args.x_type = x_type;
          args.card = {5, kH200.max_shared_bytes};
          args.x = normalised.as<void>();
          const std::vector<float> expected = run(on_device, args, num_rows);
          args.x = nullptr;
          args.norm = {norm.x, norm.row_of, norm.gain, norm.eps};
          EXPECT_EQ(run(on_device, args, num_rows), expected)
              << weights.name << ", cols " << cols << ", rows " << num_rows;
        }
      }
    }
  }
}

// How the rows of W are cut into tiles depends on the card, an output's sum does not.
TEST_P(FewRows, OtherNumbersOfMultiprocessors_ChangeNoBit) {
  for (const WeightCase& weights : weight_cases()) {
    const DeviceWeights on_device = to_device(pack(weights, 150, 320, 6));
    const GpuFloat x_type =
        weights.target.format == GpuWeightFormat::kF16 ? GpuFloat::kF16 : GpuFloat::kBF16;
    const GpuBuffer x = upload(random_x(x_type, 4 * 320, 7));
    LinearArgs args;
    args.x = x.as<void>();
    args.x_type = x_type;
    args.card = {1, kH200.max_shared_bytes};
    const std::vector<float> expected = run(on_device, args, 4);
    for (const int32_t num_sms : {2, 7, 12, 132}) {
      args.card.num_sms = num_sms;
      EXPECT_EQ(run(on_device, args, 4), expected) << weights.name << ", " << num_sms;
    }
  }
}

// The projections of q, k and v, with bias, into q and a paged cache; the last row is padding.
TEST_P(FewRows, RotatedAndStoredByTheProduct_BitsOfRopeStore) {
  for (const WeightCase& weights : weight_cases()) {
    for (const GpuHeads& heads : {GpuHeads{4, 2, 32}, {3, 1, 20}}) {
      constexpr int32_t kCols = 192, kBlocks = 3;
      const int32_t width = (heads.num_heads + 2 * heads.num_kv_heads) * heads.head_dim;
      const auto cached =
          static_cast<size_t>(kBlocks * heads.num_kv_heads * kGpuBlockTokens * heads.head_dim);
      const GpuFloat x_type =
          weights.target.format == GpuWeightFormat::kF16 ? GpuFloat::kF16 : GpuFloat::kBF16;
      const DeviceWeights on_device = to_device(pack(weights, width, kCols, 3));
      const GpuBuffer x = upload(random_x(x_type, 8 * kCols, 7));
      const GpuBuffer bias = upload(random_floats(static_cast<size_t>(width), 8));
      const GpuBuffer table = upload(random_floats(static_cast<size_t>(40 * heads.head_dim), 9));
      const GpuBuffer positions = upload(std::vector<int32_t>{5, 39, 0, 7, 8, 9, 10, 0});
      const GpuBuffer cells = upload(std::vector<int32_t>{40, 3, 16, 15, 47, 0, 1, -1});
      const GpuBuffer qkv = make<float>(static_cast<size_t>(8 * width));
      const auto q_count = static_cast<size_t>(8 * heads.num_heads * heads.head_dim);
      for (const int32_t num_rows : {1, 5, 8}) {
        std::vector<std::vector<uint16_t>> found;
        for (const bool in_product : {false, true}) {
          const GpuBuffer q = make<uint16_t>(q_count);
          const GpuBuffer keys = make<uint16_t>(cached), values = make<uint16_t>(cached);
          LinearArgs args;
          args.matrix = on_device.matrix;
          args.x = x.as<void>();
          args.x_type = x_type;
          args.num_rows = num_rows;
          args.bias = bias.as<float>();
          args.out = qkv.as<float>();
          args.out_stride = width;
          args.has_matrix_units = true;
          args.card = {5, kH200.max_shared_bytes};
          RopeStoreArgs rope;
          rope.heads = heads;
          rope.qkv = qkv.as<float>();
          rope.positions = positions.as<int32_t>();
          rope.cells = cells.as<int32_t>();
          rope.rope = table.as<float>();
          rope.q_out = q.as<void>();
          rope.x_type = x_type;
          rope.cache.keys = keys.as<void>();
          rope.cache.values = values.as<void>();
          rope.num_rows = num_rows;
          ASSERT_TRUE(takes_rope_store(args, rope));
          if (in_product) {
            kernels().linear_rope_store(stream(), args, rope);
          } else {
            kernels().linear(stream(), args);
            kernels().rope_store(stream(), rope);
          }
          for (const GpuBuffer* buffer : {&q, &keys, &values}) {
            found.push_back(download<uint16_t>(*buffer, buffer == &q ? q_count : cached));
          }
        }
        for (size_t i = 0; i < 3; ++i) {
          EXPECT_EQ(found[3 + i], found[i]) << weights.name << ", rows " << num_rows << ", " << i;
        }
      }
    }
  }
}

SPARROW_ON_EVERY_GPU(FewRows);

}  // namespace
}  // namespace sparrow
