// Attention over paged chunks: every instruction set against scalar, scalar against the textbook.

#include <algorithm>
#include <cmath>

#include "kernels/kernels_test_util.h"

namespace sparrow {
namespace {

// A cache of one KV head whose blocks lie in shuffled order; unused memory is NaN.
struct TestCache {
  int32_t head_dim, num_tokens;
  KvType type;
  std::vector<float> k, v;  // [num_tokens][head_dim]
  std::vector<int32_t> block_ids;
  std::vector<uint8_t> bytes;
  int64_t block_stride;

  TestCache(const Kernels& kernels, int32_t dim, int32_t tokens, KvType kv_type)
      : head_dim(dim), num_tokens(tokens), type(kv_type) {
    k = random_floats(static_cast<size_t>(dim * tokens), 11);
    v = random_floats(static_cast<size_t>(dim * tokens), 12);
    const int32_t num_blocks = (tokens + 15) / 16;
    for (int32_t block = 0; block < num_blocks; ++block) {
      block_ids.push_back((block * 7 + 3) % (num_blocks * 7 + 5));
    }
    block_stride = kv_head_block_bytes(dim, kv_type) * 2;  // another head lies between
    bytes.assign(static_cast<size_t>(block_stride * (num_blocks * 7 + 5)), 0xff);
    for (int32_t token = 0; token < tokens; ++token) {
      KvStoreArgs args;
      args.k = k.data() + token * dim;
      args.v = v.data() + token * dim;
      args.block = bytes.data() + block_ids[static_cast<size_t>(token / 16)] * block_stride;
      args.slot = token % 16;
      args.head_dim = dim;
      args.type = kv_type;
      kernels.kv_store(args);
    }
  }

