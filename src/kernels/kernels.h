#pragma once
// Kernels: the arithmetic of the forward pass as one table of plain functions per instruction set
// (cpu_features.h picks a table). Every function is single-threaded and re-entrant; the caller
// splits strips, rows or chunks between threads. Plain data only: ISA files include this header.
//
// Contract (docs/architecture.md): one output element is one chain of operations. Integer sums stay
// inside a block (32 to 256 inputs or the whole row, by format), fp32 fma runs over blocks (plain
// formats: over inputs) in ascending order, sums over a whole row use 16 partial sums (element i
// belongs to partial i % 16) joined by one fixed tree. So results do not depend on batch, split or
// thread count, and the tables of all instruction sets return the same bits.
//
// Pointers need not be aligned except packed weights (64 bytes). NaN and infinities propagate. No
// kernel reads or writes outside the sizes given here; software prefetches may point anywhere. Of a
// KV block all 16 slots may be read, stored or not: the memory is there, its values do not count.

#include <stddef.h>
#include <stdint.h>

namespace sparrow {

constexpr int kStripRows = 32;        // rows of a packed matrix computed together
constexpr int kGroupSize = 32;        // inputs of one group sum; grouped rows are multiples
constexpr int kKvBlockTokens = 16;    // tokens of one KV block
constexpr int kAttentionChunk = 256;  // tokens of one attention chunk, counted from position 0

// kI4G*, kI8G*: 4 and 8-bit integers with one fp32 scale (and zero point) per 32, 64 or 128 inputs;
// kI8Row: 8-bit integers with one fp32 scale per row.
enum class WeightFormat : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kI4G32,
  kI4G64,
  kI4G128,
  kI8G32,
  kI8G64,
  kI8G128,
  kI8Row,
};
enum class KvType : uint8_t { kF32, kBF16, kInt8 };

// A packed matrix as kernels see it: strips of 32 rows one after the other (packed_matrix.h).
//   plain formats    per input k: [32 rows]
//   grouped formats  per block of 32 to 256 inputs, or once per row: scales; and codes four inputs
//                    of a row together (strip_layout.h). As many bits as the file has, but that
//                    codes of 2 and 3 bits take 4 here.
struct PackedView {
  const uint8_t* data = nullptr;
  int64_t strip_bytes = 0;
  int64_t rows = 0;
  int64_t cols = 0;
  WeightFormat format = WeightFormat::kF32;
};

// Inputs of a product, one row per token. Plain formats read `plain`, group formats the rest.
struct ActivationsView {
  int64_t num_tokens = 0;
  const float* plain = nullptr;  // [num_tokens][plain_stride]
  int64_t plain_stride = 0;
  const int8_t* quantized = nullptr;  // [num_tokens][quantized_stride], within [-127, 127]
  int64_t quantized_stride = 0;
  const float* scales = nullptr;        // [num_tokens]
  const int32_t* group_sums = nullptr;  // [num_tokens][group_stride]: sum of each group of 32
  int64_t group_stride = 0;
  const int32_t* half_sums = nullptr;  // [num_tokens][2 group_stride]: sum of each 16
};

// out[token][row] = weights[row] . inputs[token] (+ bias[row]) (added to out if accumulate), for
// the rows of strips [strip_begin, strip_end).
struct GemmArgs {
  PackedView weights;
  ActivationsView inputs;
  int64_t strip_begin = 0;
  int64_t strip_end = 0;
  const float* bias = nullptr;  // [weights.rows] or null
  bool accumulate = false;
  float* out = nullptr;  // [num_tokens][out_stride]
  int64_t out_stride = 0;
};

// Quantizes rows to int8 with one scale per row: x ~ scale * quantized. cols is a multiple of 32. A
// row with a NaN or infinity gets the scale NaN; a row below 1e-30 in magnitude becomes zero.
struct QuantizeArgs {
  const float* x = nullptr;  // [num_tokens][x_stride]
  int64_t x_stride = 0;
  int64_t num_tokens = 0;
  int64_t cols = 0;
  int8_t* quantized = nullptr;
  int64_t quantized_stride = 0;
  float* scales = nullptr;
  int32_t* group_sums = nullptr;
  int64_t group_stride = 0;
  int32_t* half_sums = nullptr;
};

// One KV block of one KV head holds 16 tokens. kF32, kBF16: K as [head_dim][16 tokens], then V as
// [ceil(head_dim / 16)][16 tokens][16 dims] with zeros behind head_dim. kInt8: 16 fp16 scales of K,
// 16 of V, then K as [ceil(head_dim / 4)][16 tokens][4] and V as above, signed bytes; the scale
// belongs to one token and head, value = scale * byte.
// Appends one token's K and V of one head at `slot` (0..15) of `block`.
struct KvStoreArgs {
  const float* k = nullptr;  // [head_dim], rotated
  const float* v = nullptr;  // [head_dim]
  uint8_t* block = nullptr;
  int32_t slot = 0;
  int32_t head_dim = 0;
  KvType type = KvType::kBF16;
};

