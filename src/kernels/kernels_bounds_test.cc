// No kernel of any table reads or writes outside what kernels.h says: every buffer has its exact
// size and touches a page without access, at its end and then at its beginning. What is found is
// also compared with scalar, so that a skipped element would show.

#include <algorithm>

#include "kernels/guarded_buffer.h"
#include "kernels/kernels_test_util.h"

namespace sparrow {
namespace {

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> tables = fast_kernels();
  tables.insert(tables.begin(), &scalar_kernels());
  return tables;
}

// The inputs of a product; formats get only the kind they read.
struct GuardedInputs {
  int64_t cols;
  GuardedBuffer<float> plain, scales;
  GuardedBuffer<int8_t> quantized;
  GuardedBuffer<int32_t> group_sums, half_sums;

  GuardedInputs(Edge edge, const TestInputs& inputs)
      : cols(inputs.cols),
        plain(edge, inputs.plain),
        scales(edge, inputs.scales),
        quantized(edge, inputs.quantized),
        group_sums(edge, inputs.group_sums),
        half_sums(edge, inputs.half_sums) {}

  ActivationsView view(WeightFormat format, int64_t num_tokens) const {
    ActivationsView view;
    view.num_tokens = num_tokens;
    if (is_grouped(format)) {
      view.quantized = quantized.data();
      view.quantized_stride = cols;
      view.scales = scales.data();
      view.group_sums = group_sums.data();
      view.group_stride = cols / kGroupSize;
      view.half_sums = half_sums.data();
    } else {
      view.plain = plain.data();
      view.plain_stride = cols;
    }
    return view;
  }
};

// A matrix, and its product with some tokens by every table, all the same bits.
class GuardedProduct {
 public:
  GuardedProduct(Edge edge, WeightFormat format, int64_t rows, int64_t cols)
      : edge_(edge),
        matrix_(random_matrix(format, rows, cols, 5)),
        weights_(edge, std::vector(matrix_.view().data, matrix_.view().data + matrix_.bytes())),
        bias_(edge, random_floats(static_cast<size_t>(rows), 6)) {}

  void check(int64_t tokens) const {
    const int64_t rows = matrix_.rows(), cols = matrix_.cols();
    const GuardedInputs inputs(
        edge_, TestInputs(random_floats(static_cast<size_t>(tokens * cols), 7), tokens));
    std::vector<float> expected;
    for (const Kernels* kernels : all_kernels()) {
      GuardedBuffer<float> out(edge_, static_cast<size_t>(rows * tokens), 0.5f);
      GemmArgs args;
      args.weights = matrix_.view();
      args.weights.data = weights_.data();
      args.inputs = inputs.view(matrix_.format(), tokens);
      args.strip_end = matrix_.num_strips();
      args.bias = tokens % 2 == 0 ? nullptr : bias_.data();
      args.accumulate = tokens % 3 == 0;
      args.out = out.data();
      args.out_stride = rows;
      kernels->gemm(args);
      if (expected.empty()) expected = out.copy();
      EXPECT_TRUE(same_bits(expected, out.copy()))
          << kernels->name << " " << weight_format_name(matrix_.format()) << " " << rows << " x "
          << cols << ", " << tokens << " tokens";
    }
  }

 private:
  const Edge edge_;
  const PackedMatrix matrix_;
  const GuardedBuffer<uint8_t> weights_;
  const GuardedBuffer<float> bias_;
};

TEST(Bounds, Gemm_EveryFormatAndOddShape) {
  for (const WeightFormat format : kAllFormats) {
    for (const int64_t rows : {1, 33, 47}) {
      for (const int64_t cols : {1, 77, 32, 96, 128, 256, 512}) {
        if (cols % strip_layout(format).block_inputs != 0) continue;
        for (const Edge edge : kEdges) {
          const GuardedProduct product(edge, format, rows, cols);
          for (const int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8}) product.check(tokens);
        }
      }
    }
  }
}

// Token counts that fill wide tiles and leave odd ones.
TEST(Bounds, Gemm_ManyTokens) {
  for (const WeightFormat format : kAllFormats) {
    const int64_t cols = strip_layout(format).block_inputs == 1 ? 33 : 256;
    for (const Edge edge : kEdges) {
      const GuardedProduct product(edge, format, 33, cols);
      for (const int64_t tokens : {9, 11, 13, 16, 17, 25, 31, 32, 65}) product.check(tokens);
    }
  }
}

