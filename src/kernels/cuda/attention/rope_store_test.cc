#include <array>
#include <cmath>

#include "kernels/cuda/attention/attention_scene.h"
#include "kernels/cuda/gpu_test_support.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int kBlocks = 5;
constexpr int kMaxContext = 50;

struct Rope {
  std::vector<float> table;  // [kMaxContext][D]
  explicit Rope(int head_dim) {
    for (int position = 0; position < kMaxContext; ++position) {
      for (const bool sine : {false, true}) {
        for (int i = 0; i < head_dim / 2; ++i) {
          const double angle = position * std::pow(10000.0, -2.0 * i / head_dim);
          table.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
        }
      }
    }
  }
};

struct Stored {
  std::vector<uint16_t> q;
  HostKv keys, values;
};

class RopeStore : public GpuTest {
 protected:
  Stored run(const GpuHeads& heads, GpuKvFormat format, GpuFloat type,
             const std::vector<float>& qkv, const std::vector<int32_t>& positions,
             const std::vector<int32_t>& cells) {
    Stored stored;
    stored.keys.create(heads, format, kBlocks);
    stored.values.create(heads, format, kBlocks);
    const GpuBuffer qkv_gpu = upload(qkv), positions_gpu = upload(positions);
    const GpuBuffer cells_gpu = upload(cells), rope_gpu = upload(Rope(heads.head_dim).table);
    const size_t num_q = cells.size() * static_cast<size_t>(heads.num_heads * heads.head_dim);
    const GpuBuffer q = make<uint16_t>(num_q);
    const GpuBuffer k16 = upload(stored.keys.bf16), v16 = upload(stored.values.bf16);
    const GpuBuffer k8 = upload(stored.keys.int8), v8 = upload(stored.values.int8);
    const GpuBuffer k_scales = upload(stored.keys.scales), v_scales = upload(stored.values.scales);
    const bool is_int8 = format == GpuKvFormat::kInt8;
    RopeStoreArgs args;
    args.heads = heads;
    args.qkv = qkv_gpu.as<float>();
    args.positions = positions_gpu.as<int32_t>();
    args.cells = cells_gpu.as<int32_t>();
    args.rope = rope_gpu.as<float>();
    args.q_out = q.as<void>();
    args.x_type = type;
    args.cache = {format, is_int8 ? k8.as<void>() : k16.as<void>(),
                  is_int8 ? v8.as<void>() : v16.as<void>(), k_scales.as<float>(),
                  v_scales.as<float>()};
    args.num_rows = static_cast<int32_t>(cells.size());
    kernels().rope_store(stream(), args);
    stored.q = download<uint16_t>(q, num_q);
    stored.keys.bf16 = download<uint16_t>(k16, stored.keys.bf16.size());
    stored.values.bf16 = download<uint16_t>(v16, stored.values.bf16.size());
    stored.keys.int8 = download<int8_t>(k8, stored.keys.int8.size());
    stored.values.int8 = download<int8_t>(v8, stored.values.int8.size());
    stored.keys.scales = download<float>(k_scales, stored.keys.scales.size());
    stored.values.scales = download<float>(v_scales, stored.values.scales.size());
    return stored;
  }
};

// x[i] cos - x[i + D/2] sin and x[i + D/2] cos + x[i] sin in fp32, as transformers rounds them.
std::vector<float> rotated(const float* x, int head_dim, const float* rope) {
  const int half = head_dim / 2;
  std::vector<float> out(static_cast<size_t>(head_dim));
  for (int i = 0; i < half; ++i) {
    const float a = x[i] * rope[i], b = x[half + i] * rope[half + i];
    const float c = x[half + i] * rope[i], d = x[i] * rope[half + i];
    out[static_cast<size_t>(i)] = a - b;
    out[static_cast<size_t>(half + i)] = c + d;
  }
  return out;
}

const std::vector<int32_t> kPositions = {0, 49, 7, 13, 21};
const std::vector<int32_t> kCells = {79, 0, -1, 17, 33};

