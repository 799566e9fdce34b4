#include <cmath>
#include <limits>

#include "kernels/cuda/linear/linear_test_support.h"

namespace sparrow {
namespace {

class Linear : public LinearTest {};

constexpr WeightKind kKinds[] = {
    {"bf16", GpuWeightFormat::kBF16},
    {"f16", GpuWeightFormat::kF16},
    {"int8_row", GpuWeightFormat::kInt8, -1, true},
    {"int8_g32", GpuWeightFormat::kInt8, 32},
    {"int4_g32", GpuWeightFormat::kInt4, 32},
    {"int4_g32_zeros", GpuWeightFormat::kInt4, 32, true, true},
    {"int4_g8_zeros", GpuWeightFormat::kInt4, 8, false, true},
};

struct Shape {
  int32_t rows;
  int32_t cols;
};

struct Case {
  WeightKind kind;
  Shape shape;
  int num_rows = 1;
  GpuFloat x_type = GpuFloat::kBF16;
  bool has_bias = false;
  bool add_to_out = false;
  int stride_extra = 0;
};

std::string name_of(const Case& test) {
  return std::string(test.kind.name) + " " + std::to_string(test.shape.rows) + "x" +
         std::to_string(test.shape.cols) + ", rows of x " + std::to_string(test.num_rows) +
         (test.x_type == GpuFloat::kBF16 ? " bf16" : " f16") + (test.has_bias ? " bias" : "") +
         (test.add_to_out ? " add" : "") + " stride +" + std::to_string(test.stride_extra);
}

bool group_fits(const WeightKind& kind, Shape shape) {
  return kind.group <= 0 || shape.cols % kind.group == 0;
}

class LinearRun : public Linear {
 protected:
  // Floats of the whole of out: [num_rows][rows + stride_extra].
  std::vector<float> run(const Case& test, const TestMatrix& matrix, const std::vector<uint16_t>& x,
                         const std::vector<float>& bias, const std::vector<float>& before) {
    const GpuBuffer x_gpu = upload(x), bias_gpu = upload(bias), out = upload(before);
    LinearArgs args;
    args.matrix = matrix.matrix;
    args.x = x_gpu.as<void>();
    args.x_type = test.x_type;
    args.num_rows = test.num_rows;
    args.bias = test.has_bias ? bias_gpu.as<float>() : nullptr;
    args.out = out.as<float>();
    args.out_stride = test.shape.rows + test.stride_extra;
    args.add_to_out = test.add_to_out;
    kernels().linear(stream(), args);
    return download<float>(out, before.size());
  }

