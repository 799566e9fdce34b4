#include "kernels/cuda/linear/choose_linear_kernel.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

LinearShape shape_of(GpuWeightFormat format, int32_t cols, int32_t group, int32_t num_x_rows) {
  LinearShape shape;
  shape.format = format;
  shape.cols = cols;
  shape.group = group;
  shape.num_x_rows = num_x_rows;
  shape.has_matrix_units = true;
  return shape;
}

TEST(ChooseLinearKernel, FewRows_AreRowDots) {
  for (int32_t rows = 1; rows <= 8; ++rows) {
    EXPECT_EQ(choose_linear_kernel(shape_of(GpuWeightFormat::kBF16, 1536, 0, rows)),
              LinearKernel::kRowDots);
    EXPECT_EQ(choose_linear_kernel(shape_of(GpuWeightFormat::kInt4, 8960, 128, rows)),
              LinearKernel::kRowDots);
    EXPECT_EQ(choose_linear_kernel(shape_of(GpuWeightFormat::kInt8, 64, 64, rows)),
              LinearKernel::kRowDots);
  }
}

TEST(ChooseLinearKernel, RowsThatAreNoWholePieces_GoByValue) {
  EXPECT_EQ(choose_linear_kernel(shape_of(GpuWeightFormat::kBF16, 37, 0, 1)),
            LinearKernel::kRowDotsByValue);
  EXPECT_EQ(choose_linear_kernel(shape_of(GpuWeightFormat::kInt8, 72, 72, 1)),
            LinearKernel::kRowDotsByValue);
  EXPECT_EQ(choose_linear_kernel(shape_of(GpuWeightFormat::kInt8, 96, 48, 1)),
            LinearKernel::kRowDotsByValue);
  LinearShape unaligned = shape_of(GpuWeightFormat::kBF16, 64, 0, 1);
  unaligned.is_aligned = false;
  EXPECT_EQ(choose_linear_kernel(unaligned), LinearKernel::kRowDotsByValue);
}

TEST(ChooseLinearKernel, ManyRows_MatrixUnitsWhereTheyAreAndFit) {
  for (const int32_t rows : {9, 64, 4096}) {
    LinearShape shape = shape_of(GpuWeightFormat::kInt8, 1536, 1536, rows);
    EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kMatrixUnits);
    shape.has_matrix_units = false;  // sm_75
    EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kTiles);
  }
  EXPECT_EQ(choose_linear_kernel(shape_of(GpuWeightFormat::kBF16, 72, 0, 9)), LinearKernel::kTiles);
}

TEST(ChooseLinearKernel, PlainWeightsOfAnotherType_AreNotRounded) {
  LinearShape shape = shape_of(GpuWeightFormat::kF16, 64, 0, 64);
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kTiles);
  shape.x_type = GpuFloat::kF16;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kMatrixUnits);
  shape.num_x_rows = 1;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kRowDots);
  shape.x_type = GpuFloat::kBF16;
  EXPECT_EQ(choose_linear_kernel(shape), LinearKernel::kRowDotsByValue);
}

}  // namespace
}  // namespace sparrow
