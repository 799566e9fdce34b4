// The attention oracle: scores of one chunk, softmax against the chunk's own maximum, weighted sum
// of V. Chunks are joined by the rule of online softmax (Milakov & Gimelshein 2018).

#include <cmath>
#include <cstring>

#include "kernels/int8_row.h"
#include "kernels/scalar/scalar_kernels.h"
#include "kernels/scalar/scalar_math.h"

namespace sparrow::scalar {
namespace {

float load_element(const uint8_t* base, int64_t index, KvType type) {
  if (type == KvType::kF32) {
    float value;
    std::memcpy(&value, base + index * 4, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, base + index * 2, 2);
  return float_from_bf16(half);
}

void store_element(uint8_t* base, int64_t index, float value, KvType type) {
  if (type == KvType::kF32) {
    std::memcpy(base + index * 4, &value, 4);
  } else {
    const uint16_t half = bf16_from_float(value);
    std::memcpy(base + index * 2, &half, 2);
  }
}

int64_t k_elements(int32_t head_dim) { return int64_t{head_dim} * kKvBlockTokens; }

int64_t v_index(int32_t slot, int32_t dim) {
  return (dim / 16 * kKvBlockTokens + slot) * 16 + dim % 16;
}

int64_t element_bytes(KvType type) { return type == KvType::kF32 ? 4 : 2; }

// Parts of a block of bytes: fp16 scales of K and of V, K, V.
constexpr int64_t kInt8VScales = 2 * kKvBlockTokens;
constexpr int64_t kInt8Values = 4 * kKvBlockTokens;

int64_t int8_k_index(int32_t slot, int32_t dim) {
  return kInt8Values + (dim / 4 * kKvBlockTokens + slot) * 4 + dim % 4;
}

int64_t int8_v_index(int32_t slot, int32_t dim, int32_t head_dim) {
  return kInt8Values + (head_dim + 3) / 4 * 4 * kKvBlockTokens + v_index(slot, dim);
}

void store_u16(uint8_t* bytes, uint16_t value) { std::memcpy(bytes, &value, 2); }

float load_scale(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return float_from_f16(half);
}

void kv_store_int8(const KvStoreArgs& args) {
  const uint16_t k_scale = int8_row_scale(args.k, args.head_dim);
  const uint16_t v_scale = int8_row_scale(args.v, args.head_dim);
  store_u16(args.block + args.slot * 2, k_scale);
  store_u16(args.block + kInt8VScales + args.slot * 2, v_scale);
  auto put = [&](int64_t index, int8_t value) { args.block[index] = static_cast<uint8_t>(value); };
  for (int32_t dim = 0; dim < args.head_dim; ++dim) {
    put(int8_k_index(args.slot, dim), int8_of(args.k[dim], k_scale));
    put(int8_v_index(args.slot, dim, args.head_dim), int8_of(args.v[dim], v_scale));
  }
  for (int32_t dim = args.head_dim; dim % 4 != 0; ++dim) put(int8_k_index(args.slot, dim), 0);
  for (int32_t dim = args.head_dim; dim % 16 != 0; ++dim) {
    put(int8_v_index(args.slot, dim, args.head_dim), 0);
  }
}

float int8_score(const AttentionArgs& args, const Int8Query& query, const uint8_t* block,
                 int32_t slot) {
  int32_t high = 0, low = 0;
  for (int32_t dim = 0; dim < args.head_dim; ++dim) {
    const auto k = static_cast<int8_t>(block[int8_k_index(slot, dim)]);
    high += query.high[dim] * k;
    low += query.low[dim] * k;
  }
  const float dot = std::fma(static_cast<float>(high), 128.0f, static_cast<float>(low));
  return dot * (query.scale * load_scale(block + slot * 2));
}

}  // namespace

void kv_store(const KvStoreArgs& args) {
  if (args.type == KvType::kInt8) return kv_store_int8(args);
  uint8_t* v_base = args.block + k_elements(args.head_dim) * element_bytes(args.type);
  for (int32_t dim = 0; dim < args.head_dim; ++dim) {
    store_element(args.block, int64_t{dim} * kKvBlockTokens + args.slot, args.k[dim], args.type);
    store_element(v_base, v_index(args.slot, dim), args.v[dim], args.type);
  }
  for (int32_t dim = args.head_dim; dim % 16 != 0; ++dim) {
    store_element(v_base, v_index(args.slot, dim), 0.0f, args.type);
  }
}

void attention_chunk(const AttentionArgs& args) {
  float weights[kAttentionChunk];
  for (int32_t head = 0; head < args.num_heads; ++head) {
    const float* q = args.q + head * args.q_stride;
    float maximum = float_from_bits(0xff800000u);
    Int8Query query;
    if (args.type == KvType::kInt8) split_query(q, args.head_dim, &query);
    for (int32_t token = 0; token < args.num_tokens; ++token) {
      const uint8_t* block = args.cache + args.block_ids[token / 16] * args.block_stride;
      float score = 0.0f;
      if (args.type == KvType::kInt8) {
        score = int8_score(args, query, block, token % 16);
      } else {
        for (int32_t dim = 0; dim < args.head_dim; ++dim) {
          const float k =
              load_element(block, int64_t{dim} * kKvBlockTokens + token % 16, args.type);
          score = std::fma(q[dim], k, score);
        }
      }
      if (args.score_bias != nullptr) {
        score += args.score_bias[head * args.score_bias_stride + token];
      }
      weights[token] = score * args.scale;
      if (weights[token] > maximum) maximum = weights[token];
    }
    float* partial = args.partials + head * args.partial_stride;
    partial[0] = maximum;
    partial[1] = exp_sum(weights, args.num_tokens, maximum);
    for (int32_t dim = 0; dim < args.head_dim; ++dim) {
      float sum = 0.0f;
      for (int32_t token = 0; token < args.num_tokens; ++token) {
        const uint8_t* block = args.cache + args.block_ids[token / 16] * args.block_stride;
        if (args.type == KvType::kInt8) {
          const float scale = load_scale(block + kInt8VScales + token % 16 * 2);
          const auto v = static_cast<int8_t>(block[int8_v_index(token % 16, dim, args.head_dim)]);
          sum = std::fma(weights[token] * scale, static_cast<float>(v), sum);
          continue;
        }
        const uint8_t* v_base = block + k_elements(args.head_dim) * element_bytes(args.type);
        const float v = load_element(v_base, v_index(token % 16, dim), args.type);
        sum = std::fma(weights[token], v, sum);
      }
      partial[kPartialHeader + dim] = sum;
    }
    for (int32_t dim = args.head_dim; dim % 16 != 0; ++dim) partial[kPartialHeader + dim] = 0.0f;
  }
}

void sum_waves(const WavesArgs& args, float* out) {
  for (int32_t token = 0; token < (args.num_tokens + 15) / 16 * 16; ++token) {
    float sum = 0.0f;
    for (int32_t wave = 0; wave < args.num_waves; ++wave) {
      const int32_t at = args.rows[wave] * kAttentionChunk + token;
      sum = std::fma(args.a[wave], args.cosines[at], sum);
      sum = std::fma(args.b[wave], args.sines[at], sum);
    }
    out[token] = sum;
  }
}

void attention_merge(float* running, const float* next, int32_t head_dim) {
  const float maximum = running[0] > next[0] ? running[0] : next[0];
  const float keep = exponential(running[0] - maximum);
  const float join = exponential(next[0] - maximum);
  running[0] = maximum;
  running[1] = std::fma(next[1], join, running[1] * keep);
  for (int32_t dim = 0; dim < head_dim; ++dim) {
    float& sum = running[kPartialHeader + dim];
    sum = std::fma(next[kPartialHeader + dim], join, sum * keep);
  }
}

void attention_finish(const float* running, int32_t head_dim, float* out) {
  const float inverse = 1.0f / running[1];
  for (int32_t dim = 0; dim < head_dim; ++dim) out[dim] = running[kPartialHeader + dim] * inverse;
}

}  // namespace sparrow::scalar