  void check(const Case& test) {
    SCOPED_TRACE(name_of(test));
    const auto [rows, cols] = test.shape;
    const TestMatrix matrix = make_matrix(test.kind, rows, cols, 11);
    const std::vector<uint16_t> x = random_rows(test.x_type, test.num_rows, cols, 12);
    const std::vector<float> bias = random_floats(static_cast<size_t>(rows), 13);
    const auto stride = static_cast<size_t>(rows + test.stride_extra);
    const auto count = static_cast<size_t>(test.num_rows) * stride;
    // What is not added to is poison, and so is what lies between the rows.
    std::vector<float> before = random_floats(count, 14);
    for (size_t i = 0; i < count; ++i) {
      if (!test.add_to_out || i % stride >= static_cast<size_t>(rows)) {
        before[i] = std::numeric_limits<float>::quiet_NaN();
      }
    }
    const std::vector<float> found = run(test, matrix, x, bias, before);
    for (int token = 0; token < test.num_rows; ++token) {
      for (int row = 0; row < rows; ++row) {
        const size_t place = static_cast<size_t>(token) * stride + static_cast<size_t>(row);
        ExactProduct exact = exact_product(matrix, row, test.x_type, x, token);
        for (const double addend :
             {test.has_bias ? static_cast<double>(bias[static_cast<size_t>(row)]) : 0.0,
              test.add_to_out ? static_cast<double>(before[place]) : 0.0}) {
          exact.sum += addend;
          exact.magnitude += std::abs(addend);
        }
        ASSERT_NEAR(found[place], exact.sum, sum_tolerance(exact, cols)) << token << " " << row;
      }
      for (size_t i = static_cast<size_t>(rows); i < stride; ++i) {
        ASSERT_TRUE(std::isnan(found[static_cast<size_t>(token) * stride + i])) << "past the row";
      }
    }
  }
};

TEST_P(LinearRun, EveryFormatAndNumberOfRows_AgreesWithFloat64) {
  for (const WeightKind& kind : kKinds) {
    for (const Shape shape : {Shape{64, 64}, Shape{96, 160}, Shape{33, 64}}) {
      if (!group_fits(kind, shape)) continue;
      for (const int num_rows : {1, 2, 3, 5, 8, 9, 17}) {
        check({kind, shape, num_rows, GpuFloat::kBF16, num_rows % 2 == 1, num_rows % 3 == 0,
               num_rows == 5 ? 7 : 0});
      }
      check({kind, shape, 3, GpuFloat::kF16, true, true, 1});
    }
  }
}

TEST_P(LinearRun, ModelShapes_AgreeWithFloat64) {
  for (const WeightKind& kind : kKinds) check({kind, {64, 1536}, 2, GpuFloat::kBF16, true});
  check({kKinds[0], {256, 1536}, 9});
  check({kKinds[4], {256, 1536}, 1});
  check({kKinds[0], {40, 8960}, 1, GpuFloat::kBF16, false, true});
  check({kKinds[2], {40, 8960}, 3, GpuFloat::kF16});
  check({kKinds[5], {40, 8960}, 8});
}

// 8 and 24 inputs leave most lanes without work; 40 is no multiple of a vector of int8 or int4.
TEST_P(LinearRun, FewInputs_AgreeWithFloat64) {
  for (const int32_t cols : {8, 24, 40, 72}) {
    check({kKinds[0], {5, cols}, 3});
    check({kKinds[2], {5, cols}, 9});
    check({kKinds[6], {5, cols}, 2});
  }
}

TEST_P(LinearRun, NoRows_WritesNothing) {
  Case test{kKinds[0], {8, 16}, 0};
  const TestMatrix matrix = make_matrix(test.kind, 8, 16, 1);
  const std::vector<float> before(8, 3.0f);
  EXPECT_EQ(run(test, matrix, {}, {}, before), before);
}

// A sequence that went wrong must not take the others of its batch along.
TEST_P(LinearRun, NanInOneRow_StaysThere) {
  for (const WeightKind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    for (const int num_rows : {3, 8, 17}) {
      Case test{kind, {16, 64}, num_rows};
      const TestMatrix matrix = make_matrix(kind, 16, 64, 21);
      std::vector<uint16_t> x = random_rows(test.x_type, num_rows, 64, 22);
      const std::vector<float> before(static_cast<size_t>(num_rows) * 16, 0.0f);
      const std::vector<float> healthy = run(test, matrix, x, {}, before);
      x[64 + 5] = 0x7fc0;  // a bf16 NaN in row 1
      const std::vector<float> found = run(test, matrix, x, {}, before);
      for (size_t i = 0; i < found.size(); ++i) {
        if (i / 16 == 1) {
          EXPECT_TRUE(std::isnan(found[i])) << i;
        } else {
          EXPECT_EQ(found[i], healthy[i]) << i;
        }
      }
    }
  }
}

class GatedLinear : public LinearTest {};

// |silu'| is below 1.1 and |silu(g)| at most |g|: what the sums' errors become. expf, the quotient
// and the product add some 2^-22; the result is rounded once to x_type, and below fp16's smallest
// normal number by a fixed step.
TEST_P(GatedLinear, EveryFormatAndNumberOfRows_AgreesWithFloat64) {
  for (const WeightKind& kind : kKinds) {
    for (const Shape shape : {Shape{33, 64}, Shape{64, 160}}) {
      if (!group_fits(kind, shape)) continue;
      for (const int num_rows : {1, 2, 3, 8, 9, 17}) {
        const GpuFloat type = num_rows % 3 == 0 ? GpuFloat::kF16 : GpuFloat::kBF16;
        SCOPED_TRACE(name_of({kind, shape, num_rows, type}));
        const auto [rows, cols] = shape;
        const TestMatrix gate = make_matrix(kind, rows, cols, 31);
        const TestMatrix up = make_matrix(kind, rows, cols, 32);
        const std::vector<uint16_t> x = random_rows(type, num_rows, cols, 33);
        const GpuBuffer x_gpu = upload(x);
        const auto count = static_cast<size_t>(num_rows) * static_cast<size_t>(rows);
        const GpuBuffer out = make<uint16_t>(count);
        kernels().gated_linear(
            stream(), {gate.matrix, up.matrix, x_gpu.as<void>(), type, num_rows, out.as<void>()});
        const std::vector<uint16_t> found = download<uint16_t>(out, count);
        for (size_t i = 0; i < count; ++i) {
          const int token = static_cast<int>(i) / rows, row = static_cast<int>(i) % rows;
          const ExactProduct g = exact_product(gate, row, type, x, token);
          const ExactProduct u = exact_product(up, row, type, x, token);
          const double silu = g.sum / (1.0 + std::exp(-g.sum));
          const double expected = silu * u.sum;
          const double step = type == GpuFloat::kBF16 ? 0x1p-8 : 0x1p-11;
          const double tolerance = 1.1 * sum_tolerance(g, cols) * std::abs(u.sum) +
                                   std::abs(silu) * sum_tolerance(u, cols) +
                                   std::abs(expected) * (step + 0x1p-20) + 0x1p-24;
          ASSERT_NEAR(value_of(type, found[i]), expected, tolerance) << token << " " << row;
        }
      }
    }
  }
}

// exp(-gate) overflows below -88: the result is zero, not NaN.
TEST_P(GatedLinear, LargeGates_GiveZeroOrUp) {
  const std::vector<uint16_t> weights(2 * 8, bf16_from_float(100.0f));
  const std::vector<uint16_t> ups(2 * 8, bf16_from_float(0.25f));
  const GpuBuffer gate_gpu = upload(weights), up_gpu = upload(ups);
  std::vector<uint16_t> x(2 * 8, bf16_from_float(-1.0f));
  std::fill(x.begin() + 8, x.end(), bf16_from_float(1.0f));
  const GpuBuffer x_gpu = upload(x), out = make<uint16_t>(4);
  GpuMatrix gate{.format = GpuWeightFormat::kBF16, .rows = 2, .cols = 8};
  GpuMatrix up = gate;
  gate.values = gate_gpu.as<void>();
  up.values = up_gpu.as<void>();
  kernels().gated_linear(stream(),
                         {gate, up, x_gpu.as<void>(), GpuFloat::kBF16, 2, out.as<void>()});
  const std::vector<uint16_t> found = download<uint16_t>(out, 4);
  EXPECT_EQ(float_from_bf16(found[0]), 0.0f);
  EXPECT_EQ(float_from_bf16(found[1]), 0.0f);
  EXPECT_EQ(float_from_bf16(found[2]), 1600.0f);
  EXPECT_EQ(float_from_bf16(found[3]), 1600.0f);
}

SPARROW_ON_EVERY_GPU(LinearRun);
SPARROW_ON_EVERY_GPU(GatedLinear);

}  // namespace
}  // namespace sparrow
