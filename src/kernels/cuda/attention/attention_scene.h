#pragma once
// For tests of attention: sequences in a paged cache whose other cells are poison, query rows, the
// items of a launch, and what float64 makes of them. Test support only.

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/cuda/gpu_attention.h"
#include "tensor/half.h"

namespace sparrow {

inline uint16_t round_to_x(float value, GpuFloat type) {
  return type == GpuFloat::kBF16 ? bf16_from_float(value) : f16_from_float(value);
}
inline float float_of_x(uint16_t bits, GpuFloat type) {
  return type == GpuFloat::kBF16 ? float_from_bf16(bits) : float_from_f16(bits);
}

// Keys or values of a layer on the host: every cell is NaN until it is set.
struct HostKv {
  std::vector<uint16_t> bf16;
  std::vector<int8_t> int8;
  std::vector<float> scales;

  void create(const GpuHeads& heads, GpuKvFormat format, int num_blocks) {
    const size_t tokens = static_cast<size_t>(num_blocks * heads.num_kv_heads * kGpuBlockTokens);
    const size_t elements = tokens * static_cast<size_t>(heads.head_dim);
    if (format == GpuKvFormat::kBF16) {
      bf16.assign(elements, 0xffff);
    } else {
      int8.assign(elements, 127);
      scales.assign(tokens, std::numeric_limits<float>::quiet_NaN());
    }
  }
  // token: index in [num_blocks][Nk][16].
  void set(size_t token, const std::vector<float>& row) {
    if (!bf16.empty()) {
      for (size_t d = 0; d < row.size(); ++d)
        bf16[token * row.size() + d] = bf16_from_float(row[d]);
      return;
    }
    float largest = 0;
    for (const float value : row) largest = std::max(largest, std::abs(value));
    scales[token] = largest / 127.0f;
    for (size_t d = 0; d < row.size(); ++d) {
      const float level = largest > 0 ? std::nearbyint(row[d] / scales[token]) : 0.0f;
      int8[token * row.size() + d] = static_cast<int8_t>(level);
    }
  }
  double get(size_t token, size_t d, size_t head_dim) const {
    const size_t i = token * head_dim + d;
    return bf16.empty() ? double{scales[token]} * int8[i] : float_from_bf16(bf16[i]);
  }
};

struct AttentionScene {
  struct Sequence {
    int context = 0;
    int block_begin = 0;
  };
  struct Row {
    int sequence = 0;
    int position = 0;
  };
  struct Expected {
    std::vector<double> out;  // [D]
    double magnitude = 0;     // largest |v| that the row sees
  };

  GpuHeads heads;
  GpuKvFormat format = GpuKvFormat::kBF16;
  GpuFloat x_type = GpuFloat::kBF16;
  HostKv keys, values;
  std::vector<int32_t> free_blocks;  // in random order
  std::vector<int32_t> block_ids;
  std::vector<Sequence> sequences;
  std::vector<Row> rows;
  std::vector<uint16_t> q;  // [rows][Nq * D]
  std::vector<AttentionItem> items;
  std::vector<AttentionCombineItem> combine;
  int num_partials = 0;
  std::mt19937_64 engine;
  float q_scale = 1.0f;  // larger: larger scores

  AttentionScene(GpuHeads heads_of_model, GpuKvFormat kv_format, GpuFloat type, int num_blocks,
                 uint64_t seed)
      : heads(heads_of_model), format(kv_format), x_type(type), engine(seed) {
    keys.create(heads, format, num_blocks);
    values.create(heads, format, num_blocks);
    free_blocks.resize(static_cast<size_t>(num_blocks));
    std::iota(free_blocks.begin(), free_blocks.end(), 0);
    std::shuffle(free_blocks.begin(), free_blocks.end(), engine);
  }

  int group() const { return heads.num_heads / heads.num_kv_heads; }
  std::vector<float> random_row(float scale) {
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> row(static_cast<size_t>(heads.head_dim));
    for (float& value : row) value = normal(engine);
    return row;
  }
  size_t token_of(int sequence, int position, int kv_head) const {
    const Sequence& s = sequences[static_cast<size_t>(sequence)];
    const int block = block_ids[static_cast<size_t>(s.block_begin + position / kGpuBlockTokens)];
    return static_cast<size_t>((block * heads.num_kv_heads + kv_head) * kGpuBlockTokens +
                               position % kGpuBlockTokens);
  }