  AttentionArgs args(const std::vector<float>& q, int32_t num_heads, int32_t chunk) const {
    AttentionArgs args;
    args.q = q.data();
    args.q_stride = head_dim;
    args.num_heads = num_heads;
    args.head_dim = head_dim;
    args.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    args.cache = bytes.data();
    args.block_stride = block_stride;
    args.block_ids = block_ids.data() + chunk * (kAttentionChunk / kKvBlockTokens);
    args.num_tokens = std::min(kAttentionChunk, num_tokens - chunk * kAttentionChunk);
    args.type = type;
    return args;
  }
};

// All chunks, merged in order: [num_heads][head_dim].
std::vector<float> attend(const Kernels& kernels, const TestCache& cache,
                          const std::vector<float>& q, int32_t num_heads) {
  const int64_t stride = attention_partial_floats(cache.head_dim);
  const auto size = static_cast<size_t>(stride * num_heads);
  std::vector<float> running(size), next(size);
  const int32_t num_chunks = (cache.num_tokens + kAttentionChunk - 1) / kAttentionChunk;
  for (int32_t chunk = 0; chunk < num_chunks; ++chunk) {
    AttentionArgs args = cache.args(q, num_heads, chunk);
    args.partials = chunk == 0 ? running.data() : next.data();
    args.partial_stride = stride;
    kernels.attention_chunk(args);
    for (int32_t head = 0; chunk > 0 && head < num_heads; ++head) {
      kernels.attention_merge(running.data() + head * stride, next.data() + head * stride,
                              cache.head_dim);
    }
  }
  std::vector<float> out(static_cast<size_t>(num_heads * cache.head_dim));
  for (int32_t head = 0; head < num_heads; ++head) {
    kernels.attention_finish(running.data() + head * stride, cache.head_dim,
                             out.data() + head * cache.head_dim);
  }
  return out;
}

TEST(Attention, ScalarOverChunks_AgreesWithTheTextbookInDouble) {
  const int32_t dim = 24, tokens = 700, heads = 2;
  const TestCache cache(scalar_kernels(), dim, tokens, KvType::kF32);
  const std::vector<float> q = random_floats(static_cast<size_t>(heads * dim), 13, 2.0f);
  const std::vector<float> out = attend(scalar_kernels(), cache, q, heads);
  for (int32_t head = 0; head < heads; ++head) {
    std::vector<double> weights(static_cast<size_t>(tokens));
    double total = 0;
    for (int32_t token = 0; token < tokens; ++token) {
      double score = 0;
      for (int32_t d = 0; d < dim; ++d) {
        score += double{q[head * dim + d]} * cache.k[token * dim + d];
      }
      weights[token] = std::exp(score / std::sqrt(double{dim}));
      total += weights[token];
    }
    for (int32_t d = 0; d < dim; ++d) {
      double expected = 0;
      for (int32_t token = 0; token < tokens; ++token) {
        expected += weights[token] / total * cache.v[token * dim + d];
      }
      // 700 roundings of weights that sum to 1 against |v| < 5: 700 * 5 * 2^-24 = 2e-4 at worst.
      EXPECT_NEAR(out[static_cast<size_t>(head * dim + d)], expected, 2e-4);
    }
  }
}

// K and V rounded to bytes, the query to 15 bits: held against exact attention over the rounded
// rows.
TEST(Attention, Int8Scalar_AgreesWithTheTextbookOverItsRoundedRows) {
  const int32_t dim = 24, tokens = 300;
  const TestCache cache(scalar_kernels(), dim, tokens, KvType::kInt8);
  const std::vector<float> q = random_floats(static_cast<size_t>(dim), 13, 2.0f);
  const std::vector<float> out = attend(scalar_kernels(), cache, q, 1);
  auto rounded = [&](const std::vector<float>& rows, int32_t token, int32_t d) {
    float largest = 0;
    for (int32_t i = 0; i < dim; ++i) largest = std::max(largest, std::fabs(rows[token * dim + i]));
    const double step = float_from_f16(f16_from_float(largest / 127.0f));
    return step * std::clamp(std::nearbyint(rows[token * dim + d] / step), -127.0, 127.0);
  };
  std::vector<double> weights(static_cast<size_t>(tokens));
  double total = 0;
  for (int32_t token = 0; token < tokens; ++token) {
    double score = 0;
    for (int32_t d = 0; d < dim; ++d) score += double{q[d]} * rounded(cache.k, token, d);
    weights[token] = std::exp(score / std::sqrt(double{dim}));
    total += weights[token];
  }
  for (int32_t d = 0; d < dim; ++d) {
    double expected = 0;
    for (int32_t token = 0; token < tokens; ++token) {
      expected += weights[token] / total * rounded(cache.v, token, d);
    }
    // A score is off by at most sum |k| * max|q| / 32512 < 24 * 4 * 6 / 32512 = 0.018 before the
    // scale of 0.2: weights change by 0.4 % at most, |v| < 5.
    EXPECT_NEAR(out[static_cast<size_t>(d)], expected, 0.004 * 5);
  }
}

TEST(Attention, ScoreBias_IsWhatWasTakenOffK) {
  const int32_t dim = 32, tokens = 200, heads = 3;
  const TestCache cache(scalar_kernels(), dim, tokens, KvType::kInt8);
  const std::vector<float> q = random_floats(static_cast<size_t>(heads * dim), 13);
  std::vector<float> bias(heads * kAttentionChunk, 0.0f);
  for (int32_t head = 0; head < heads; ++head) bias[head * kAttentionChunk + 50 + head] = 1e4f;
  for (const Kernels* kernels : runnable_kernels()) {
    const int64_t stride = attention_partial_floats(dim);
    std::vector<float> partials(static_cast<size_t>(stride * heads));
    AttentionArgs args = cache.args(q, heads, 0);
    args.score_bias = bias.data();
    args.score_bias_stride = kAttentionChunk;
    args.partials = partials.data();
    args.partial_stride = stride;
    kernels->attention_chunk(args);
    for (int32_t head = 0; head < heads; ++head) {
      std::vector<float> out(dim);
      kernels->attention_finish(partials.data() + head * stride, dim, out.data());
      for (int32_t d = 0; d < dim; ++d) {  // all weight on one token
        const float v = cache.v[(50 + head) * dim + d];
        EXPECT_NEAR(out[d], v, 5.0f / 127) << kernels->name;
      }
    }
  }
}

TEST(SumWaves, EveryIsa_GivesTheBitsOfScalar) {
  const std::vector<float> a = random_floats(9, 1), b = random_floats(9, 2);
  const std::vector<float> cosines = random_floats(9 * kAttentionChunk, 3);
  const std::vector<float> sines = random_floats(9 * kAttentionChunk, 4);
  for (const int32_t num_tokens : {1, 16, 17, 255, 256}) {
    for (const int32_t num_waves : {0, 1, 9}) {
      std::vector<float> expected(kAttentionChunk, 7.0f), found(kAttentionChunk, 7.0f);
      const int32_t rows[] = {8, 0, 3, 3, 1, 2, 7, 6, 5};
      const WavesArgs args = {a.data(),   b.data(),       rows,        num_waves,
                              num_tokens, cosines.data(), sines.data()};
      scalar_kernels().sum_waves(args, expected.data());
      for (const Kernels* kernels : fast_kernels()) {
        kernels->sum_waves(args, found.data());
        EXPECT_TRUE(same_bits(expected, found)) << kernels->name;
      }
    }
  }
}

TEST(Attention, EveryIsaHeadCountAndSize_GivesTheBitsOfScalar) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    for (const int32_t dim : {2, 8, 18, 64, 128}) {
      for (const int32_t tokens : {1, 15, 16, 17, 256, 257, 530}) {
        const TestCache cache(scalar_kernels(), dim, tokens, type);
        for (const int32_t heads : {1, 2, 3, 6, 7, 13}) {
          const std::vector<float> q = random_floats(static_cast<size_t>(heads * dim), 14);
          const std::vector<float> expected = attend(scalar_kernels(), cache, q, heads);
          for (const Kernels* kernels : fast_kernels()) {
            ASSERT_TRUE(same_bits(expected, attend(*kernels, cache, q, heads)))
                << kernels->name << " dim " << dim << " tokens " << tokens << " heads " << heads;
          }
        }
      }
    }
  }
}

