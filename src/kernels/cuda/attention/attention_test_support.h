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
  // [rows][Nq * D] bits of x_type; rows that nothing wrote keep the pattern 0xffff, a NaN.
  std::vector<uint16_t> run_bits(const AttentionScene& scene, bool has_matrix_units = false) {
    const GpuHeads& heads = scene.heads;
    const auto partials = static_cast<size_t>(scene.num_partials * heads.num_heads);
    const GpuBuffer q = upload(scene.q), items = upload(scene.items);
    const GpuBuffer block_ids = upload(scene.block_ids), combine = upload(scene.combine);
    const GpuBuffer keys16 = upload(scene.keys.bf16), keys8 = upload(scene.keys.int8);
    const GpuBuffer values16 = upload(scene.values.bf16), values8 = upload(scene.values.int8);
    const GpuBuffer key_scales = upload(scene.keys.scales);
    const GpuBuffer value_scales = upload(scene.values.scales);
    const GpuBuffer partial_out = make<float>(partials * static_cast<size_t>(heads.head_dim));
    const GpuBuffer partial_max = make<float>(partials), partial_sum = make<float>(partials);
    // A row more in front: padding has row -1.
    const auto width = static_cast<size_t>(heads.num_heads * heads.head_dim);
    const GpuBuffer out = make<uint16_t>(width + scene.q.size());
    const bool is_int8 = scene.format == GpuKvFormat::kInt8;
    GpuAttentionArgs args;
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
    args.has_matrix_units = has_matrix_units;
    kernels().attention(stream(), args);
    kernels().attention_combine(stream(), args);
    std::vector<uint16_t> found = download<uint16_t>(out, width + scene.q.size());
    const auto begin = found.begin() + static_cast<ptrdiff_t>(width);
    EXPECT_EQ(std::count(found.begin(), begin, 0xffff), static_cast<ptrdiff_t>(width));
    return {begin, found.end()};
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
  std::vector<uint16_t> row_bits(const AttentionScene& scene, const std::vector<uint16_t>& found,
                                 int row) {
    const auto width = static_cast<ptrdiff_t>(scene.heads.num_heads * scene.heads.head_dim);
    return {found.begin() + row * width, found.begin() + (row + 1) * width};
  }
};

}  // namespace sparrow