  int add_sequence(int context) {
    sequences.push_back({context, static_cast<int>(block_ids.size())});
    for (int begin = 0; begin < context; begin += kGpuBlockTokens) {
      block_ids.push_back(free_blocks.back());
      free_blocks.pop_back();
    }
    const int sequence = static_cast<int>(sequences.size()) - 1;
    for (int position = 0; position < context; ++position) {
      for (int head = 0; head < heads.num_kv_heads; ++head) {
        keys.set(token_of(sequence, position, head), random_row(1.0f));
        values.set(token_of(sequence, position, head), random_row(1.0f));
      }
    }
    return sequence;
  }
  // Query rows at neighbouring positions; returns the first.
  int add_rows(int sequence, int first_position, int num_rows) {
    const int first = static_cast<int>(rows.size());
    for (int i = 0; i < num_rows; ++i) {
      rows.push_back({sequence, first_position + i});
      for (int head = 0; head < heads.num_heads; ++head) {
        for (const float value : random_row(q_scale)) q.push_back(round_to_x(value, x_type));
      }
    }
    return first;
  }
  AttentionItem item_of(int first_row, int num_rows) const {
    const Row& row = rows[static_cast<size_t>(first_row)];
    AttentionItem item;
    item.first_row = first_row;
    item.num_rows = num_rows;
    item.first_position = row.position;
    item.block_begin = sequences[static_cast<size_t>(row.sequence)].block_begin;
    item.kv_end = row.position + num_rows;
    return item;
  }
  void add_item(int first_row, int num_rows) { items.push_back(item_of(first_row, num_rows)); }
  // Items of split_tokens positions each, and how to merge their rows.
  void add_split(int first_row, int num_rows, int split_tokens) {
    const AttentionItem whole = item_of(first_row, num_rows);
    const int first_partial = num_partials;
    int num_splits = 0;
    for (int begin = 0; begin < whole.kv_end; begin += split_tokens, ++num_splits) {
      AttentionItem item = whole;
      item.range = num_splits;
      item.num_ranges = (whole.kv_end + split_tokens - 1) / split_tokens;
      item.kv_begin = begin;
      item.kv_end = std::min(begin + split_tokens, whole.kv_end);
      item.partial = first_partial + num_splits * num_rows;
      items.push_back(item);
    }
    num_partials += num_splits * num_rows;
    for (int i = 0; i < num_rows; ++i) {
      combine.push_back({first_row + i, num_splits, first_partial + i, num_rows});
    }
  }
  void add_padding() { items.push_back(AttentionItem{}); }
  void add_combine_padding() { combine.push_back(AttentionCombineItem{}); }
  int max_item_rows() const {
    int most = 1;
    for (const AttentionItem& item : items) most = std::max(most, item.num_rows);
    return most;
  }

  // From the values as the cache and q hold them.
  Expected expect(int row, int head) const {
    const Row& r = rows[static_cast<size_t>(row)];
    const auto dim = static_cast<size_t>(heads.head_dim);
    const int kv_head = head / group();
    const uint16_t* query = q.data() + static_cast<size_t>(row * heads.num_heads + head) * dim;
    std::vector<double> scores;
    for (int position = 0; position <= r.position; ++position) {
      const size_t token = token_of(r.sequence, position, kv_head);
      double score = 0;
      for (size_t d = 0; d < dim; ++d)
        score += float_of_x(query[d], x_type) * keys.get(token, d, dim);
      scores.push_back(score / std::sqrt(static_cast<double>(dim)));
    }
    const double maximum = *std::max_element(scores.begin(), scores.end());
    Expected expected;
    expected.out.assign(dim, 0.0);
    double sum = 0;
    for (int position = 0; position <= r.position; ++position) {
      const size_t token = token_of(r.sequence, position, kv_head);
      const double weight = std::exp(scores[static_cast<size_t>(position)] - maximum);
      sum += weight;
      for (size_t d = 0; d < dim; ++d) {
        const double v = values.get(token, d, dim);
        expected.out[d] += weight * v;
        expected.magnitude = std::max(expected.magnitude, std::abs(v));
      }
    }
    for (double& value : expected.out) value /= sum;
    return expected;
  }
};

}  // namespace sparrow
