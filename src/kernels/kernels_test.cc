// Products and row kernels of every instruction set against scalar: the same bits, for any number
// of tokens and any split. Scalar itself against double precision.

#include "kernels/kernels_test_util.h"

#include <cmath>
#include <cstring>

namespace sparrow {
namespace {

std::vector<float> multiply(const Kernels& kernels, const PackedMatrix& matrix,
                            const TestInputs& inputs, const float* bias = nullptr,
                            bool accumulate = false) {
  std::vector<float> out(static_cast<size_t>(matrix.rows() * inputs.num_tokens), 0.25f);
  GemmArgs args;
  args.weights = matrix.view();
  args.inputs = inputs.view(0, inputs.num_tokens);
  args.strip_end = matrix.num_strips();
  args.bias = bias;
  args.accumulate = accumulate;
  args.out = out.data();
  args.out_stride = matrix.rows();
  kernels.gemm(args);
  return out;
}

TEST(Tables, AvxVnni_RunsInOneOfItsEncodings) {
  for (const Kernels* kernels : fast_kernels()) {
    if (std::string_view(kernels->name).starts_with("avxvnni")) return;
  }
  GTEST_SKIP() << "neither AVX-VNNI nor AVX-512 VNNI here: the table avxvnni is not run";
}

TEST(Gemm, Scalar_AgreesWithDoublePrecision) {
  const int64_t rows = 70, cols = 512, tokens = 3;
  const TestInputs inputs(random_floats(static_cast<size_t>(tokens * cols), 1), tokens);
  for (const WeightFormat format : kAllFormats) {
    const PackedMatrix matrix = random_matrix(format, rows, cols, 2);
    const std::vector<float> out = multiply(scalar_kernels(), matrix, inputs);
    std::vector<float> weights(static_cast<size_t>(cols));
    for (int64_t row = 0; row < rows; ++row) {
      matrix.unpack_row(row, weights.data());
      for (int64_t token = 0; token < tokens; ++token) {
        double sum = 0, magnitude = 0;
        for (int64_t k = 0; k < cols; ++k) {
          const size_t index = static_cast<size_t>(token * cols + k);
          const double x = is_grouped(format) ? double{inputs.scales[static_cast<size_t>(token)]} *
                                                    inputs.quantized[index]
                                              : double{inputs.plain[index]};
          sum += x * weights[static_cast<size_t>(k)];
          magnitude += std::fabs(x * weights[static_cast<size_t>(k)]);
        }
        // A chain of n roundings errs by at most n * 2^-24 of the sum of magnitudes.
        EXPECT_NEAR(out[static_cast<size_t>(token * rows + row)], sum,
                    magnitude * static_cast<double>(cols) * std::ldexp(1.0, -24))
            << weight_format_name(format) << " row " << row;
      }
    }
  }
}

TEST(Gemm, EveryIsaFormatAndTokenCount_GivesTheBitsOfScalar) {
  for (const WeightFormat format : kAllFormats) {
    for (const int64_t rows : kProductRows) {
      for (const int64_t cols : kProductCols) {
        if (cols % strip_layout(format).block_inputs != 0) continue;
        const PackedMatrix matrix = random_matrix(format, rows, cols, 5);
        const std::vector<float> bias = random_floats(static_cast<size_t>(rows), 6);
        for (int64_t tokens = 1; tokens <= 17; tokens += tokens < 9 ? 1 : 4) {
          const TestInputs inputs(random_floats(static_cast<size_t>(tokens * cols), 7), tokens);
          const bool accumulate = tokens % 2 == 0;
          const std::vector<float> expected =
              multiply(scalar_kernels(), matrix, inputs, bias.data(), accumulate);
          for (const Kernels* kernels : fast_kernels()) {
            ASSERT_TRUE(
                same_bits(expected, multiply(*kernels, matrix, inputs, bias.data(), accumulate)))
                << kernels->name << " " << weight_format_name(format) << " " << rows << " x "
                << cols << ", " << tokens << " tokens";
          }
        }
      }
    }
  }
}

// Its tile takes more tokens than the others, and walks a row in chunks and a rest.
TEST(Gemm, OneScalePerRow_EveryTokenCountAndRest_GivesTheBitsOfScalar) {
#ifdef SPARROW_EMULATED
  constexpr int64_t kMaxTokens = 17;
#else
  constexpr int64_t kMaxTokens = 40;
#endif
  const int64_t rows = 45;
  for (const int64_t cols : {32, 128, 288}) {
    const PackedMatrix matrix = random_matrix(WeightFormat::kI8Row, rows, cols, 15);
    for (int64_t tokens = 1; tokens <= kMaxTokens; ++tokens) {
      const TestInputs inputs(random_floats(static_cast<size_t>(tokens * cols), 16), tokens);
      const std::vector<float> expected = multiply(scalar_kernels(), matrix, inputs);
      for (const Kernels* kernels : fast_kernels()) {
        ASSERT_TRUE(same_bits(expected, multiply(*kernels, matrix, inputs)))
            << kernels->name << ", " << cols << " inputs, " << tokens << " tokens";
      }
    }
  }
}

// The longest row that is allowed, all bytes at their ends: sums come within 0.1 % of 2^31.
TEST(Gemm, OneScalePerRow_LongestRow_DoesNotOverflow) {
  const int64_t cols = max_row_inputs(strip_layout(WeightFormat::kI8Row));
  const TensorType type = TensorType::kI8G32;
  for (const int fill : {0x80, 0x7f}) {
    std::vector<std::byte> bytes(tensor_row_bytes(type, cols), static_cast<std::byte>(fill));
    set_all_scales(type, bytes, 0.5f);
    PackedMatrix matrix = *PackedMatrix::allocate(WeightFormat::kI8Row, 1, cols);
    ASSERT_TRUE(matrix.pack_rows(0, 1, type, bytes).ok());
    for (const float sign : {1.0f, -1.0f}) {
      const TestInputs inputs(std::vector<float>(static_cast<size_t>(cols), sign * 127.0f), 1);
      const double expected = sign * 127.0 * 0.5 * (fill == 0x80 ? -128 : 127) * double(cols);
      const std::vector<float> found = multiply(scalar_kernels(), matrix, inputs);
      EXPECT_NEAR(found[0], expected, std::fabs(expected) * std::ldexp(4.0, -24));
      for (const Kernels* kernels : fast_kernels()) {
        EXPECT_TRUE(same_bits(found, multiply(*kernels, matrix, inputs))) << kernels->name;
      }
    }
  }
}

TEST(Gemm, OneTokenAloneAndStripsInPieces_GivesTheBitsOfTheWholeProduct) {
  const int64_t rows = 200, cols = 256, tokens = 9;
  const TestInputs inputs(random_floats(static_cast<size_t>(tokens * cols), 8), tokens);
  for (const WeightFormat format : kAllFormats) {
    const PackedMatrix matrix = random_matrix(format, rows, cols, 9);
    for (const Kernels* kernels : runnable_kernels()) {
      const std::vector<float> whole = multiply(*kernels, matrix, inputs);
      std::vector<float> pieces(whole.size(), -1.0f);
      for (int64_t token = 0; token < tokens; ++token) {
        for (const auto& [begin, end] : {std::pair{5, 7}, std::pair{0, 1}, std::pair{1, 5}}) {
          GemmArgs args;
          args.weights = matrix.view();
          args.inputs = inputs.view(token, 1);
          args.strip_begin = begin;
          args.strip_end = end;
          args.out = pieces.data() + token * rows;
          args.out_stride = rows;
          kernels->gemm(args);
        }
      }
      EXPECT_TRUE(same_bits(whole, pieces)) << kernels->name << weight_format_name(format);
    }
  }
}

// Every code and scale at its end, every input +-127: the largest sums int16 and int32 steps meet.
TEST(Gemm, ExtremeBytes_AreExactOnEveryIsa) {
  const int64_t rows = 32, cols = 256;
  for (const WeightFormat format : kAllFormats) {
    if (!is_grouped(format)) continue;
    const TensorType type = tensor_type_for(format);
    for (const int fill : {0x80, 0x7f, 0x00, 0xff, 0x3f, 0xc0, 0x0f, 0xf0}) {
      std::vector<std::byte> bytes(tensor_row_bytes(type, cols) * rows,
                                   static_cast<std::byte>(fill));
      const size_t step = static_cast<size_t>(tensor_type_info(type).block_bytes);
      for (size_t offset = 0; offset < bytes.size(); offset += step) {
        set_block_scales(type, bytes.data() + offset, 1.0f, 0.5f);
      }
      PackedMatrix matrix = *PackedMatrix::allocate(format, rows, cols);
      ASSERT_TRUE(matrix.pack_rows(0, rows, type, bytes).ok());
      std::vector<float> weights(cols);
      matrix.unpack_row(0, weights.data());
      for (const bool alternate : {false, true}) {
        for (const float sign : {1.0f, -1.0f}) {
          std::vector<float> x(cols, sign * 127.0f);
          for (size_t k = 0; alternate && k < x.size(); k += 2) x[k] = -x[k];
          const TestInputs inputs(x, 1);
          double expected = 0, magnitude = 0;
          for (size_t k = 0; k < x.size(); ++k) {
            expected += double{weights[k]} * x[k];
            magnitude += std::fabs(double{weights[k]} * x[k]);
          }
          const std::vector<float> found = multiply(scalar_kernels(), matrix, inputs);
          // Two conversions and two fma at most for each of eight blocks.
          EXPECT_NEAR(found[7], expected, magnitude * std::ldexp(32.0, -24))
              << weight_format_name(format) << " " << fill;
          for (const Kernels* kernels : fast_kernels()) {
            EXPECT_TRUE(same_bits(found, multiply(*kernels, matrix, inputs)))
                << kernels->name << " " << weight_format_name(format) << " " << fill;
          }
        }
      }
    }
  }
}

TEST(Gemm, NanInOneToken_ReachesThatTokenOnly) {
  const int64_t rows = 40, cols = 256;
  for (const WeightFormat format : kAllFormats) {
    const PackedMatrix matrix = random_matrix(format, rows, cols, 4);
    std::vector<float> values = random_floats(3 * cols, 5);
    values[cols + 3] = NAN;
    const TestInputs inputs(values, 3);
    for (const Kernels* kernels : runnable_kernels()) {
      const std::vector<float> out = multiply(*kernels, matrix, inputs);
      for (int64_t row = 0; row < rows; ++row) {
        EXPECT_FALSE(std::isnan(out[row])) << kernels->name;
        EXPECT_TRUE(std::isnan(out[rows + row])) << kernels->name;
        EXPECT_FALSE(std::isnan(out[2 * rows + row])) << kernels->name;
      }
    }
  }
}

struct Quantized {
  std::vector<int8_t> values;
  std::vector<int32_t> sums, half_sums;
  float scale = 0;
};

Quantized quantize(const Kernels& kernels, const std::vector<float>& x) {
  Quantized out{std::vector<int8_t>(x.size()), std::vector<int32_t>(x.size() / 32),
                std::vector<int32_t>(x.size() / 16), 0};
  const auto cols = static_cast<int64_t>(x.size());
  kernels.quantize(QuantizeArgs{x.data(), cols, 1, cols, out.values.data(), cols, &out.scale,
                                out.sums.data(), cols / 32, out.half_sums.data()});
  return out;
}

TEST(Quantize, EveryIsaAndRange_GivesTheBitsOfScalarAndErrsByHalfAStep) {
  for (const float deviation : {1.0f, 1e-20f, 1e30f, 1e-38f, 1e-44f, 0.0f}) {
    const std::vector<float> x = random_floats(352, 3, deviation);
    const Quantized expected = quantize(scalar_kernels(), x);
    for (const Kernels* kernels : fast_kernels()) {
      const Quantized found = quantize(*kernels, x);
      EXPECT_EQ(found.values, expected.values) << kernels->name << deviation;
      EXPECT_EQ(found.sums, expected.sums);
      EXPECT_EQ(found.half_sums, expected.half_sums);
      EXPECT_TRUE(same_bits({expected.scale}, {found.scale}));
    }
    for (size_t i = 0; i < x.size(); ++i) {
      // Half a step, and one rounding each of scale and quotient; tiny rows become zero.
      const double limit = std::max(0.5001 * double{expected.scale}, 1e-30);
      ASSERT_NEAR(x[i], double{expected.scale} * expected.values[i], limit);
    }
    int32_t halves[2] = {};
    for (int i = 0; i < 32; ++i) halves[i / 16] += expected.values[i];
    EXPECT_EQ(expected.sums[0], halves[0] + halves[1]);
    EXPECT_EQ(expected.half_sums[0], halves[0]);
    EXPECT_EQ(expected.half_sums[1], halves[1]);
  }
}

// The fast kernels do not clamp: the largest magnitude of a row must round to 127 by itself.
TEST(Quantize, LargestMagnitudeOfAnyRow_Becomes127) {
  std::vector<float> x(32);
  for (uint32_t i = 0; i < 20'000; ++i) {
    // Spread over all exponents and mantissas from 1e-30 to the largest finite float.
    const uint32_t bits = 0x0da24260u + static_cast<uint32_t>(uint64_t{0x71ddbd9f} * i / 19'999);
    float largest = 0;
    std::memcpy(&largest, &bits, sizeof largest);
    x.front() = largest;
    x.back() = -largest;
    for (const Kernels* kernels : fast_kernels()) {
      const Quantized found = quantize(*kernels, x);
      ASSERT_EQ(found.values.front(), 127) << kernels->name << ' ' << largest;
      ASSERT_EQ(found.values.back(), -127) << kernels->name << ' ' << largest;
    }
  }
}

TEST(Quantize, RowWithNanOrInfinity_GetsANanScale) {
  for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    std::vector<float> x = random_floats(64, 3);
    x[41] = bad;
    EXPECT_TRUE(std::isnan(quantize(scalar_kernels(), x).scale));
    for (const Kernels* kernels : fast_kernels()) {
      EXPECT_TRUE(std::isnan(quantize(*kernels, x).scale)) << kernels->name;
    }
  }
}

TEST(RowKernels, EveryIsaAndSize_GivesTheBitsOfScalar) {
  for (const int64_t size : {1, 2, 7, 8, 15, 16, 17, 33, 64, 100, 1536}) {
    const auto count = static_cast<size_t>(size);
    const std::vector<float> x = random_floats(count, 1, 3.0f), y = random_floats(count, 2);
    for (const Kernels* kernels : fast_kernels()) {
      const auto compare = [&](auto&& call) {
        std::vector<float> expected = x, found = x;
        const float first = call(scalar_kernels(), expected);
        EXPECT_TRUE(same_bits({first}, {call(*kernels, found)})) << kernels->name << size;
        EXPECT_TRUE(same_bits(expected, found)) << kernels->name << " size " << size;
      };
      compare([&](const Kernels& table, std::vector<float>& out) {
        table.rms_norm(out.data(), y.data(), size, 1e-6f, out.data());
        return 0.0f;
      });
      compare([&](const Kernels& table, std::vector<float>& out) {
        table.silu_mul(out.data(), y.data(), size, out.data());
        return 0.0f;
      });
      compare([&](const Kernels& table, std::vector<float>& out) {
        table.add(out.data(), y.data(), size);
        return 0.0f;
      });
      compare([&](const Kernels& table, std::vector<float>& out) {
        return table.exp_sum(out.data(), size, 4.0f);
      });
      if (size % 2 == 0) {
        compare([&](const Kernels& table, std::vector<float>& out) {
          table.rope(out.data(), size, 1, static_cast<int32_t>(size), y.data(),
                     y.data() + size / 2);
          return 0.0f;
        });
      }
    }
  }
}

TEST(ExpSum, Scalar_IsWithinTwoUlpOfTheExponential) {
  std::vector<float> x;
  for (float value = -87.0f; value < 0.0f; value += 0.0137f) x.push_back(value);
  std::vector<float> y = x;
  scalar_kernels().exp_sum(y.data(), static_cast<int64_t>(y.size()), 0.0f);
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(double{x[i]});
    EXPECT_NEAR(y[i], exact, exact * 2.0 * std::ldexp(1.0, -23)) << x[i];
  }
}

TEST(ExpSum, InfiniteAndNanScores_GiveZeroAndNan) {
  for (const Kernels* kernels : runnable_kernels()) {
    std::vector<float> x = {0.0f, -INFINITY, -200.0f, 0.0f};
    EXPECT_EQ(kernels->exp_sum(x.data(), 4, 0.0f), 2.0f) << kernels->name;
    EXPECT_EQ(x, (std::vector<float>{1.0f, 0.0f, 0.0f, 1.0f}));
    x[2] = NAN;
    EXPECT_TRUE(std::isnan(kernels->exp_sum(x.data(), 4, 0.0f)));
  }
}

TEST(SiluMul, ExtremeGates_StayFiniteAndKeepNan) {
  for (const Kernels* kernels : runnable_kernels()) {
    const std::vector<float> gate = {-1e30f, -100.0f, 0.0f, 100.0f, 1e30f, NAN};
    const std::vector<float> up(gate.size(), 1.0f);
    std::vector<float> out(gate.size());
    kernels->silu_mul(gate.data(), up.data(), static_cast<int64_t>(gate.size()), out.data());
    EXPECT_NEAR(out[1], 0.0f, 1e-30f);
    EXPECT_LE(std::fabs(out[0]), 1e-7f);
    EXPECT_EQ(out[2], 0.0f);
    EXPECT_EQ(out[3], 100.0f);
    EXPECT_EQ(out[4], 1e30f);
    EXPECT_TRUE(std::isnan(out[5])) << kernels->name;
  }
}

TEST(Probes, ReadBytesAndDotPeak_CountWhatTheyDo) {
  std::vector<uint8_t> bytes(1000, 0);
  for (const Kernels* kernels : runnable_kernels()) {
    bytes[999] = 0;
    const uint64_t before = kernels->read_bytes(bytes.data(), bytes.size());
    bytes[999] = 1;
    EXPECT_NE(before, kernels->read_bytes(bytes.data(), bytes.size())) << kernels->name;
    EXPECT_GT(kernels->dot_peak(10), 0u);
  }
}

}  // namespace
}  // namespace sparrow
