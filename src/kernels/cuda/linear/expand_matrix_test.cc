#include "kernels/cuda/linear/linear_test_support.h"

namespace sparrow {
namespace {

class ExpandMatrix : public LinearTest {};

// One product in fp32 and one rounding: the same bits as the plain reading of the matrix.
TEST_P(ExpandMatrix, EveryIntegerFormat_RoundsTheExactValues) {
  for (const WeightCase& weights : weight_cases()) {
    if (weights.block == 1) continue;  // 16 bits already
    for (const int32_t cols : {128, 192, 2560}) {
      constexpr int32_t kRows = 7;
      const PackedWeights packed = pack(weights, kRows, cols, 3);
      const DeviceWeights on_device = to_device(packed);
      for (const GpuFloat type : {GpuFloat::kBF16, GpuFloat::kF16}) {
        const auto count = static_cast<size_t>(kRows) * static_cast<size_t>(cols);
        const GpuBuffer out = make<uint16_t>(count + 8);
        ExpandMatrixArgs args;
        args.matrix = on_device.matrix;
        args.out = out.as<void>();
        args.type = type;
        kernels().expand_matrix(stream(), args);
        const std::vector<uint16_t> found = download<uint16_t>(out, count + 8);
        std::vector<float> row(static_cast<size_t>(cols));
        int num_wrong = 0;
        for (size_t i = 0; i < count; ++i) {
          const size_t k = i % row.size();
          if (k == 0) {
            unpack_gpu_row(packed.host_matrix(), static_cast<int64_t>(i / row.size()), row.data());
          }
          const uint16_t expected =
              type == GpuFloat::kBF16 ? bf16_from_float(row[k]) : f16_from_float(row[k]);
          num_wrong += found[i] == expected ? 0 : 1;
        }
        EXPECT_EQ(num_wrong, 0) << weights.name << ", cols " << cols;
        for (size_t i = count; i < count + 8; ++i) EXPECT_EQ(found[i], 0xffff);
      }
    }
  }
}

SPARROW_ON_EVERY_GPU(ExpandMatrix);

}  // namespace
}  // namespace sparrow
