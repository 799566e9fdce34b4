#pragma once
// Runs an AttentionScene on a device and compares it with float64. Test support only.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/attention/attention_scene.h"
#include "kernels/cuda/gpu_test_support.h"

namespace sparrow {

class AttentionTest : public GpuTest {
 protected:
  // [rows][Nq * D] bits of x_type; rows that nothing wrote keep the pattern 0xffff, a NaN. Ranges
  // are merged by attention_combine and by the attention kernel itself; up to 16 of them give the
  // same bits, more are merged in another order: then the latter's are returned.
  std::vector<uint16_t> run_bits(const AttentionScene& scene, bool has_matrix_units = false) {
    Memory memory(*this, scene);
    GpuAttentionArgs args = memory.args;
    args.has_matrix_units = has_matrix_units;
    const std::vector<uint16_t> combined = run_once(memory, args, true);
    args.arrivals = memory.arrivals.as<int32_t>();
    const std::vector<uint16_t> merged = run_once(memory, args, false);
    EXPECT_EQ(run_once(memory, args, false), merged) << "the counters are not zeros again";
    const auto most_ranges =
        std::max_element(scene.items.begin(), scene.items.end(),
                         [](const auto& a, const auto& b) { return a.num_ranges < b.num_ranges; });
    if (most_ranges != scene.items.end() && most_ranges->num_ranges > 16) {
      expect_agrees(scene, combined, has_matrix_units);
    } else {
      EXPECT_EQ(merged, combined);
    }
    return merged;
  }

  // The result is rounded once to x_type, relative to at most the largest |v| seen: half a step is
  // 2^-8 of it (bf16) or 2^-11 (fp16). Scores are fp32 sums of up to 256 products of some size 1,
  // their weights and the sums of up to 700 weights relative errors of some 1e-5 each: 1e-4 covers
  // them. Matrix units take weights rounded to x_type too, and int8 values rounded to it.
  static double tolerance(const AttentionScene& scene, double magnitude, bool has_matrix_units) {
    const double step = scene.x_type == GpuFloat::kBF16 ? 0x1p-8 : 0x1p-11;
    double roundings = 1;
    if (has_matrix_units) roundings += scene.format == GpuKvFormat::kInt8 ? 2 : 1;
    return magnitude * (roundings * step + 1e-4);
  }

  void expect_agrees(const AttentionScene& scene, const std::vector<uint16_t>& found,
                     bool has_matrix_units = false) {
    const auto dim = static_cast<size_t>(scene.heads.head_dim);
    for (int row = 0; row < static_cast<int>(scene.rows.size()); ++row) {
      for (int head = 0; head < scene.heads.num_heads; ++head) {
        const AttentionScene::Expected expected = scene.expect(row, head);
        const double allowed = tolerance(scene, expected.magnitude, has_matrix_units);
        const size_t begin = static_cast<size_t>(row * scene.heads.num_heads + head) * dim;
        for (size_t d = 0; d < dim; ++d) {
          const double value = float_of_x(found[begin + d], scene.x_type);
          ASSERT_NEAR(value, expected.out[d], allowed)
              << "row " << row << ", head " << head << ", element " << d;
        }
      }
    }
  }

 private:
  // A scene in device memory, and what its launches are told.
  struct Memory {
    GpuBuffer q, items, block_ids, combine, keys16, keys8, values16, values8, key_scales,
        value_scales, partial_out, partial_max, partial_sum, arrivals, out;
    size_t width;  // of a row
    GpuAttentionArgs args;

    Memory(AttentionTest& test, const AttentionScene& scene) {
      const GpuHeads& heads = scene.heads;
      const auto partials = static_cast<size_t>(scene.num_partials * heads.num_heads);
      q = test.upload(scene.q);
      items = test.upload(scene.items);
      block_ids = test.upload(scene.block_ids);
      combine = test.upload(scene.combine);
      keys16 = test.upload(scene.keys.bf16);
      keys8 = test.upload(scene.keys.int8);
      values16 = test.upload(scene.values.bf16);
      values8 = test.upload(scene.values.int8);
      key_scales = test.upload(scene.keys.scales);
      value_scales = test.upload(scene.values.scales);
      partial_out = test.make<float>(partials * static_cast<size_t>(heads.head_dim));
      partial_max = test.make<float>(partials);
      partial_sum = test.make<float>(partials);
      arrivals = test.upload(std::vector<int32_t>(partials));
      // A row more in front: padding has row -1.
      width = static_cast<size_t>(heads.num_heads * heads.head_dim);
      out = test.make<uint16_t>(width + scene.q.size());
      const bool is_int8 = scene.format == GpuKvFormat::kInt8;
      args.heads = heads;
      args.cache.format = scene.format;
      args.cache.keys = is_int8 ? keys8.as<void>() : keys16.as<void>();
      args.cache.values = is_int8 ? values8.as<void>() : values16.as<void>();
      args.cache.key_scales = key_scales.as<float>();
      args.cache.value_scales = value_scales.as<float>();
      args.q = q.as<void>();
      args.x_type = scene.x_type;
      args.items = items.as<AttentionItem>();
      args.num_items = static_cast<int32_t>(scene.items.size());
      args.max_item_rows = scene.max_item_rows();
      args.block_ids = block_ids.as<int32_t>();
      args.partial_out = partial_out.as<float>();
      args.partial_max = partial_max.as<float>();
      args.partial_sum = partial_sum.as<float>();
      args.out = out.as<void>(width * sizeof(uint16_t));
      args.combine = combine.as<AttentionCombineItem>();
      args.num_combine = static_cast<int32_t>(scene.combine.size());
    }
  };
  std::vector<uint16_t> run_once(Memory& memory, const GpuAttentionArgs& args, bool combines) {
    device().fill(memory.out.as<void>(), 0xff, memory.out.size_bytes());
    kernels().attention(stream(), args);
    if (combines) kernels().attention_combine(stream(), args);
    const size_t count = memory.out.size_bytes() / sizeof(uint16_t);
    const std::vector<uint16_t> found = download<uint16_t>(memory.out, count);
    const auto begin = found.begin() + static_cast<ptrdiff_t>(memory.width);
    EXPECT_EQ(std::count(found.begin(), begin, 0xffff), static_cast<ptrdiff_t>(memory.width));
    return {begin, found.end()};
  }

 protected:
  std::vector<uint16_t> row_bits(const AttentionScene& scene, const std::vector<uint16_t>& found,
                                 int row) {
    const auto width = static_cast<ptrdiff_t>(scene.heads.num_heads * scene.heads.head_dim);
    return {found.begin() + row * width, found.begin() + (row + 1) * width};
  }
};

}  // namespace sparrow