// Attention of one token's query heads that share a KV head over one chunk: the tokens
// [256 c, 256 c + num_tokens) of the sequence. Writes one partial result per head.
struct AttentionArgs {
  const float* q = nullptr;  // [num_heads][q_stride], rotated
  int64_t q_stride = 0;
  int32_t num_heads = 0;
  int32_t head_dim = 0;
  float scale = 0.0f;                  // usually 1 / sqrt(head_dim)
  const uint8_t* cache = nullptr;      // block b of this KV head lies at cache + b * block_stride
  int64_t block_stride = 0;            // bytes
  const int32_t* block_ids = nullptr;  // of this chunk: ceil(num_tokens / 16)
  int32_t num_tokens = 0;              // 1..256, those the query may see
  KvType type = KvType::kBF16;
  // Added to every q.k before the scale, or null: what was taken off K when it was stored (kInt8).
  // [num_heads][score_bias_stride], one value a token; num_tokens rounded up to 16 are read.
  const float* score_bias = nullptr;
  int64_t score_bias_stride = 0;
  float* partials = nullptr;  // [num_heads][partial_stride]: see attention_partial_floats()
  int64_t partial_stride = 0;
};

struct WavesArgs {
  const float* a = nullptr;  // [num_waves]
  const float* b = nullptr;
  const int32_t* rows = nullptr;  // [num_waves]: of the tables
  int32_t num_waves = 0;
  int32_t num_tokens = 0;
  const float* cosines = nullptr;  // [rows][kAttentionChunk]
  const float* sines = nullptr;
};

struct Kernels {
  const char* name = "";  // one of kIsaNames (cpu_features.h)

  void (*gemm)(const GemmArgs& args) = nullptr;
  void (*quantize)(const QuantizeArgs& args) = nullptr;
  // out[i] = x[i] / sqrt(mean(x^2) + epsilon) * weight[i]; out may be x.
  void (*rms_norm)(const float* x, const float* weight, int64_t size, float epsilon,
                   float* out) = nullptr;
  // Rotates num_heads heads in place, pairs (i, i + head_dim / 2); cos_table and sin_table hold
  // head_dim / 2 values of the token's position.
  void (*rope)(float* heads, int64_t head_stride, int32_t num_heads, int32_t head_dim,
               const float* cos_table, const float* sin_table) = nullptr;
  // out[i] = silu(gate[i]) * up[i]; out may be gate or up.
  void (*silu_mul)(const float* gate, const float* up, int64_t size, float* out) = nullptr;
  // sum[i] += x[i].
  void (*add)(float* sum, const float* x, int64_t size) = nullptr;
  // x[i] = exp(x[i] - maximum); returns the sum (16 partial sums and a tree).
  float (*exp_sum)(float* x, int64_t size, float maximum) = nullptr;
  void (*kv_store)(const KvStoreArgs& args) = nullptr;
  void (*attention_chunk)(const AttentionArgs& args) = nullptr;
  // out[token] = sum over waves w, ascending, of a[w] * cosines[rows[w]][token] + b[w] *
  // sines[...]; tables hold kAttentionChunk values a row. Writes num_tokens rounded up to 16
  // values.
  void (*sum_waves)(const WavesArgs& args, float* out) = nullptr;
  // running = running joined with next, the following chunk of the same head.
  void (*attention_merge)(float* running, const float* next, int32_t head_dim) = nullptr;
  // out[head_dim] from the joined chunks.
  void (*attention_finish)(const float* running, int32_t head_dim, float* out) = nullptr;
  // Reads every byte (for the bandwidth probe); returns something that depends on all of them.
  uint64_t (*read_bytes)(const void* data, size_t size) = nullptr;
  // Runs independent int8 dot products in registers; returns the operations done (probe of peak).
  uint64_t (*dot_peak)(int64_t iterations) = nullptr;
};

// Floats of one partial: [0] maximum score, [1] sum of weights, [16 ...] unnormalised output.
constexpr int kPartialHeader = 16;
static inline int64_t attention_partial_floats(int32_t head_dim) {
  return kPartialHeader + (head_dim + 15) / 16 * 16;
}
// Bytes of one KV block of one KV head.
static inline int64_t kv_head_block_bytes(int32_t head_dim, KvType type) {
  const int64_t padded = (head_dim + 15) / 16 * 16;
  if (type == KvType::kInt8) {
    return (4 + (head_dim + 3) / 4 * 4 + padded) * kKvBlockTokens;
  }
  return (head_dim + padded) * kKvBlockTokens * (type == KvType::kF32 ? 4 : 2);
}

}  // namespace sparrow
