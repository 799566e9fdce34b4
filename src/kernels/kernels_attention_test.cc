// Attention over paged chunks: every instruction set against scalar, scalar against the textbook.

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

TEST(Attention, EveryIsaHeadCountAndSize_GivesTheBitsOfScalar) {
  for (const KvType type : {KvType::kF32, KvType::kBF16}) {
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
  for (const KvType type : {KvType::kF32, KvType::kBF16}) {
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
  const TestCache cache(scalar_kernels(), 32, 40, KvType::kBF16);
  std::vector<float> q = random_floats(64, 15);
  q[35] = NAN;
  for (const Kernels* kernels : runnable_kernels()) {
    const std::vector<float> out = attend(*kernels, cache, q, 2);
    EXPECT_FALSE(std::isnan(out[0])) << kernels->name;
    EXPECT_TRUE(std::isnan(out[32])) << kernels->name;
  }
}

}  // namespace
}  // namespace sparrow