TEST(KvStore, EveryIsaAndType_WritesTheBytesOfScalar) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
    for (const int32_t dim : {2, 16, 18, 128}) {
      const TestCache expected(scalar_kernels(), dim, 20, type);
      for (const Kernels* kernels : fast_kernels()) {
        EXPECT_EQ(expected.bytes, TestCache(*kernels, dim, 20, type).bytes) << kernels->name << dim;
      }
    }
  }
}

TEST(Attention, ScoresFarApart_StayFinite) {
  TestCache cache(scalar_kernels(), 64, 300, KvType::kF32);
  const std::vector<float> q = random_floats(64, 15, 1e4f);
  for (const Kernels* kernels : runnable_kernels()) {
    for (const float value : attend(*kernels, cache, q, 1)) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(Attention, NanInAQuery_MakesItsHeadNanOnly) {
  for (const KvType type : {KvType::kBF16, KvType::kInt8}) {
    const TestCache cache(scalar_kernels(), 32, 40, type);
    std::vector<float> q = random_floats(64, 15);
    q[35] = NAN;
    for (const Kernels* kernels : runnable_kernels()) {
      const std::vector<float> out = attend(*kernels, cache, q, 2);
      EXPECT_FALSE(std::isnan(out[0])) << kernels->name;
      EXPECT_TRUE(std::isnan(out[32])) << kernels->name;
    }
  }
}

// A key that is not finite must not become a plausible number.
TEST(KvStore, NanOrHugeKey_StaysNan) {
  for (const float bad : {NAN, INFINITY, 1e30f}) {
    for (const Kernels* kernels : runnable_kernels()) {
      std::vector<uint8_t> block(static_cast<size_t>(kv_head_block_bytes(32, KvType::kInt8)));
      std::vector<float> k = random_floats(32, 1), v = random_floats(32, 2),
                         q = random_floats(32, 3);
      k[5] = bad;
      kernels->kv_store({k.data(), v.data(), block.data(), 0, 32, KvType::kInt8});
      std::vector<float> partial(static_cast<size_t>(attention_partial_floats(32)));
      const int32_t id = 0;
      AttentionArgs args;
      args.q = q.data();
      args.q_stride = 32;
      args.num_heads = 1;
      args.head_dim = 32;
      args.scale = 1.0f;
      args.cache = block.data();
      args.block_stride = static_cast<int64_t>(block.size());
      args.block_ids = &id;
      args.num_tokens = 1;
      args.type = KvType::kInt8;
      args.partials = partial.data();
      kernels->attention_chunk(args);
      EXPECT_TRUE(std::isnan(partial[1])) << kernels->name << " " << bad;
    }
  }
}

}  // namespace
}  // namespace sparrow