// Rows of inputs and outputs with a distance between them: what lies between stays as it is.
TEST(Bounds, Gemm_LeavesTheGapsBetweenRowsAlone) {
  const int64_t rows = 45, cols = 256, tokens = 7, gap = 3;
  const TestInputs inputs(random_floats(static_cast<size_t>(tokens * cols), 7), tokens);
  for (const WeightFormat format : kAllFormats) {
    const PackedMatrix matrix = random_matrix(format, rows, cols, 5);
    for (const Kernels* kernels : all_kernels()) {
      std::vector<float> out(static_cast<size_t>(tokens * (rows + gap)), -3.0f);
      GemmArgs args;
      args.weights = matrix.view();
      args.inputs = inputs.view(0, tokens);
      args.strip_end = matrix.num_strips();
      args.out = out.data();
      args.out_stride = rows + gap;
      kernels->gemm(args);
      for (int64_t token = 0; token < tokens; ++token) {
        for (int64_t i = rows; i < rows + gap; ++i) {
          EXPECT_EQ(out[token * (rows + gap) + i], -3.0f) << kernels->name;
        }
      }
    }
  }
}

TEST(Bounds, Quantize) {
  for (const Edge edge : kEdges) {
    for (const int64_t cols : {32, 64, 96, 352}) {
      for (const int64_t tokens : {1, 3}) {
        const auto size = static_cast<size_t>(tokens * cols);
        const GuardedBuffer<float> x(edge, random_floats(size, 3));
        std::vector<int8_t> expected;
        for (const Kernels* kernels : all_kernels()) {
          GuardedBuffer<int8_t> quantized(edge, size);
          GuardedBuffer<float> scales(edge, static_cast<size_t>(tokens));
          GuardedBuffer<int32_t> sums(edge, size / 32), half_sums(edge, size / 16);
          kernels->quantize(QuantizeArgs{x.data(), cols, tokens, cols, quantized.data(), cols,
                                         scales.data(), sums.data(), cols / 32, half_sums.data()});
          if (expected.empty()) expected = quantized.copy();
          EXPECT_EQ(expected, quantized.copy()) << kernels->name;
        }
      }
    }
  }
}

TEST(Bounds, RowsOfAnySize) {
  for (const Edge edge : kEdges) {
    for (int64_t size = 1; size <= 70; ++size) {
      const auto count = static_cast<size_t>(size);
      const GuardedBuffer<float> y(edge, random_floats(count, 2));
      const std::vector<float> values = random_floats(count, 1);
      for (const Kernels* kernels : all_kernels()) {
        GuardedBuffer<float> x(edge, values), out(edge, count);
        kernels->rms_norm(x.data(), y.data(), size, 1e-6f, out.data());
        kernels->silu_mul(x.data(), y.data(), size, out.data());
        kernels->add(out.data(), y.data(), size);
        kernels->exp_sum(out.data(), size, 1.0f);
        kernels->attention_finish(
            GuardedBuffer<float>(
                edge, static_cast<size_t>(attention_partial_floats(static_cast<int32_t>(size))),
                1.0f)
                .data(),
            static_cast<int32_t>(size), out.data());
        EXPECT_EQ(x.copy(), values) << kernels->name;  // an input stays as it is
      }
    }
  }
}

TEST(Bounds, Rope) {
  for (const Edge edge : kEdges) {
    for (const int32_t head_dim : {2, 4, 6, 16, 18, 30, 34, 64, 128}) {
      const auto half = static_cast<size_t>(head_dim / 2);
      const GuardedBuffer<float> cosines(edge, random_floats(half, 1));
      const GuardedBuffer<float> sines(edge, random_floats(half, 2));
      std::vector<float> expected;
      for (const Kernels* kernels : all_kernels()) {
        GuardedBuffer<float> heads(edge, random_floats(half * 2 * 3, 3));
        kernels->rope(heads.data(), head_dim, 3, head_dim, cosines.data(), sines.data());
        if (expected.empty()) expected = heads.copy();
        EXPECT_TRUE(same_bits(expected, heads.copy())) << kernels->name << head_dim;
      }
    }
  }
}

