#include "model/cuda/plans/gpu_workspace_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/random.h"
#include "core/sampling_params.h"
#include "model/cuda/plans/r1_shapes_test_support.h"

namespace sparrow {
namespace {

GpuWorkspaceSizes h200_sizes() {
  GpuWorkspaceSizes sizes;
  sizes.max_rows = 512;
  sizes.max_logit_rows = 64;
  sizes.num_slots = 64;
  sizes.max_graph_rows = 64;
  sizes.attention.num_kv_heads = 2;
  sizes.attention.num_sms = 132;
  sizes.attention.max_rows = 512;
  sizes.attention.max_spans = 64;
  sizes.attention.max_context = 4096;
  return sizes;
}

void expect_disjoint_and_aligned(const GpuWorkspaceLayout& layout) {
  int64_t end = 0, sum = 0;
  for (const auto& [name, region] : layout.regions()) {
    ASSERT_EQ(region.offset % kGpuAlignment, 0) << name;
    ASSERT_GE(region.offset, end) << name << " overlaps the buffer before it";
    ASSERT_LT(region.offset - end, kGpuAlignment) << name << " leaves a hole";
    end = region.offset + region.bytes;
    sum += region.bytes;
  }
  ASSERT_GE(layout.total_bytes, end);
  ASSERT_LT(layout.total_bytes - sum,
            static_cast<int64_t>(layout.regions().size()) * kGpuAlignment);
}

TEST(GpuWorkspaceLayout, BuffersOfR1_HaveTheSizesOfTheirShapes) {
  const GpuWorkspaceLayout layout = make_gpu_workspace_layout(r1_config(), h200_sizes());
  std::map<std::string, int64_t> bytes;
  for (const auto& [name, region] : layout.regions()) bytes[name] = region.bytes;
  EXPECT_EQ(bytes["x"], 512 * 1536 * 4);
  EXPECT_EQ(bytes["hidden"], 512 * 1536 * 2);
  EXPECT_EQ(bytes["qkv"], 512 * 2048 * 4);
  EXPECT_EQ(bytes["attended"], 512 * 1536 * 2);
  EXPECT_EQ(bytes["activated"], 512 * 8960 * 2);
  EXPECT_EQ(bytes["rope"], 4096 * 128 * 4);
  EXPECT_EQ(bytes["partial_out"], 132 * 16 * 12 * 128 * 4);  // seats x tile x heads x D
  EXPECT_EQ(bytes["partial_max"], 132 * 16 * 12 * 4);
  EXPECT_EQ(bytes["partial_sum"], 132 * 16 * 12 * 4);
  EXPECT_EQ(bytes["arrivals"], 132 * 16 * 12 * 4);
  EXPECT_EQ(bytes["logit_inputs"], 64 * 1536 * 2);
  EXPECT_EQ(bytes["logits"], 64 * 151936 * 4);
  EXPECT_EQ(bytes["masks"], 512 * 4748 * 4);
  EXPECT_EQ(bytes["logit_biases"], 64 * kMaxLogitBias * 8);
  EXPECT_EQ(bytes["token_counts"], 64 * 151936 * 2);
  // Four numbers a row, 132 items, a combine a row, 64 tables of 256 blocks.
  EXPECT_EQ(bytes["step_data"], 4 * 512 * 4 + 132 * 36 + 512 * 16 + 64 * 256 * 4);
  EXPECT_EQ(bytes.size(), layout.regions().size()) << "two buffers of one name";
  expect_disjoint_and_aligned(layout);
}

TEST(GpuWorkspaceLayout, RandomSizes_NeverOverlap) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    uint64_t counter = 0;
    const auto draw = [&](uint64_t bound) {
      return static_cast<int32_t>(1 + random_bits(seed, 7, ++counter) % bound);
    };
    ModelConfig config;
    config.hidden_size = draw(5000);
    config.intermediate_size = draw(9000);
    config.num_layers = draw(40);
    config.num_kv_heads = draw(8);
    config.num_heads = config.num_kv_heads * draw(8);
    config.head_dim = 2 * draw(128);
    config.vocab_size = draw(200000);
    GpuWorkspaceSizes sizes = h200_sizes();
    sizes.max_rows = draw(2000);
    sizes.max_logit_rows = std::min(draw(300), sizes.max_rows);
    sizes.num_slots = draw(600);
    sizes.max_graph_rows = std::min(draw(600), sizes.max_rows) - 1;
    sizes.attention.num_kv_heads = config.num_kv_heads;
    sizes.attention.max_rows = sizes.max_rows;
    sizes.attention.max_spans = sizes.num_slots;
    sizes.attention.max_context = draw(100000);
    sizes.attention.batch_invariant = draw(2) == 1;
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    ASSERT_NO_FATAL_FAILURE(expect_disjoint_and_aligned(make_gpu_workspace_layout(config, sizes)));
  }
}

}  // namespace
}  // namespace sparrow