// Exactly the rounded values: the arithmetic is products and sums that no compiler may fuse.
TEST_P(RopeStore, EveryShape_RotatedRoundedAndStoredWhereTheCellSays) {
  for (const GpuHeads& heads :
       {GpuHeads{4, 2, 32}, {12, 2, 128}, {1, 1, 2}, {3, 1, 6}, {7, 1, 256}}) {
    for (const GpuFloat type : {GpuFloat::kBF16, GpuFloat::kF16}) {
      for (const GpuKvFormat format : {GpuKvFormat::kBF16, GpuKvFormat::kInt8}) {
        const int dim = heads.head_dim;
        const int width = (heads.num_heads + 2 * heads.num_kv_heads) * dim;
        const std::vector<float> qkv =
            random_floats(kCells.size() * static_cast<size_t>(width), 1, 3.0f);
        const Stored found = run(heads, format, type, qkv, kPositions, kCells);
        const Rope rope(dim);
        HostKv keys, values;
        keys.create(heads, format, kBlocks);
        values.create(heads, format, kBlocks);
        for (size_t row = 0; row < kCells.size(); ++row) {
          const float* x = qkv.data() + row * static_cast<size_t>(width);
          const float* angles = rope.table.data() + kPositions[row] * dim;
          if (kCells[row] < 0) continue;
          for (int head = 0; head < heads.num_heads; ++head) {
            const std::vector<float> q = rotated(x + head * dim, dim, angles);
            const size_t begin =
                (row * static_cast<size_t>(heads.num_heads) + static_cast<size_t>(head)) *
                static_cast<size_t>(dim);
            for (size_t d = 0; d < q.size(); ++d) {
              ASSERT_EQ(found.q[begin + d], round_to_x(q[d], type)) << row << ' ' << head;
            }
          }
          for (int head = 0; head < heads.num_kv_heads; ++head) {
            const auto token = static_cast<size_t>(
                (kCells[row] / kGpuBlockTokens * heads.num_kv_heads + head) * kGpuBlockTokens +
                kCells[row] % kGpuBlockTokens);
            keys.set(token, rotated(x + (heads.num_heads + head) * dim, dim, angles));
            const float* v = x + (heads.num_heads + heads.num_kv_heads + head) * dim;
            values.set(token, std::vector<float>(v, v + dim));
          }
        }
        // All cells, so that nothing else was written either.
        EXPECT_EQ(found.keys.bf16, keys.bf16);
        EXPECT_EQ(found.values.bf16, values.bf16);
        EXPECT_EQ(found.keys.int8, keys.int8);
        EXPECT_EQ(found.values.int8, values.int8);
        for (size_t i = 0; i < keys.scales.size(); ++i) {
          EXPECT_EQ(bits_from_float(found.keys.scales[i]), bits_from_float(keys.scales[i]));
          EXPECT_EQ(bits_from_float(found.values.scales[i]), bits_from_float(values.scales[i]));
        }
      }
    }
  }
}

TEST_P(RopeStore, RowOfPadding_LeavesQueryAlone) {
  const std::vector<float> qkv = random_floats(2 * 3 * 16, 2);
  const Stored found = run({1, 1, 16}, GpuKvFormat::kBF16, GpuFloat::kBF16, qkv, {3, 0}, {4, -1});
  EXPECT_NE(found.q[0], 0xffff);
  for (size_t d = 16; d < 32; ++d) EXPECT_EQ(found.q[d], 0xffff);
}

TEST_P(RopeStore, Int8RowsOfZerosTinyOrNotFinite_AreSafe) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> firsts = {0.0f, 1e-45f, infinity, nan};
  std::vector<float> qkv;
  for (const float first : firsts) {
    for (int head = 0; head < 3; ++head) {
      qkv.push_back(head == 2 ? first : 0.0f);
      qkv.insert(qkv.end(), 15, 0.0f);
    }
  }
  const Stored found =
      run({1, 1, 16}, GpuKvFormat::kInt8, GpuFloat::kBF16, qkv, {0, 1, 2, 3}, {0, 1, 2, 3});
  EXPECT_EQ(found.values.scales[0], 0.0f);
  EXPECT_EQ(found.values.scales[1], 0.0f);  // 1e-45 / 127 is no number of fp32
  EXPECT_TRUE(std::isnan(found.values.scales[2]));
  EXPECT_TRUE(std::isnan(found.values.scales[3]));
  for (size_t i = 0; i < 4 * 16; ++i) EXPECT_EQ(found.values.int8[i], 0) << i;
}

SPARROW_ON_EVERY_GPU(RopeStore);

}  // namespace
}  // namespace sparrow