// Blocks of one head, side by side, stored and read by the same table.
std::vector<float> attend(const Kernels& kernels, Edge edge, KvType type, int32_t head_dim,
                          int32_t tokens, int32_t heads, bool with_bias) {
  const auto dim = static_cast<size_t>(head_dim);
  const size_t num_blocks = static_cast<size_t>(tokens + 15) / 16;
  const int64_t block_bytes = kv_head_block_bytes(head_dim, type);
  GuardedBuffer<uint8_t> cache(edge, num_blocks * static_cast<size_t>(block_bytes), 0xff);
  std::vector<int32_t> ids(num_blocks);
  for (size_t i = 0; i < num_blocks; ++i) ids[i] = static_cast<int32_t>(num_blocks - 1 - i);
  const GuardedBuffer<int32_t> block_ids(edge, ids);
  const std::vector<float> keys = random_floats(dim * static_cast<size_t>(tokens), 12);
  GuardedBuffer<float> k(edge, dim), v(edge, dim);
  for (int32_t token = 0; token < tokens; ++token) {
    std::copy_n(keys.begin() + token * head_dim, dim, k.data());
    std::copy_n(keys.rbegin() + token * head_dim, dim, v.data());
    kernels.kv_store({k.data(), v.data(), cache.data() + ids[token / 16] * block_bytes, token % 16,
                      head_dim, type});
  }
  const GuardedBuffer<float> q(edge, random_floats(dim * static_cast<size_t>(heads), 14));
  const GuardedBuffer<float> bias(edge, num_blocks * 16 * static_cast<size_t>(heads), 0.25f);
  const int64_t stride = attention_partial_floats(head_dim);
  const auto partial_floats = static_cast<size_t>(stride * heads);
  GuardedBuffer<float> partials(edge, partial_floats), running(edge, partial_floats);
  AttentionArgs args;
  args.q = q.data();
  args.q_stride = head_dim;
  args.num_heads = heads;
  args.head_dim = head_dim;
  args.scale = 0.3f;
  args.cache = cache.data();
  args.block_stride = block_bytes;
  args.block_ids = block_ids.data();
  args.num_tokens = tokens;
  args.type = type;
  args.score_bias = with_bias ? bias.data() : nullptr;
  args.score_bias_stride = static_cast<int64_t>(num_blocks * 16);
  args.partials = partials.data();
  args.partial_stride = stride;
  kernels.attention_chunk(args);
  args.partials = running.data();
  kernels.attention_chunk(args);
  GuardedBuffer<float> out(edge, dim * static_cast<size_t>(heads));
  for (int32_t head = 0; head < heads; ++head) {
    kernels.attention_merge(running.data() + head * stride, partials.data() + head * stride,
                            head_dim);
    kernels.attention_finish(running.data() + head * stride, head_dim,
                             out.data() + head * head_dim);
  }
  return out.copy();
}

TEST(Bounds, KvStoreAndAttention) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    for (const int32_t head_dim : {2, 6, 16, 18, 64, 128}) {
      for (const int32_t tokens : {1, 16, 17, 256}) {
        for (const int32_t heads : {1, 6, 7}) {
          for (const Edge edge : kEdges) {
            const bool with_bias = heads % 2 == 1;
            const std::vector<float> expected =
                attend(scalar_kernels(), edge, type, head_dim, tokens, heads, with_bias);
            for (const Kernels* kernels : fast_kernels()) {
              EXPECT_TRUE(same_bits(
                  expected, attend(*kernels, edge, type, head_dim, tokens, heads, with_bias)))
                  << kernels->name << " dim " << head_dim << ", " << tokens << " tokens";
            }
          }
        }
      }
    }
  }
}

TEST(Bounds, SumWaves) {
  for (const Edge edge : kEdges) {
    const GuardedBuffer<float> cosines(edge, random_floats(3 * kAttentionChunk, 3));
    const GuardedBuffer<float> sines(edge, random_floats(3 * kAttentionChunk, 4));
    const GuardedBuffer<float> a(edge, random_floats(3, 1)), b(edge, random_floats(3, 2));
    const GuardedBuffer<int32_t> rows(edge, std::vector<int32_t>{2, 0, 1});
    for (const int32_t tokens : {1, 15, 16, 17, 250, 256}) {
      std::vector<float> expected;
      for (const Kernels* kernels : all_kernels()) {
        GuardedBuffer<float> out(edge, static_cast<size_t>((tokens + 15) / 16 * 16));
        kernels->sum_waves(
            {a.data(), b.data(), rows.data(), 3, tokens, cosines.data(), sines.data()}, out.data());
        if (expected.empty()) expected = out.copy();
        EXPECT_TRUE(same_bits(expected, out.copy())) << kernels->name << tokens;
      }
    }
  }
}

TEST(Bounds, ReadBytes) {
  for (const Edge edge : kEdges) {
    for (const size_t size : {0u, 1u, 31u, 64u, 255u, 256u, 257u, 511u, 512u, 513u, 5000u}) {
      const GuardedBuffer<uint8_t> bytes(edge, size, 1);
      for (const Kernels* kernels : all_kernels()) {
        EXPECT_EQ(kernels->read_bytes(bytes.data(), size) > 0, size > 0) << kernels->name;
      }
    }
  }
}

// Rows of files are packed from a mapping that may end with the page.
TEST(Bounds, PackAndUnpackRows) {
  for (const WeightFormat format : kAllFormats) {
    const TensorType type = tensor_type_for(format);
    for (const int64_t cols : {1, 5, 32, 256, 512}) {
      if (cols % strip_layout(format).block_inputs != 0) continue;
      for (const int64_t rows : {1, 33}) {
        for (const Edge edge : kEdges) {
          const GuardedBuffer<std::byte> source(edge, random_rows_of(format, rows, cols, 3));
          PackedMatrix matrix = *PackedMatrix::allocate(format, rows, cols);
          const std::span<const std::byte> bytes(source.data(), source.size());
          ASSERT_TRUE(matrix.pack_rows(0, rows, type, bytes).ok());
          GuardedBuffer<float> row(edge, static_cast<size_t>(cols));
          matrix.unpack_row(rows - 1, row.data());
        }
      }
    }
  }
}

}  // namespace
}  // namespace sparrow
